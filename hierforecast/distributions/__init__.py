"""Joint laws over packed rows; see `base` for the interface and the other files for the laws."""

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.families import IndependentScenes, LowRankNormal
from hierforecast.distributions.mixture import ModeMixture
from hierforecast.distributions.steps import IndependentSteps
from hierforecast.distributions.student import JointStudent

__all__ = [
    "IndependentScenes",
    "IndependentSteps",
    "JointStudent",
    "LowRankNormal",
    "ModeMixture",
    "SceneDistribution",
]
