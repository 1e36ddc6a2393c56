"""Invariant and equivariant features side by side, and what they are compared with."""

from hierforecast.image_ssl.augment import every_kind
from hierforecast.image_ssl.split.decoder import (
    CrossAttentionDecoder,
    MapTokens,
    PooledTokens,
    squared_error,
    standardized,
    whitened_error,
)
from hierforecast.image_ssl.split.encoder import (
    Halves,
    InvariantHalf,
    Split,
    SplitBackbone,
    SplitChannels,
    SplitGroup,
)
from hierforecast.image_ssl.split.parameters import (
    KINDS,
    POSE_KINDS,
    RelativeParameters,
    parameters_of,
)
from hierforecast.image_ssl.split.reconstruction import Reconstruction
from hierforecast.image_ssl.split.sie import SIE, EquivariantProjector, HyperPredictor
from hierforecast.image_ssl.split.supervised import ParameterRegression, Supervised
from hierforecast.image_ssl.views import Poses

__all__ = [
    "KINDS",
    "POSE_KINDS",
    "SIE",
    "CrossAttentionDecoder",
    "EquivariantProjector",
    "Halves",
    "HyperPredictor",
    "InvariantHalf",
    "MapTokens",
    "ParameterRegression",
    "PooledTokens",
    "Poses",
    "Reconstruction",
    "RelativeParameters",
    "Split",
    "SplitBackbone",
    "SplitChannels",
    "SplitGroup",
    "Supervised",
    "every_kind",
    "parameters_of",
    "squared_error",
    "standardized",
    "whitened_error",
]
