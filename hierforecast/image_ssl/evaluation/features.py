"""Features of a set of images from a frozen network: what all evaluations start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, TypedDict, Unpack

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet, as_float, collate
from hierforecast.image_ssl.nn.backbone import evaluating
from hierforecast.image_ssl.nn.resnet import ResNet

# Features of the network (b, c, g) to rows (b, d).
Pool: TypeAlias = Callable[[Tensor], Tensor]


def average_group(x: Tensor) -> Tensor:
    """Invariant features or maps: (b, c, g, ...) to (b, c, ...), the mean over the group."""
    return x.mean(dim=2)


def flatten_group(x: Tensor) -> Tensor:
    """Equivariant features: (b, c, g) to (b, c * g), nothing thrown away."""
    return x.flatten(1)


@dataclass(frozen=True, eq=False)  # tensors do not compare as a whole
class Features:
    """Rows of features with their labels, checked.

    Args:
        x: (n, d) floating point, finite.
        y: (n,) int64 class numbers; or (n, classes) float of 0 and 1 where an image may show
            several classes, nan where that is not known; or (n, k) float, numbers to predict.
        classes: the names of the classes, in the order of their numbers; without names, numbers.

    Raises:
        DataError: if there are no rows, if they do not fit their labels, or if a feature is NaN or
            infinite.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or not self.x.is_floating_point():
            raise DataError(
                f"features are {self.x.dtype} of shape {tuple(self.x.shape)}: give floating point "
                "numbers of shape (images, features); features of a group go through "
                "average_group or flatten_group first"
            )
        if len(self.x) == 0:
            raise DataError("no images: features need at least one; is the set or the split empty?")
        if len(self.y) != len(self.x) or self.y.ndim not in (1, 2):
            raise DataError(f"labels {tuple(self.y.shape)} do not fit {len(self.x)} images")
        if self.y.ndim == 1 and self.y.is_floating_point():
            raise DataError("labels of one class an image must be class numbers (int64)")
        check_finite(self.x, "images")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def multi_label(self) -> bool:
        """Whether an image may show several classes."""
        return self.y.ndim == 2

    def name_of(self, label: int) -> str:
        """The name of a class, or its number in words."""
        return repr(self.classes[label]) if label < len(self.classes) else f"number {label}"

    def __getitem__(self, rows: Tensor) -> Features:
        """Some of the rows: (m,) int64 row numbers or an (n,) bool mask."""
        return replace(self, x=self.x[rows], y=self.y[rows])


def check_finite(x: Tensor, rows: str, what: str = "features") -> None:
    """Refuse values (n, ...) of which some are NaN or infinite."""
    bad = ~x.isfinite().flatten(1).all(dim=1)
    if bad.any():
        raise DataError(
            f"{what} of {int(bad.sum())} of {len(x)} {rows} are NaN or infinite, the first at row "
            f"{int(bad.nonzero()[0])}: did the network's training diverge?"
        )


class FeatureOptions(TypedDict, total=False):
    """How a network is run over images.

    Attributes:
        prepare: uint8 images (b, 3, h, w) to what the network takes; a crop may stand here.
        batch_size: images at a time.
        device: where to compute; None is where the network stands.
    """

    prepare: Callable[[Tensor], Tensor]
    batch_size: int
    device: torch.device | str | None
    progress: bool


def collect_features(
    backbone: nn.Module,
    images: ImageSet,
    pool: Pool = average_group,
    **options: Unpack[FeatureOptions],
) -> Features:
    """Features of every image of a set, in its order, from a frozen network.

    The network runs in evaluation mode and without gradients and is left as it was, bit for bit:
    weights, running statistics, the mode of each of its modules and its device.

    Args:
        backbone: images (b, 3, h, w) to (b, c, g).
        pool: ``average_group`` for invariant features, ``flatten_group`` for equivariant ones, or
            any function from (b, c, g) to (b, d).

    Returns:
        Features (n, d), float32 on the CPU.

    Raises:
        DataError: if the set is empty, or if a feature is NaN or infinite.
    """
    x, y = run_backbone(backbone, images, pool, **options)
    return Features(x, y, tuple(images.classes))


def run_backbone(
    backbone: nn.Module,
    images: ImageSet,
    pool: Pool | None = None,
    *,
    call: Callable[[Tensor], Tensor] | None = None,
    prepare: Callable[[Tensor], Tensor] = as_float,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> tuple[Tensor, Tensor]:
    """As `collect_features`, but with features of any shape: (n, ...) and the labels.

    `call` gives them in the backbone's place: another of its methods.
    """
    if len(images) == 0:
        raise DataError("no images: the set is empty; is it the split that you meant?")
    # Every item is a batch already where the set hands out batches: see `collate`.
    loader = DataLoader(images, batch_size=batch_size, shuffle=False, collate_fn=collate)
    xs, ys = [], []
    with evaluating(backbone, device) as like, torch.no_grad():
        for batch, labels in track(
            loader, "features", disable=not progress, transient=True, total=len(loader)
        ):
            features = (call or backbone)(prepare(batch.to(like.device)).to(like))
            xs.append((features if pool is None else pool(features)).float().cpu())
            ys.append(labels)
    return torch.cat(xs), torch.cat(ys)


class BlockReadout(nn.Module):
    """The maps of every block, averaged over the cells of a grid: what is seen, and roughly where.

    Pooled features of the last block alone say neither where a thing is nor what the earlier blocks
    saw, and a short training leaves much to them. The literature of pretext tasks probes such maps
    too (Noroozi and Favaro 2016; Coates and Ng 2011 pool over quadrants).

    Args:
        grid: cells along a side.
    """

    def __init__(self, backbone: ResNet, grid: int = 2) -> None:
        super().__init__()
        self.backbone, self.grid = backbone, grid

    def forward(self, images: Tensor) -> Tensor:
        """Features (b, blocks' c * cells, g) of images (b, 3, h, w)."""
        maps = self.backbone.block_maps(images)
        cells = [F.adaptive_avg_pool2d(m.flatten(1, 2), self.grid).flatten(2) for m in maps]
        parts = [
            c.unflatten(1, m.shape[1:3]).transpose(2, 3) for c, m in zip(cells, maps, strict=True)
        ]
        return torch.cat([part.flatten(1, 2) for part in parts], 1)


class MirrorMean(nn.Module):
    """The mean of the features of an image and of its mirror image, which tell the same."""

    def __init__(self, readout: nn.Module) -> None:
        super().__init__()
        self.readout = readout

    def forward(self, images: Tensor) -> Tensor:
        """Features of images (b, 3, h, w), shaped as the readout's."""
        both: Tensor = self.readout(images) + self.readout(images.flip(-1))
        return both / 2
