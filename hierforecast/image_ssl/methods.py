"""Ways of learning, put together: backbone + head + loss, in three arms.

The arms of arXiv 2303.04427, Table 1, differ in two choices and nothing else: the group of the
backbone and the group that its head respects.

| arm | backbone | head |
|---|---|---|
| plain | C1 | C1 |
| consistent: equivariant model, consistent labels or loss | the group | the group |
| inconsistent: equivariant model, ordinary labels or loss | the group | C1 |

As many weights in every arm are two choices as well: of the backbone's width (``match`` of
`small_resnet`) and of the head's (``match_head`` of `build_method`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hierforecast._options import number, whole
from hierforecast._random import with_generator
from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Transformation, contrastive
from hierforecast.image_ssl.contrastive import MoCo, SimSiam, SwAV, VICReg, ViewMethod
from hierforecast.image_ssl.groups import Group, GroupLike, as_group
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.nn.sizes import is_exact
from hierforecast.image_ssl.pretext import ContextPrediction, Jigsaw, Pretext, PretextHead
from hierforecast.image_ssl.pretext.rotation import RotationPrediction
from hierforecast.image_ssl.pretext.task import PretextTask
from hierforecast.image_ssl.split.building import (
    build_reconstruction,
    build_regression,
    build_sie,
    build_supervised,
)
from hierforecast.image_ssl.split.pairs import every_kind
from hierforecast.image_ssl.split.parameters import Poses
from hierforecast.image_ssl.split.posed import PosedViews

__all__ = ["ARMS", "METHODS", "POSED", "Method", "PairedViews", "arm", "build_method"]

ARMS = ("plain", "consistent", "inconsistent")


class Method(Protocol):
    """What can be trained: a module with a backbone and a loss of images."""

    backbone: ResNet

    def loss(self, images: Tensor) -> Tensor:
        """Loss of images (b, 3, h, w), floats in [0, 1].

        A method that learns from labels has ``labelled_loss(images, labels)`` instead, and one
        that learns from `PosedPairs` has ``views_loss(pairs)``.
        """
        ...


class PairedViews(nn.Module):
    """A loss of two augmented views of each image, as a loss of images.

    Args:
        views: `MoCo`, `SwAV`, `SimSiam` or another module with `backbone` and
            ``loss(first, second)``.
        augment: images (b, 3, h, w) to views; called twice.
    """

    generator: torch.Generator | None = None

    def __init__(self, views: ViewMethod, augment: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.views, self.augment = views, augment

    @property
    def backbone(self) -> nn.Module:
        """The network that is trained."""
        return self.views.backbone

    def loss(self, images: Tensor) -> Tensor:
        """Loss of images (b, 3, h, w), floats in [0, 1]."""
        with torch.no_grad():
            exact = images.float()  # colours and places need more than bfloat16 holds
            augment = partial(with_generator(self.augment), exact, generator=self.generator)
            first, second = (augment().to(images.dtype) for _ in range(2))
        return self.views.loss(first, second)


def arm(name: str, group: GroupLike = "C4") -> tuple[Group, Group]:
    """The group of an arm's backbone and the group of its head.

    Raises:
        ValueError: for an arm that is none of `ARMS`.
    """
    group, trivial = as_group(group), Group("C1")
    arms = {
        "plain": (trivial, trivial),
        "consistent": (group, group),
        "inconsistent": (group, trivial),
    }
    if name not in arms:
        raise ValueError(f"arm {name!r} is none of {', '.join(arms)}")
    return arms[name]


def build_method(
    name: str,
    backbone: ResNet,
    head_group: GroupLike | None = None,
    *,
    symmetry: GroupLike = "C4",
    size: int = 33,
    width: int = 128,
    match_head: ResNet | None = None,
    **options: object,
) -> nn.Module:
    """A way of learning by its name, with heads and an augmentation that suit images of a size.

    Args:
        name: one of `METHODS`.
        backbone: what is trained.
        head_group: that the head respects, the backbone's if None; see `arm`.
        symmetry: the group that the pretext labels are closed under: the same for every arm of a
            comparison, so that all answer the same question.
        size: side of the images, pixels.
        width: hidden channels of the head, and numbers of the vectors that a loss compares.
        match_head: the backbone of a plain arm. The head then has as many hidden channels as give
            it the number of weights that a head of `width` has behind that one; vectors keep their
            `width` numbers. Without it, a head that keeps a symmetry has two to three times the
            weights of a plain one. Not for methods of split features.
        options: of `MoCo`, `SwAV`, `SimSiam`, `VICReg`, or of the pretext task; those of split
            features stand with `build_reconstruction`, `build_sie`, `build_supervised` (which needs
            `classes`) and `build_regression`. Methods of views take `augment`, a `Transformation`;
            with ``augment=Poses()`` those of `POSED` learn from `PosedPairs` instead.

    Raises:
        ValueError: for an unknown name, poses for a method of single images, or a matched head
            for a method of split features.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is none of {', '.join(METHODS)}")
    if isinstance(options.get("augment"), Poses) and name not in POSED:
        raise ValueError(f"{name} learns from single images; from poses: {', '.join(POSED)}")
    takes, build = METHODS[name]
    size, width = whole("size", size), whole("width", width)
    options = {key: _plain(key, value, takes) for key, value in options.items()}
    parts = _Parts(backbone, head_group, as_group(symmetry), size, width, width)
    if match_head is None:
        return build(takes, parts, options)
    if build is _split:
        raise ValueError(f"heads of {name} cannot be matched: leave match_head out")
    with torch.random.fork_rng(devices=[]):  # counting draws no weights of the method's
        like = replace(parts, backbone=match_head, head=match_head.group)
        wanted = head_weights(build(takes, like, dict(options)))
        hidden = _nearest(
            lambda n: head_weights(build(takes, replace(parts, hidden=n), dict(options))),
            wanted,
            range(1, 16 * width),
        )
    return build(takes, replace(parts, hidden=hidden), options)


