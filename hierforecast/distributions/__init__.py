"""Joint distributions over packed rows: `base` has the interface, each other file a family."""

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.counts import NegativeBinomial, Rounded
from hierforecast.distributions.coupled import CoupledNormal
from hierforecast.distributions.coupled_noise import CoupledNoise
from hierforecast.distributions.families import IndependentScenes
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.mixture import ModeMixture
from hierforecast.distributions.noise import DiagonalNoise, RowNoise
from hierforecast.distributions.parts import IndependentParts, IndependentRows
from hierforecast.distributions.recursive import RecursiveNoise
from hierforecast.distributions.scene_mixture import SceneMixture
from hierforecast.distributions.sinh import Ceiling, Damped, LimitedSinh, Sinh
from hierforecast.distributions.steps import IndependentSteps
from hierforecast.distributions.stretched import ScaleMixture
from hierforecast.distributions.student import JointStudent
from hierforecast.distributions.warped import Warped
from hierforecast.distributions.warps import Log, Root, Warp

__all__ = [
    "Ceiling",
    "CoupledNoise",
    "CoupledNormal",
    "Damped",
    "DiagonalNoise",
    "IndependentParts",
    "IndependentRows",
    "IndependentScenes",
    "IndependentSteps",
    "JointStudent",
    "LimitedSinh",
    "Log",
    "LowRankNormal",
    "ModeMixture",
    "NegativeBinomial",
    "RecursiveNoise",
    "Root",
    "Rounded",
    "RowNoise",
    "ScaleMixture",
    "SceneDistribution",
    "SceneMixture",
    "Sinh",
    "Warp",
    "Warped",
]
