"""A dense probe: the class of each pixel, predicted by a linear map of frozen feature maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet, as_float
from hierforecast.image_ssl.data.views import MaskSet
from hierforecast.image_ssl.evaluation.features import (
    FeatureOptions,
    average_group,
    check_finite,
    run_backbone,
)
from hierforecast.image_ssl.evaluation.segmentation import DenseScore, confusion_of, known_pixels
from hierforecast.image_ssl.nn.backbone import Backbone

# Feature maps (b, c, g, h, w) to (b, d, h, w).
MapPool: TypeAlias = Callable[[Tensor], Tensor]


def flatten_maps(x: Tensor) -> Tensor:
    """Equivariant maps: (b, c, g, h, w) to (b, c * g, h, w)."""
    return x.flatten(1, 2)


average_maps = average_group


def dense_probe(
    backbone: Backbone,
    train_set: MaskSet,
    test_set: MaskSet,
    pool: MapPool = flatten_maps,
    **options: Any,
) -> DenseScore:
    """Fit a `DenseProbe` to the maps of a frozen network, and score it.

    Args:
        backbone: with `maps`, images (b, 3, h, w) to (b, c, g, h', w'); left as it was, bit for
            bit. All maps of a set are held in memory.
        test_set: of the same classes; its `ignored` pixels are not scored, and that class, if it
            is one, is never predicted.
        pool: `flatten_maps`, `average_maps` or another.
        options: `FeatureOptions`, and those of `DenseProbe`, which learns on the CPU.

    Raises:
        DataError: if a set is empty, the classes differ, masks are not as large as the images that
            the network sees, or as `DenseFeatures` does.
    """
    kinds = [(tuple(each.classes), each.ignored) for each in (train_set, test_set)]
    if kinds[0] != kinds[1]:
        raise DataError("training and test set have other classes: give the same to both")
    own = FeatureOptions.__annotations__.keys() & options.keys()
    how = {"batch_size": 64, **{name: options.pop(name) for name in own}}
    sets = []
    for images in (train_set, test_set):
        each = cast(ImageSet, images)  # whose labels come back as they are: here, masks
        maps, masks = run_backbone(backbone, each, pool, call=backbone.maps, **how)
        size = tuple(how.get("prepare", as_float)(images[0][0][None]).shape[2:])
        if masks.ndim != 3 or tuple(masks.shape[1:]) != size:
            raise DataError(
                f"masks are {tuple(masks.shape[1:])}, the images that the network sees {size}: "
                "give masks of the images' size, and crop both before, not in `prepare`"
            )
        sets.append(DenseFeatures(maps, masks, *kinds[0]))
    train, test = sets
    return DenseProbe(batch_size=how["batch_size"], **options).fit(train).score(test)


@dataclass(frozen=True, eq=False)
class DenseFeatures:
    """Feature maps with the class of every pixel, checked.

    Args:
        maps: (n, d, h', w').
        masks: (n, h, w), numbers of classes.
        ignored: number of the pixels that do not count, or None.

    Raises:
        DataError: if the maps have another shape, a feature is NaN or infinite, or no pixel counts.
    """

    maps: Tensor
    masks: Tensor
    classes: tuple[str, ...]
    ignored: int | None = None

    def __post_init__(self) -> None:
        if self.maps.ndim != 4:
            raise DataError(f"pooled maps are {tuple(self.maps.shape)}: a pool gives (b, d, h, w)")
        check_finite(self.maps, "images", "feature maps")
        if not known_pixels(self.masks, self.ignored).any():
            raise DataError(
                f"all pixels of all masks are {self.ignored}, which is ignored: none is evaluated"
            )


@dataclass
class DenseProbe:
    """A linear map of the features of each place to the class scores of pixels.

    Channels are standardized over all places. The class scores of the places are brought to the
    size of the image, bilinear, and the cross entropy is the mean over the pixels that count:
    scikit-learn's classifiers, of a row for each pixel, neither know that step nor fit in memory.
    AdamW, its rate falling to 0 along a half cosine.
    """

    epochs: int = 20
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4
    batch_size: int = 64
    seed: int = 0

    def fit(self, train: DenseFeatures) -> Self:
        """Learn."""
        self._start(train)
        optimizer = torch.optim.AdamW(
            [self.weight, self.bias], self.learning_rate, weight_decay=self.weight_decay
        )
        steps = max(1, self.epochs * -(-len(train.maps) // self.batch_size))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        generator = torch.Generator().manual_seed(self.seed)
        skipped = -100 if train.ignored is None else train.ignored
        for _ in range(self.epochs):
            order = torch.randperm(len(train.maps), generator=generator)
            for rows in order.split(self.batch_size):
                masks = train.masks[rows].long()
                if not known_pixels(masks, train.ignored).any():
                    continue
                optimizer.zero_grad()
                with torch.enable_grad():
                    found = self.scores(train.maps[rows])
                    F.cross_entropy(found, masks, ignore_index=skipped).backward()
                optimizer.step()
                schedule.step()
        return self

    def scores(self, maps: Tensor) -> Tensor:
        """Class scores (b, classes, h, w) of maps (b, d, h', w')."""
        rows = torch.einsum("bdhw,kd->bkhw", maps, self.weight / self.scale)
        shift = self.bias - self.weight @ (self.mean / self.scale) + self.never
        return _enlarge(rows, self.size) + shift[:, None, None]

    def score(self, test: DenseFeatures) -> DenseScore:
        """The counts of pixels by true and predicted class."""
        confusion = torch.zeros(len(test.classes), len(test.classes), dtype=torch.int64)
        batches = (each.split(self.batch_size) for each in (test.maps, test.masks))
        for maps, masks in zip(*batches, strict=True):
            with torch.no_grad():
                predicted = self.scores(maps).argmax(dim=1)
            confusion += confusion_of(predicted, masks, len(test.classes), test.ignored)
        return DenseScore(confusion, test.classes)

    def _start(self, train: DenseFeatures) -> None:
        self.size = (train.masks.shape[1], train.masks.shape[2])
        variance, self.mean = torch.var_mean(train.maps, dim=(0, 2, 3), correction=0)
        least = 1e-5 * train.maps.abs().amax(dim=(0, 2, 3)).clamp_min(1e-30)  # rounding only
        self.scale = variance.sqrt().clamp_min(least)
        self.weight = torch.zeros(len(train.classes), train.maps.shape[1], requires_grad=True)
        self.bias = torch.zeros(len(train.classes), requires_grad=True)
        self.never = torch.zeros(len(train.classes))
        if train.ignored is not None and train.ignored < len(train.classes):
            self.never[train.ignored] = -torch.inf


def _enlarge(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores (b, k, h', w') at the size of the image, bilinear.

    Where an odd image was sampled at pixels 0, s, 2 s, ... to its far edge, as exact networks do,
    the corners of the map lie on the middles of the corner pixels; otherwise edges lie on edges.
    """
    sides = zip(size, scores.shape[-2:], strict=True)
    sampled = all(small > 1 and (large - 1) % (small - 1) == 0 for large, small in sides)
    return F.interpolate(scores, size, mode="bilinear", align_corners=sampled)
