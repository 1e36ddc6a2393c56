"""A dense probe: the class of each pixel, predicted by a linear map of frozen feature maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, cast

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet, Item, as_float, check_images
from hierforecast.image_ssl.data.views import MaskSet
from hierforecast.image_ssl.evaluation.features import (
    FeatureOptions,
    average_group,
    check_finite,
    run_backbone,
)
from hierforecast.image_ssl.nn.backbone import Backbone


class SegmentedImages(MaskSet):
    """Images with their masks in memory.

    Args:
        images: (n, 3, h, w), uint8.
        masks: (n, h, w), whole numbers of classes.
        ignored: number of the pixels that do not count, a class or another from 0 to 255; None: all
            count.

    Raises:
        DataError: if images and masks do not fit together, or a mask has an unknown class.
    """

    def __init__(
        self, images: Tensor, masks: Tensor, classes: Sequence[str], ignored: int | None = None
    ) -> None:
        check_images(images)
        if masks.shape != (len(images), *images.shape[2:]) or masks.is_floating_point():
            raise DataError(
                f"masks are {masks.dtype} {tuple(masks.shape)}, images {tuple(images.shape)}: give "
                "each image a mask (h, w) of its own size, whole numbers of classes"
            )
        if not 1 <= len(classes) <= 256:
            raise DataError(f"there are {len(classes)} classes: give 1 to 256")
        if ignored is not None and not 0 <= ignored <= 255:
            raise DataError(f"ignored is {ignored}: give a number from 0 to 255, or None")
        beyond = (masks < 0) | (masks >= len(classes))
        unknown = masks[beyond & known_pixels(masks, ignored)]
        if len(unknown):
            raise DataError(
                f"a mask has class {int(unknown[0])}, but there are {len(classes)}: number them "
                "from 0, or say that this number is to be ignored"
            )
        self.images, self.masks = images, masks.to(torch.uint8)
        self.classes, self.ignored = tuple(classes), ignored

    @classmethod
    def of(cls, images: MaskSet, batch_size: int = 256) -> SegmentedImages:
        """The same images and masks, read or rendered once and kept."""
        if not len(images):
            raise DataError("no images: the set is empty; is it the split that you meant?")
        return cls(*images.read_all(batch_size), images.classes, images.ignored)

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Item:
        return self.images[indices], self.masks[indices]


@dataclass(frozen=True, eq=False)
class DenseScore:
    """How well pixels were predicted, from the counts of all test images together.

    Args:
        confusion: (classes, classes) int64, pixels by true class (row) and predicted class.
    """

    confusion: Tensor
    classes: tuple[str, ...]

    @property
    def iou(self) -> Tensor:
        """Intersection over union of each class; nan if neither masks nor predictions have it."""
        hits = self.confusion.diag().double()
        return hits / (self.confusion.sum(dim=0) + self.confusion.sum(dim=1) - hits)

    @property
    def class_accuracy(self) -> Tensor:
        """The share of each class's pixels that was found; nan if the masks do not have it."""
        return self.confusion.diag().double() / self.confusion.sum(dim=1)

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the classes that are there (mIoU)."""
        return float(self.iou.nanmean())

    @property
    def mean_accuracy(self) -> float:
        """The mean of `class_accuracy` over the classes that are there (mAcc)."""
        return float(self.class_accuracy.nanmean())

    @property
    def pixel_accuracy(self) -> float:
        """The share of all pixels that count (aAcc)."""
        return float(self.confusion.diag().sum() / self.confusion.sum())

    def table(self) -> pd.DataFrame:
        """Rows mIoU, mAcc and aAcc: metric, score."""
        scores = self.mean_iou, self.mean_accuracy, self.pixel_accuracy
        return pd.DataFrame({"metric": ["mIoU", "mAcc", "aAcc"], "score": scores})


def confusion_of(
    predicted: Tensor, masks: Tensor, classes: int, ignored: int | None = None
) -> Tensor:
    """Count pixels by true class (row) and predicted class (column), (classes, classes) int64.

    Args:
        ignored: number in `masks` of pixels that do not count.
    """
    if predicted.shape != masks.shape:
        raise DataError(
            f"predictions {tuple(predicted.shape)} and masks {tuple(masks.shape)} differ in size"
        )
    known = known_pixels(masks, ignored)
    cells = masks[known].long() * classes + predicted[known].long()
    return cells.bincount(minlength=classes**2).view(classes, classes)


def known_pixels(masks: Tensor, ignored: int | None) -> Tensor:
    """Which pixels of masks count, bool."""
    return torch.ones_like(masks, dtype=torch.bool) if ignored is None else masks != ignored


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
