"""Invariant and equivariant features side by side, and what they are judged against."""

from hierforecast.image_ssl.split.decoder import (
    CrossAttentionDecoder,
    MapTokens,
    PooledTokens,
    squared_error,
    standardised,
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
from hierforecast.image_ssl.split.pairs import (
    Between,
    OneAtATimePairs,
    Pair,
    PairsWithParameters,
    ViewPairs,
    every_kind,
)
from hierforecast.image_ssl.split.parameters import (
    KINDS,
    POSE_KINDS,
    Poses,
    RelativeParameters,
    parameters_of,
)
from hierforecast.image_ssl.split.posed import PosedViews
from hierforecast.image_ssl.split.reconstruction import Reconstruction
from hierforecast.image_ssl.split.sie import SIE, EquivariantProjector, HyperPredictor
from hierforecast.image_ssl.split.supervised import ParameterRegression, Supervised

__all__ = [
    "KINDS",
    "POSE_KINDS",
    "SIE",
    "Between",
    "CrossAttentionDecoder",
    "EquivariantProjector",
    "Halves",
    "HyperPredictor",
    "InvariantHalf",
    "MapTokens",
    "OneAtATimePairs",
    "Pair",
    "PairsWithParameters",
    "ParameterRegression",
    "PooledTokens",
    "PosedViews",
    "Poses",
    "Reconstruction",
    "RelativeParameters",
    "Split",
    "SplitBackbone",
    "SplitChannels",
    "SplitGroup",
    "Supervised",
    "ViewPairs",
    "every_kind",
    "parameters_of",
    "squared_error",
    "standardised",
    "whitened_error",
]
