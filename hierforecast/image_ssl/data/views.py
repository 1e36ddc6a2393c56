"""Sets beyond images and classes: several views of an object, and images with masks."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import (
    ArrayImages,
    ImageSet,
    Indices,
    Items,
    whole_numbers,
)
from hierforecast.image_ssl.data.rotations import Frame, relative_rotation
from hierforecast.image_ssl.views import Views

# What every set with poses knows of a view beside its pose; these are numbers (b,).
SCENE = ("background_hue", "light_theta", "light_phi", "light_hue")


class PosedSet(ImageSet):
    """Views of objects in known poses and lights: item i is view i % views of object i // views.

    The images are the set's like any other's, so that every method and probe takes them; beside
    them it says what each shows, and draws pairs of views of one object.

    Attributes:
        n_objects: number of objects.
        views: number of views of each.
        frame: about whose axes the relative rotation of a pair is; see `relative_rotation`.
    """

    n_objects: int
    views: int
    frame: Frame = "world"

    @abstractmethod
    def parameters(self, indices: Indices) -> dict[str, Tensor]:
        """What the images with these numbers show.

        Returns:
            A row an image, of at least: ``label`` and ``object``, int64 (b,); ``quaternion``
            (b, 4), the object's rotation in the order w, x, y, z, with w >= 0;
            ``background_hue`` and ``light_hue``, turns of the color circle in [0, 1];
            ``light_theta`` and ``light_phi``, where the light comes from, in radians: its angle
            from the axis that the set names, and that around it.
        """

    def __len__(self) -> int:
        return self.n_objects * self.views

    def pairs(self, indices: Indices, generator: torch.Generator | None = None) -> Views:
        """These images, each with another view of its object, drawn at random.

        Args:
            indices: numbers (b,) of the first views.

        Raises:
            ValueError: if the set has one view of each object only.
        """
        first = self._shown(whole_numbers(indices, len(self)))
        second = self._other_views(first, generator)
        both = torch.cat([first, second])
        images, labels = self.__getitems__(both.tolist())
        shown = self.parameters(both)
        n = len(first)
        start, end = ({k: v[rows] for k, v in shown.items()} for rows in (slice(n), slice(n, None)))
        return Views(
            first=images[:n],
            second=images[n:],
            labels=labels[:n],
            objects=start["object"],
            numbers=torch.stack([first, second]),
            relative=relative_parameters(start, end, self.frame),
        )

    def in_memory(self, batch_size: int = 256) -> PosedImages:
        """The same images and what they show, read or rendered once and kept."""
        images = super().in_memory(batch_size)
        shown = self.parameters(range(len(self)))  # after the images: a broken file is known then
        return PosedImages(
            images.images, images.labels, self.classes, shown, self.views, self.frame
        )

    def _other_views(self, first: Tensor, generator: torch.Generator | None) -> Tensor:
        return another_view(first, self.views, generator)

    def _shown(self, numbers: Tensor) -> Tensor:
        """The numbers of the images that stand in for these, where some cannot be read."""
        return numbers


class PosedImages(ArrayImages, PosedSet):
    """A posed set that lies in memory; `PosedSet.in_memory` makes one.

    Args:
        images, labels, classes: as for `ArrayImages`, the views of each object side by side.
        shown: what the images show, a row each, as `PosedSet.parameters` gives it.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        classes: Sequence[str],
        shown: Mapping[str, Tensor],
        views: int,
        frame: Frame = "world",
    ) -> None:
        super().__init__(images, labels, classes)
        rows = {len(value) for value in shown.values()}
        if rows != {len(self)} or views < 1 or len(self) % views:
            raise DataError(
                f"{len(self)} images of {views} views an object have parameters of {sorted(rows)} "
                "rows: give every object all its views, and every view a row"
            )
        self.shown, self.views, self.frame = dict(shown), views, frame
        self.n_objects = len(self) // views

    def parameters(self, indices: Indices) -> dict[str, Tensor]:
        """What the images with these numbers show."""
        numbers = whole_numbers(indices, len(self))
        return {name: value[numbers] for name, value in self.shown.items()}


def PosedPairs(images: PosedSet) -> PosedSet:
    """The set itself: `pretrain` draws the pairs for a method with ``augment=Poses()``."""
    warnings.warn("PosedPairs(images) is images: leave it out", DeprecationWarning, stacklevel=2)
    check_posed(images)
    return images


class MaskSet(Items):
    """Images with the class of every pixel: what a dense probe takes.

    An item is an image and a mask (h, w), uint8, with numbers in `classes`. torch's `Subset` takes
    some of them.

    Attributes:
        ignored: number of the pixels that are not evaluated, or None if all are.
    """

    ignored: int | None = None


def relative_parameters(
    first: dict[str, Tensor], second: dict[str, Tensor], frame: Frame = "world"
) -> dict[str, Tensor]:
    """What changes between two views, from the parameters of each.

    Returns:
        ``rotation`` (b, 4), see `relative_rotation`; and for each of ``background_hue``,
        ``light_theta``, ``light_phi`` and ``light_hue`` the second less the first (b, 1), as in
        the published experiments: hue and phi run around a circle, and the differences do not.
    """
    rotation = relative_rotation(first["quaternion"], second["quaternion"], frame)
    changes = {name: (second[name] - first[name]).unsqueeze(1) for name in SCENE}
    return {"rotation": rotation} | changes


def another_view(first: Tensor, views: int, generator: torch.Generator | None = None) -> Tensor:
    """A view of the same object each, drawn evenly among all but the given ones.

    Args:
        first: numbers of images, (b,).
    """
    if views < 2:
        raise ValueError("one view of each object makes no pairs: give views=2 or more")
    step = torch.randint(1, views, first.shape, generator=generator)
    return first - first % views + (first % views + step) % views


def check_posed(images: object) -> None:
    """Refuse a set that knows no poses."""
    if not isinstance(images, PosedSet):
        raise DataError(
            f"{type(images).__name__} tells no poses: give a PosedSet, such as RenderedObjects or "
            "ThreeDIEBench, and not a subset of one"
        )
