"""Masks in memory, and how well the classes of their pixels were predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import Item, check_images
from hierforecast.image_ssl.data.views import MaskSet


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
        self,
        images: Tensor,
        masks: Tensor,
        classes: Sequence[str],
        ignored: int | None = None,
    ) -> None:
        check_images(images)
        if masks.shape != (len(images), *images.shape[2:]) or masks.is_floating_point():
            raise DataError(
                f"masks are {masks.dtype} {tuple(masks.shape)}, images {tuple(images.shape)}: give "
                "each image a mask (h, w) of its own size, whole numbers of classes"
            )
        _check_numbers(masks, len(classes), ignored)
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


def _check_numbers(masks: Tensor, classes: int, ignored: int | None) -> None:
    if not 1 <= classes <= 256:
        raise DataError(f"there are {classes} classes: give 1 to 256")
    if ignored is not None and not 0 <= ignored <= 255:
        raise DataError(f"ignored is {ignored}: give a number from 0 to 255, or None")
    unknown = masks[((masks < 0) | (masks >= classes)) & known_pixels(masks, ignored)]
    if len(unknown):
        raise DataError(
            f"a mask has class {int(unknown[0])}, but there are {classes}: number them from 0, or "
            "say that this number is to be ignored"
        )
