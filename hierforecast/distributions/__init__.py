"""Joint laws over packed rows; see `base` for the interface and `families` for the laws."""

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.families import IndependentScenes, LowRankNormal

__all__ = ["IndependentScenes", "LowRankNormal", "SceneDistribution"]
