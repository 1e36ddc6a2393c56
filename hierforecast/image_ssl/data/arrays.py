"""What a set of labelled images is, and the set that lies in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from hierforecast._options import whole
from hierforecast.errors import DataError

Item: TypeAlias = tuple[Tensor, Tensor]
Indices: TypeAlias = Sequence[int] | np.ndarray | Tensor
CHANNELS = 3
_AT_ONCE = 1024  # images that are float64 at a time while a set is resized


class Items(Dataset[Item], ABC):
    """Square color images (3, h, w), uint8, each with a tensor that says what it shows.

    Subclasses give `__getitem__`, or `__getitems__` where a batch is quicker: each follows from
    the other.

    Attributes:
        classes: names of what may be shown, by number.
    """

    classes: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Item:
        images, shown = self.__getitems__([index])
        return images[0], shown[0]

    def __getitems__(self, indices: list[int]) -> Item:
        """A batch: images (b, 3, h, w), and (b, ...). torch's DataLoader asks for it."""
        return collate([self[index] for index in indices])

    def read_all(self, batch_size: int) -> Item:
        """All images and what they show, a batch at a time."""
        parts = [
            self.__getitems__(some.tolist()) for some in torch.arange(len(self)).split(batch_size)
        ]
        images, shown = (torch.cat(column) for column in zip(*parts, strict=True))
        return images, shown


class ImageSet(Items):
    """Labelled images: what every objective and every probe takes.

    An item is an image and its label: int64 () with the number of its class, or, where
    `multi_label`, float32 (classes,) with 1 for each class that is seen, 0 for each that is not,
    and NaN for each that is not evaluated.

    Attributes:
        multi_label: whether an image may belong to several classes.
    """

    multi_label: bool = False

    @property
    @abstractmethod
    def labels(self) -> Tensor:
        """All labels, (n,) or (n, classes), without a look at the images."""

    def subset(self, indices: Indices) -> ImageSet:
        """The images with these numbers, in this order; a number may come twice."""
        return Subset(self, whole_numbers(indices, len(self)))

    def in_memory(self, batch_size: int = 256) -> ArrayImages:
        """The same images, read or rendered once and kept."""
        return ArrayImages(*self.read_all(batch_size), self.classes, self.multi_label)


