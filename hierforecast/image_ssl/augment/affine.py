"""Affine maps of places: one step, a chain of them, and the way from one view to another.

Coordinates run from -1 to 1 between the image's *edges* (torch's ``align_corners=False``), so that
boxes and shifts are plain fractions and a turn of image and parameters turns the view.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hierforecast.image_ssl.augment.base import Parameters, Size, Transformation


class Affine(Transformation):
    """A transformation that is one affine map of coordinates."""

    @abstractmethod
    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Maps from a view's coordinates (x, y, 1) to its image's, (b, 3, 3).

        Args:
            parameters: those of `apply`, in the type of the images.
            size: height and width of the image.
        """

    def relative(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Parameters:
        """The parameters that take view a to view b; angles in [-180, 180).

        A box is given in fractions of view a: it reaches beyond [0, 1] where that lacks parts.
        """
        return relative_in_chain([self], a, b)


def chain_sources(
    chain: Sequence[Affine], parameters: Mapping[str, Tensor], size: Size
) -> tuple[Tensor, Size]:
    """The product of a chain's maps, (b, 3, 3), and height and width of the view.

    Args:
        chain: the steps, first to last, one at least.
    """
    product = chain[0].sources(parameters, size)
    size = chain[0].view_size(size)
    for step in chain[1:]:
        product = product @ step.sources(parameters, size)
        size = step.view_size(size)
    return product, size


def relative_in_chain(
    chain: Sequence[Affine],
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    size: Size = (1, 1),
) -> Parameters:
    """Flip, angle, translation, crop and shear that take view a to view b.

    The map from places of view b to places of view a is the product ``flip @ turn @ shift @ box @
    shear`` of the steps of these names, in this order whatever the order of the chain; what the
    chain cannot do drops out. A chain that turns and crops needs the shear, (x + shear * y, y) in
    pixels: seen from a turned box, another one is a parallelogram. Of the displacement
    `translation` is the part that the views' own translations bring about; the box has the rest.

    Args:
        size: height and width of the images; only their ratio matters, and for one step not that.
    """
    names = [name for step in chain for name in step.names]
    like = a[names[0]]
    exact = torch.float32 if like.device.type == "mps" else torch.float64
    views = [{name: view[name].to(exact) for name in names} for view in (a, b)]
    flip, angle, box = _parts(chain, views, size)
    side, middle = torch.stack([box[:, 1, 1], box[:, 0, 0]], 1), box[:, :, 2]
    shift = middle
    if "crop" in names and "translation" in names:
        still = [{**view, "translation": 0 * view["translation"]} for view in views]
        shift = middle - _parts(chain, still, size)[2][:, :, 2]
    elif "crop" in names:
        shift = 0 * middle
    corner = ((middle - shift).flip(1) + 1 - side) / 2  # top, left
    found = {
        "flip": flip,
        "angle": (torch.rad2deg(angle) + 180) % 360 - 180,
        "translation": -shift / 2,
        "crop": torch.cat([corner, side], 1),
        "shear": box[:, 0, 1] / box[:, 0, 0],
    }
    given = [*names, *(["shear"] if {"angle", "crop"} <= {*names} else [])]
    return {name: found[name].to(like) for name in given}


def _parts(
    chain: Sequence[Affine], views: Sequence[Mapping[str, Tensor]], size: Size
) -> tuple[Tensor, Tensor, Tensor]:
    """Whether left and right change places, (n,), the turn (n,) in radians, and what is left.

    That is (n, 2, 3): width, width * shear, x; 0, height, y. Sides are fractions of view a, x and
    y the middle of the box in halves of it; the shear is one of pixels.
    """
    (first, view), (second, _) = (chain_sources(chain, each, size) for each in views)
    between, shape = torch.linalg.solve(first, second)[:, :2], view[0] / view[1]
    # In units of the same length to the right and down, in which turns are rotation matrices.
    units = between.new_tensor([[1, 1 / shape, 1], [shape, 1, shape]])
    pixels = between * units
    flip = torch.linalg.det(pixels[:, :, :2]) < 0
    right, down = pixels[:, 0] * torch.where(flip, -1, 1)[:, None], pixels[:, 1]
    angle = torch.atan2(down[:, 0], right[:, 0])
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    box = torch.stack([cos * right + sin * down, cos * down - sin * right], 1)
    return flip, angle, box / between.new_tensor([[1, 1, 1], [1, 1, shape]])


def affine(rows: Sequence[Sequence[Tensor | float]], like: Tensor) -> Tensor:
    """Matrices (b, 3, 3) of two rows of numbers or tensors (b,)."""
    flat = [*rows[0], *rows[1], 0.0, 0.0, 1.0]
    entries = [v if isinstance(v, Tensor) else torch.full_like(like, v) for v in flat]
    return torch.stack(entries, 1).unflatten(1, (3, 3))
