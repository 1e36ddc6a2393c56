"""Models: the contract of one, HiPerformer, and the baselines that a user compares it with."""

from hierforecast.models.base import Model
from hierforecast.models.baselines import ConstantVelocity, LastValue, Ridge, SeasonalNaive
from hierforecast.models.hiperformer import HiPerformer

__all__ = ["ConstantVelocity", "HiPerformer", "LastValue", "Model", "Ridge", "SeasonalNaive"]