def head_weights(method: nn.Module) -> int:
    """Trained weights of a method that are not its backbone's."""
    backbone = method.get_submodule("backbone")
    return _trained(method) - _trained(backbone)


def _trained(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _nearest(count: Callable[[int], int], wanted: int, among: range) -> int:
    """The number for which an increasing count comes nearest."""
    above = min(among[bisect_left(among, wanted, key=count)], among[-1])
    return min((max(above - 1, among[0]), above), key=lambda n: abs(count(n) - wanted))


def _plain(name: str, value: object, takes: Callable[..., object]) -> object:
    """An option as a plain number, where it must be one."""
    known = signature(takes).parameters.get(name)
    kind = None if known is None else known.annotation
    if kind == "int":
        return whole(name, value, 0)
    return number(name, value) if kind == "float" else value


def tiles(size: int, cells: int, backbone: ResNet) -> dict[str, int]:
    """Side, gap and jitter of the largest tiles that fit a grid and for which a network is exact.

    Gaps are at least a quarter of a tile, so that lines crossing a border do not give the answer.
    A plain network gets the tiles that one of another group with its layers gets, for all arms of a
    comparison should see the same; only if there are none, the largest that fit.

    Raises:
        DataError: if no tile fits.
    """
    fitting = []
    for tile in range(size // cells, 2, -1):
        gap = max(1, tile // 4)
        gap += (size - cells * tile - (cells - 1) * gap) % 2 if cells % 2 == 0 else 0
        jitter = gap // 2
        left = size - cells * tile - (cells - 1) * gap
        if left % 2 == 0 and left >= 2 * jitter and backbone.is_exact(tile):
            fitting.append({"tile": tile, "gap": gap, "jitter": jitter})
    if not fitting:
        raise DataError(
            f"images of {size} pixels hold no {cells} x {cells} grid of tiles for which this "
            "network is exact: give larger images (odd sizes for layers of ODD, even ones for "
            "EVEN), or a network that halves them less often"
        )
    for_all = (placed for placed in fitting if is_exact(placed["tile"], backbone.samplings))
    return next(for_all, fitting[0])


@dataclass(frozen=True)
class _Parts:
    """What is given to every method."""

    backbone: ResNet
    head: GroupLike | None
    symmetry: Group
    size: int
    width: int
    hidden: int


def _tiled(task: Callable[..., PretextTask], parts: _Parts, options: Any) -> nn.Module:
    placed = tiles(parts.size, options.get("grid", 3), parts.backbone)
    return _pretext(task, parts, {**placed, **options})


def _pretext(task: Callable[..., PretextTask], parts: _Parts, options: Any) -> nn.Module:
    asked = task(parts.symmetry, **options)
    head = PretextHead(parts.backbone, asked, parts.hidden, parts.head)
    return Pretext(parts.backbone, asked, head)


def _views(
    kind: Callable[..., ViewMethod],
    parts: _Parts,
    options: Any,
    last_norm: bool = False,
    usual: Callable[[int], Transformation] = contrastive,
) -> nn.Module:
    recipe = options.pop("augment", None) or usual(parts.size)
    widths = parts.hidden, parts.width
    projector = Projector(parts.backbone, widths, parts.head, last_norm=last_norm)
    views = kind(parts.backbone, projector, **options)
    if isinstance(recipe, Poses):
        return PosedViews(views)
    return PairedViews(views, _ImagesOf(recipe))


@dataclass(frozen=True)
class _ImagesOf:
    """An augmentation without what it tells of its parameters."""

    recipe: Transformation

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.recipe(images, generator).images


def _split(kind: Callable[..., nn.Module], parts: _Parts, options: Any) -> nn.Module:
    return kind(parts.backbone, parts.head, parts.size, parts.width, **options)


# What takes the options of each method, by its keywords, and what puts it together.
METHODS: dict[str, tuple[Callable[..., Any], Callable[..., nn.Module]]] = {
    "context": (ContextPrediction, _tiled),
    "jigsaw": (Jigsaw, _tiled),
    "rotation": (RotationPrediction, _pretext),
    "moco": (MoCo, _views),
    "swav": (SwAV, _views),
    "simsiam": (SimSiam, partial(_views, last_norm=True)),
    # Compared with each other: all of them see views of one recipe.
    "vicreg": (VICReg, partial(_views, usual=every_kind)),
    "reconstruction": (build_reconstruction, _split),
    "sie": (build_sie, _split),
    "regression": (build_regression, _split),
    "supervised": (build_supervised, _split),
}
TAKES = {name: takes for name, (takes, _) in METHODS.items()}
# Those that can learn from pairs of posed views.
POSED = ("moco", "swav", "simsiam", "vicreg", "reconstruction", "sie", "regression")