class ArrayImages(ImageSet):
    """Images that lie in memory.

    Args:
        images: (n, 3, h, w), uint8; arrays are not copied.
        labels: whole numbers (n,), or, for `multi_label`, 0, 1 or NaN in (n, classes).

    Raises:
        DataError: if shapes, types or values do not fit together.
    """

    def __init__(
        self,
        images: Tensor | np.ndarray,
        labels: Tensor | np.ndarray | Sequence[int],
        classes: Sequence[str],
        multi_label: bool = False,
    ) -> None:
        self.images = torch.as_tensor(images)
        self.classes = tuple(classes)
        self.multi_label = multi_label
        check_images(self.images)
        self._labels = _checked_labels(torch.as_tensor(labels), len(self.classes), multi_label)
        if len(self._labels) != len(self.images):
            raise DataError(
                f"{len(self.images)} images have {len(self._labels)} labels: give one to each"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Item:
        numbers = torch.as_tensor(indices, dtype=torch.int64)
        return self.images[numbers], self._labels[numbers]

    @property
    def labels(self) -> Tensor:
        """All labels: int64 (n,), or float32 (n, classes)."""
        return self._labels

    def subset(self, indices: Indices) -> ArrayImages:
        """The images with these numbers, in this order, copied."""
        found = self.__getitems__(whole_numbers(indices, len(self)).tolist())
        return ArrayImages(*found, self.classes, self.multi_label)

    def resized(self, size: int) -> ArrayImages:
        """The same images with sides of `size` pixels, or this set itself if they have them.

        Bilinear, smoothed before it shrinks, and symmetric: turning and mirroring commute with it.
        """
        whole("size", size)
        if self.images.shape[-2:] == (size, size):
            return self
        parts = [self.images.new_empty(0, CHANNELS, size, size)]
        for some in self.images.split(_AT_ONCE) if len(self) else ():
            exact = F.interpolate(some.double(), (size, size), mode="bilinear", antialias=True)
            # Halves go up even where arithmetic puts them a little low: a turned image is added up
            # in another order, and must round to the same whole numbers.
            parts.append((exact + 0.5 + 1e-8).floor().clamp(0, 255).to(torch.uint8))
        images = torch.cat(parts)
        return ArrayImages(images, self._labels, self.classes, self.multi_label)


class Subset(ImageSet):
    """Some images of another set, by their numbers there."""

    def __init__(self, parent: ImageSet, numbers: Tensor) -> None:
        self.parent, self.numbers = parent, numbers
        self.classes, self.multi_label = parent.classes, parent.multi_label

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitems__(self, indices: list[int]) -> Item:
        return self.parent.__getitems__(self.numbers[torch.as_tensor(indices)].tolist())

    @property
    def labels(self) -> Tensor:
        """Those of these images."""
        return self.parent.labels[self.numbers]


def collate(batch: Item | list[Item]) -> Item:
    """One batch out of a list of items; a batch that a set has put together passes as it is.

    Args:
        batch: what torch's DataLoader passes: the list of (image, label), or the pair of
            images (b, 3, h, w) and labels (b, ...) that `ImageSet.__getitems__` gave.
    """
    if isinstance(batch, tuple):
        return batch
    images, labels = zip(*batch, strict=True)
    return torch.stack(images), torch.stack(labels)


def as_float(images: Tensor) -> Tensor:
    """Images at rest (uint8, 0 to 255) as a network takes them (float32, 0 to 1).

    Raises:
        TypeError: if they are not uint8: dividing twice would go unnoticed.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images are {images.dtype}, not uint8: are they floats in [0, 1] already?")
    return images.to(torch.float32) / 255


def whole_numbers(indices: Indices, n: int) -> Tensor:
    """Numbers of images as int64 (m,), counted from the end where negative.

    Raises:
        IndexError: if a number does not lie in a set of `n`, or a mask has another length.
    """
    numbers = torch.as_tensor(np.asarray(indices))
    if numbers.dtype == torch.bool:
        if numbers.shape != (n,):
            raise IndexError(f"a mask of shape {tuple(numbers.shape)} for a set of {n} images")
        return numbers.nonzero()[:, 0]
    numbers = numbers.to(torch.int64).reshape(-1)
    beyond = numbers[(numbers < -n) | (numbers >= n)]
    if len(beyond):
        raise IndexError(f"there is no image {int(beyond[0])} in a set of {n}")
    return torch.where(numbers < 0, numbers + n, numbers)


def check_images(images: Tensor) -> None:
    """Refuse what is not (n, 3, h, w), uint8, and say what to do."""
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != CHANNELS:
        last = images.ndim == 4 and shape[-1] == CHANNELS
        remedy = ": put the channels first, images.transpose(0, 3, 1, 2)" if last else ""
        raise DataError(f"images have shape {shape}, not (n, {CHANNELS}, height, width){remedy}")
    if images.dtype != torch.uint8:
        raise DataError(
            f"images are {images.dtype}: give uint8 from 0 to 255 (floats in [0, 1]: "
            "(images * 255).round())"
        )


def _checked_labels(labels: Tensor, n_classes: int, multi_label: bool) -> Tensor:
    """Labels in the type of their kind, or the reason why they are none."""
    if multi_label:
        labels = labels.to(torch.float32)
        if labels.ndim != 2 or labels.shape[1] != n_classes:
            raise DataError(f"labels have shape {tuple(labels.shape)}, not (n, {n_classes})")
        odd = labels[~(labels.isnan() | (labels == 0) | (labels == 1))]
        if len(odd):
            raise DataError(f"a label is {float(odd[0])}: multi-label labels are 0, 1 or NaN")
        return labels
    if labels.is_floating_point() or labels.ndim != 1:
        raise DataError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}: give whole numbers (n,), "
            "or say multi_label=True"
        )
    labels = labels.to(torch.int64)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise DataError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, but there are "
            f"{n_classes} classes: number them from 0"
        )
    return labels
