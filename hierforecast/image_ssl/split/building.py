"""Methods of split features by name: heads, decoders and augmentations that suit a size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from hierforecast.image_ssl.augment import Compose
from hierforecast.image_ssl.contrastive import MoCo, SimSiam, SwAV, VICReg, ViewMethod
from hierforecast.image_ssl.groups import Group, GroupLike
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.split.decoder import (
    CrossAttentionDecoder,
    MapTokens,
    PooledTokens,
    squared_error,
    whitened_error,
)
from hierforecast.image_ssl.split.encoder import SplitBackbone, SplitChannels, SplitGroup
from hierforecast.image_ssl.split.pairs import (
    Between,
    OneAtATimePairs,
    PairsWithParameters,
    ViewPairs,
    every_kind,
)
from hierforecast.image_ssl.split.parameters import Poses, parameters_of
from hierforecast.image_ssl.split.posed import PosedViews
from hierforecast.image_ssl.split.reconstruction import Reconstruction
from hierforecast.image_ssl.split.sie import SIE, EquivariantProjector, HyperPredictor
from hierforecast.image_ssl.split.supervised import ParameterRegression, Supervised

__all__ = ["LEARNERS", "build_reconstruction", "build_regression", "build_sie", "build_supervised"]

# Losses for the invariant half, and whether the projector ends with a norm.
LEARNERS: dict[str, tuple[type[ViewMethod], bool]] = {
    "vicreg": (VICReg, False),
    "moco": (MoCo, False),
    "swav": (SwAV, False),
    "simsiam": (SimSiam, True),
}
ERRORS = {"squared": squared_error, "whitened": whitened_error}
TOKENS = {"pooled": PooledTokens, "maps": MapTokens}


def build_reconstruction(
    backbone: ResNet,
    head: GroupLike | None,
    size: int,
    width: int,
    *,
    learner: str = "vicreg",
    split: float | str = 0.5,
    tokens: str = "pooled",
    weight: float = 20.0,
    error: str = "squared",
    decoder: Mapping[str, Any] | None = None,
    between: bool = False,
    augment: Compose | Poses | None = None,
    **options: Any,
) -> nn.Module:
    """`Reconstruction` with its parts.

    Args:
        backbone: what is trained.
        head: group that the learner's head respects, the backbone's if None.
        size: side of the images, pixels.
        width: hidden numbers of the learner's head.
        learner: one of `LEARNERS`.
        split: invariant share of the channels, or ``"group"`` for `SplitGroup`.
        tokens: ``"pooled"`` or ``"maps"``.
        weight: of the reconstruction.
        error: of it, ``"squared"`` or ``"whitened"``.
        decoder: options of `CrossAttentionDecoder`.
        between: paint what lies between the views, for which they must be augmented.
        augment: makes the views, or `Poses`; `every_kind` if None.
        options: of the learner.

    Raises:
        ValueError: for an unknown learner, split or kind of tokens, or one between poses.
    """
    _known("learner", learner, LEARNERS)
    _known("tokens", tokens, TOKENS)
    _known("error", error, ERRORS)
    halves, head = _split(backbone, head, split)
    kind, last_norm = LEARNERS[learner]
    projector = Projector(halves.invariant, (width, width), head, last_norm=last_norm)
    painter = CrossAttentionDecoder(size, **(decoder or {}))
    method = Reconstruction(
        kind(halves.invariant, projector, **options),
        TOKENS[tokens](halves.split, painter.dim, painter.grid),
        painter,
        weight=weight,
        error=ERRORS[error],
    )
    if between and isinstance(augment, Poses):
        raise ValueError("between=True paints augmented views: no image lies between two poses")
    middle = Between() if between else None
    return _on_pairs(method, augment or every_kind(size), partial(ViewPairs, between=middle))


def build_sie(
    backbone: ResNet,
    head: GroupLike | None,
    size: int,
    width: int,
    *,
    fed: str = "all",
    split: float | str = 0.5,
    known: float = 1.0,
    augment: Compose | Poses | None = None,
    **options: Any,
) -> nn.Module:
    """`SIE` with its parts.

    Args:
        backbone: what is trained.
        head: group that the invariant half's head respects, the backbone's if None.
        size: side of the images, pixels.
        width: hidden numbers of the heads, and of what the predictor maps.
        fed: what the predictor is told of: one of `KINDS` (of `Poses`, of `POSE_KINDS`),
            ``"all"``, or, of augmented views, ``"one at a time"``.
        split: invariant share of the channels, or ``"group"`` for `SplitGroup`.
        known: share of the images, or of the objects, whose parameters are known.
        augment: makes the views, or `Poses`; `every_kind` if None.
        options: weights of `SIE`.

    Raises:
        ValueError: for an unknown kind or split.
    """
    halves, head = _split(backbone, head, split)
    augment = augment or every_kind(size)
    single = fed == "one at a time" and not isinstance(augment, Poses)
    told = parameters_of(augment, "all" if single else fed)
    method = SIE(
        halves,
        Projector(halves.invariant, (width, width), head),
        EquivariantProjector(halves, (width, width)),
        HyperPredictor(told, width),
        **options,
    )
    return _on_pairs(method, augment, OneAtATimePairs if single else ViewPairs, known)


def build_supervised(
    backbone: ResNet,
    head: GroupLike | None,
    size: int,
    width: int,
    *,
    classes: int,
    augment: Compose | None = None,
) -> nn.Module:
    """`Supervised` with one linear layer, for so many `classes`; augmented by `every_kind`."""
    return Supervised(backbone, Projector(backbone, (classes,), head), augment or every_kind(size))


def build_regression(
    backbone: ResNet,
    head: GroupLike | None,
    size: int,
    width: int,
    *,
    fed: str = "all",
    known: float = 1.0,
    augment: Compose | Poses | None = None,
) -> nn.Module:
    """`ParameterRegression` with a small network; `fed`, `known`, `augment` as in `build_sie`.

    The network is an ordinary one whatever `head` says: an average over the group would lose what
    it is asked for.
    """
    augment = augment or every_kind(size)
    told = parameters_of(augment, fed)
    numbers = 2 * backbone.channels * backbone.group.order
    layers = nn.Sequential(
        nn.Linear(numbers, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(inplace=True),
        nn.Linear(width, told.width),
    )
    return _on_pairs(ParameterRegression(backbone, layers, told), augment, ViewPairs, known)


def _on_pairs(
    method: nn.Module,
    augment: Compose | Poses,
    draw: Callable[[Compose, float], ViewPairs],
    known: float = 1.0,
) -> nn.Module:
    """The method on posed pairs, or on pairs of views that are drawn so."""
    if isinstance(augment, Poses):
        return PosedViews(method, known)
    return PairsWithParameters(method, draw(augment, known))


def _split(
    backbone: ResNet, head: GroupLike | None, split: float | str
) -> tuple[SplitBackbone, GroupLike | None]:
    """The halves, and the group of the head behind the invariant one."""
    if isinstance(split, str):
        _known("split", split, ("group",))
        return SplitBackbone(backbone, SplitGroup(backbone)), Group("C1")
    return SplitBackbone(backbone, SplitChannels(backbone, split)), head


def _known(what: str, name: str, table: Any) -> None:
    if name not in table:
        raise ValueError(f"{what} {name!r} is none of {', '.join(table)}")
