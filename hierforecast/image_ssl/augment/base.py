"""What a transformation is: draw parameters, apply them, undo them, compare two views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from hierforecast.errors import DataError

Parameters: TypeAlias = dict[str, Tensor]
Range: TypeAlias = tuple[float, float]
Size: TypeAlias = tuple[int, int]
Random: TypeAlias = torch.Generator | None  # None: torch's own, on the CPU
CHANNELS = 3
# Interpolation and rounding may leave [0, 1] a little; standardized images and bytes go further.
SLACK = 0.1


@dataclass(frozen=True)
class View:
    """Augmented images and what was done to them.

    Attributes:
        images: (b, 3, h, w).
        parameters: name -> (b,) or (b, k), on the images' device; units stand in the package's
            docstring.
    """

    images: Tensor
    parameters: Parameters


class Transformation(ABC):
    """Something that may be done to images, by parameters of one row an image.

    A subclass draws with `sample`, as if it were done to every image.

    Attributes:
        neutral: name of each parameter -> the value, or values, that change nothing.
        p: probability that something is done to an image; None if always.
        lossy: whether it loses what it would take to undo it.
    """

    neutral: ClassVar[Mapping[str, float | Sequence[float]]] = {}
    p: float | None = None
    lossy: ClassVar[bool] = False

    def __call__(self, images: Tensor, generator: Random = None) -> View:
        """Draw parameters and apply them.

        Args:
            images: (b, 3, h, w), float32 or float64 in [0, 1].
            generator: draws the parameters; on the CPU, they are the same for images on any device.
        """
        check_images(images)
        return self.replay(images, self.draw(images.shape, generator))

    def replay(self, images: Tensor, parameters: Mapping[str, Tensor]) -> View:
        """Do again, to the same images or to others, what `parameters` say.

        The same images give the same view, bit for bit. Networks' mixed precision is left out.
        """
        check_images(images)
        # Entries of another augmentation may stand beside: a part takes the dictionary of a whole.
        placed = {name: _fetch(parameters, name, images) for name in self.names}
        with torch.autocast(images.device.type, enabled=False):
            return View(self.apply(images, placed), placed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.neutral)

    @property
    def relative_names(self) -> tuple[str, ...]:
        """Names of the parameters that `relative` gives."""
        return self.names

    def identity(self, n: int) -> Parameters:
        """The parameters that change nothing, n rows."""
        values = {name: torch.tensor(value) for name, value in self.neutral.items()}
        return {name: value.repeat(n, *[1] * value.ndim) for name, value in values.items()}

    def view_size(self, size: Size) -> Size:
        """Height and width of the view of an image of this height and width."""
        return size

    def draw(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw parameters for images of shape (b, 3, h, w): float32, on the generator's device."""
        drawn = self.sample(shape, generator)
        if self.p is None:
            return drawn
        n, neutral = shape[0], self.identity(shape[0])
        done = uniform(n, (0.0, 1.0), generator) < self.p
        for name, values in drawn.items():
            rows = done.view(n, *[1] * (values.ndim - 1))
            drawn[name] = torch.where(rows, values, neutral[name].to(values))
        return drawn

    def sample(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw what is done to each image, whatever `p` is; here, every parameter is 1: yes."""
        ones = torch.ones(shape[0], device=device_of(generator))
        return dict.fromkeys(self.neutral, ones)

    @abstractmethod
    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Transform images (b, 3, h, w) as `parameters`, on the same device, say."""

    @abstractmethod
    def relative(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Parameters:
        """The parameters that take view a to view b of the same images."""

    def inverse(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """The parameters that undo `parameters`.

        Raises:
            DataError: if what was done loses what it would take to undo it.
        """
        if self.lossy:
            raise DataError(
                f"{type(self).__name__} cannot be undone: keep the images, or leave it out of the "
                "chain"
            )
        n = len(next(iter(parameters.values()), ()))
        neutral = {name: v.to(parameters[name]) for name, v in self.identity(n).items()}
        return self.relative(parameters, neutral)

    def undo(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The images from which `parameters` made these, up to interpolation and lost borders."""
        return self.apply(images, self.inverse(parameters))


class Identity(Transformation):
    """Nothing happens: the view is the image."""

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The images themselves."""
        return images

    def relative(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Parameters:
        """No parameters."""
        return {}


def device_of(generator: Random) -> torch.device:
    """Where parameters are drawn."""
    return torch.device("cpu") if generator is None else generator.device


def uniform(n: int, span: Range, generator: Random) -> Tensor:
    """Draw n numbers, float32 (n,)."""
    low, high = span
    return low + (high - low) * torch.rand(n, generator=generator, device=device_of(generator))


def per_image(values: Tensor) -> Tensor:
    """Values (b,) that broadcast against images (b, 3, h, w)."""
    return values[:, None, None, None]


def limits(name: str, values: Range, least: float, most: float = inf) -> Range:
    """Return a range (low, high) from `least` to `most`, or raise ValueError."""
    low, high = values
    if not least <= low <= high <= most:
        end = "" if most == inf else f" <= {most:g}"
        raise ValueError(f"{name}={values}: give (low, high) with {least:g} <= low <= high{end}")
    return float(low), float(high)


def check_images(images: Tensor) -> None:
    """Refuse what is not (b, 3, h, w), float, from 0 to 1, and say what to do."""
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != CHANNELS:
        last = images.ndim == 4 and shape[-1] == CHANNELS
        one = images.ndim == 3 and shape[0] == CHANNELS
        remedy = ": give images.permute(0, 3, 1, 2)" if last else ": give images[None]"
        raise DataError(
            f"images have shape {shape}, not (b, {CHANNELS}, h, w){remedy if last or one else ''}"
        )
    if images.dtype not in (torch.float32, torch.float64):
        remedy = "as_float(images)" if images.dtype == torch.uint8 else "images.float()"
        raise DataError(f"images are {images.dtype}, not float32 or float64: give {remedy}")
    if not images.numel():
        return
    low, high = (float(value) for value in images.detach().aminmax())
    if not (low >= -SLACK and high <= 1 + SLACK):  # so that NaN fails, too
        raise DataError(
            f"images run from {low:.3g} to {high:.3g}, not from 0 to 1: divide bytes by 255, "
            "and standardize after augmenting, not before"
        )


def _fetch(parameters: Mapping[str, Tensor], name: str, images: Tensor) -> Tensor:
    """One parameter on the images' device, checked."""
    if name not in parameters:
        raise DataError(
            f"there is no parameter {name!r} among {sorted(parameters)}: give those that this "
            "augmentation drew, or its identity(n)"
        )
    values = parameters[name]
    if values.ndim == 0 or len(values) != len(images):
        raise DataError(
            f"{name!r} has shape {tuple(values.shape)} for {len(images)} images: give one row each"
        )
    return values.to(images.device)
