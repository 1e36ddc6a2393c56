"""Sets beyond images and classes: several views of an object, and images with masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from hierforecast.image_ssl.data.arrays import ImageSet, Indices, Item, collate, whole_numbers
from hierforecast.image_ssl.data.rotations import Frame, relative_rotation

__all__ = ["MaskSet", "PosedSet", "ViewPairs", "relative_parameters"]

# What every set with poses knows of a view beside its pose; these are numbers (b,).
SCENE = ("background_hue", "light_theta", "light_phi", "light_hue")


@dataclass(frozen=True)
class ViewPairs:
    """Two views each of some objects, and what changes from the first to the second.

    Attributes:
        first: images (b, 3, h, w), uint8.
        second: images of the same objects.
        labels: class of each object, int64 (b,).
        numbers: the images' numbers in the set, int64 (2, b).
        relative: as `relative_parameters` gives it, (b, d) each.
    """

    first: Tensor
    second: Tensor
    labels: Tensor
    numbers: Tensor
    relative: dict[str, Tensor]


class PosedSet(ImageSet):
    """Views of objects in known poses and lights: item i is view i % views of object i // views.

    The images are the set's like any other's, so that every method and probe takes them; beside
    them it tells what is behind each, and draws pairs of views of one object.

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
            ``background_hue`` and ``light_hue``, turns of the colour circle in [0, 1];
            ``light_theta`` and ``light_phi``, where the light comes from, in radians: its angle
            from the axis that the set names, and that around it.
        """

    def __len__(self) -> int:
        return self.n_objects * self.views

    def pairs(self, indices: Indices, generator: torch.Generator | None = None) -> ViewPairs:
        """These images, each with another view of its object, drawn at random.

        Args:
            indices: numbers (b,) of the first views.
            generator: of the draw; torch's own by default.

        Raises:
            ValueError: if the set has one view of each object only.
        """
        first = whole_numbers(indices, len(self))
        return self._paired(first, self._other_views(first, generator))

    def _other_views(self, first: Tensor, generator: torch.Generator | None) -> Tensor:
        """A view of the same object each, drawn evenly among all but the given ones."""
        if self.views < 2:
            raise ValueError("one view of each object makes no pairs: give views=2 or more")
        step = torch.randint(1, self.views, first.shape, generator=generator)
        return first - first % self.views + (first % self.views + step) % self.views

    def _paired(self, first: Tensor, second: Tensor) -> ViewPairs:
        both = torch.cat([first, second])
        images, labels = self.__getitems__(both.tolist())
        parameters = self.parameters(both)
        start = {name: value[: len(first)] for name, value in parameters.items()}
        end = {name: value[len(first) :] for name, value in parameters.items()}
        return ViewPairs(
            first=images[: len(first)],
            second=images[len(first) :],
            labels=labels[: len(first)],
            numbers=torch.stack([first, second]),
            relative=relative_parameters(start, end, self.frame),
        )


class MaskSet(Dataset[Item], ABC):
    """Images with the class of every pixel: what a dense probe takes.

    An item is an image (3, h, w), uint8, and a mask (h, w), uint8, with numbers in `classes`.
    torch's `Subset` takes some of them, and `collate` stacks them.

    Attributes:
        classes: names of what a pixel may show, by number.
        ignored: number of the pixels that are not to be judged, or None if all are.
    """

    classes: tuple[str, ...]
    ignored: int | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Item: ...

    def __getitems__(self, indices: list[int]) -> Item:
        """A batch: images (b, 3, h, w) and masks (b, h, w). torch's DataLoader asks for it."""
        return collate([self[index] for index in indices])


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
