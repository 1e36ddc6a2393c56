"""Relative parameters of two views as numbers that a network takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from hierforecast._options import choice
from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Transformation
from hierforecast.image_ssl.views import Poses

# What a predictor may be conditioned on, of augmented views: kind -> names of parameters.
KINDS: dict[str, tuple[str, ...]] = {
    "rotation": ("angle",),
    "color": ("brightness", "contrast", "saturation", "hue"),
    "blur": ("blur",),
    "translation": ("translation",),
    "crop": ("crop", "shear"),
    "flip": ("flip",),
}
# The same of two views of one object. There, "rotation" is a parameter and no kind.
POSE_KINDS: dict[str, tuple[str, ...]] = {
    "pose": ("rotation",),
    "hue": ("background_hue", "light_hue"),
    "light": ("light_theta", "light_phi"),
}
# Beyond these factors, colors say no more; they also keep 0 and infinity out.
FACTORS = (1 / 8, 8.0)


def _factor(values: Tensor) -> Tensor:
    # 0 / 0, black to black, changes nothing.
    return 3.5 * values.nan_to_num(1.0).clamp(*FACTORS).log()[:, None]


def _crop(box: Tensor) -> Tensor:
    corner, side = box.split(2, 1)
    center = corner + side / 2 - 0.5
    return torch.cat([16 * center, 8 * side.clamp(min=1e-3).log()], 1)


def _turns(values: Tensor) -> Tensor:
    return 2 * math.pi * values.flatten()[:, None]


# Angles (b, k) in radians, 0 for the identity. Those of augmentation span most of a circle where
# two usual views differ as much as they can, see `every_kind`: were they near 0 for most pairs, all
# maps would be near the identity's, and features that tell nothing would be predicted well enough.
ANGLES: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "angle": (1, lambda degrees: 2 * torch.deg2rad(degrees)[:, None]),
    "translation": (2, lambda shift: 6 * shift),
    "crop": (4, _crop),
    "shear": (1, lambda shear: 16 * shear[:, None]),
    "flip": (1, lambda flip: math.pi * flip[:, None]),
    "brightness": (1, _factor),
    "contrast": (1, _factor),
    "saturation": (1, _factor),
    "hue": (1, lambda turns: 2 * _turns(turns)),
    "grayscale": (1, lambda gray: math.pi / 2 * gray[:, None]),
    "blur": (1, lambda sigma: 2.5 * sigma[:, None]),
    "background_hue": (1, _turns),
    "light_hue": (1, _turns),
    "light_theta": (1, lambda radians: 3 * radians),
    "light_phi": (1, lambda radians: radians),
}
# These are unit quaternions w, x, y, z already.
QUATERNIONS = ("rotation",)


class RelativeParameters(nn.Module):
    """From the relative parameters of `Views` to unit vectors, in a row.

    Every number becomes an angle, and that its cosine and sine, so that the identity is the vector
    (1, 0) and no sum of the columns is the same for all transformations; a rotation in space is its
    quaternion, the identity (1, 0, 0, 0).
    Angles come around: views half a turn apart, which `every_kind` hardly ever makes, count as
    alike.

    `ANGLES` says by how much.

    Args:
        names: of the parameters that are encoded; all others stay hidden.

    Attributes:
        blocks: length of each unit vector, 2 or 4, in their order.
        width: of the row, the sum of these.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        known = (*ANGLES, *QUATERNIONS)
        unknown = [name for name in self.names if name not in known]
        if unknown or not self.names:
            raise ValueError(
                f"parameters {list(self.names)}: give one or more of {', '.join(known)}"
            )
        self.blocks = [
            block
            for name in self.names
            for block in ([4] if name in QUATERNIONS else [2] * ANGLES[name][0])
        ]
        self.width = sum(self.blocks)

    def identity(self) -> Tensor:
        """The row (k,) of the transformation that changes nothing."""
        return torch.cat([torch.eye(block)[0] for block in self.blocks])

    def forward(self, relative: Mapping[str, Tensor]) -> Tensor:
        """Map parameters, n rows each, to (n, k)."""
        missing = [name for name in self.names if name not in relative]
        if missing:
            raise DataError(
                f"the views have no parameter {missing[0]!r}, only {sorted(relative)}: put its "
                "transformation into the augmentation, or condition on others"
            )
        return torch.cat([_unit(name, relative[name]) for name in self.names], 1)


def _unit(name: str, values: Tensor) -> Tensor:
    """Unit vectors side by side, (n, k)."""
    if name in QUATERNIONS:
        return values
    angles = ANGLES[name][1](values)
    return torch.stack([angles.cos(), angles.sin()], 2).flatten(1)


def parameters_of(views: Transformation | Poses, kind: str = "all") -> RelativeParameters:
    """The relative parameters of one kind of change, or of all that there are between two views.

    Args:
        views: where they come from: an augmentation that draws them, or `Poses`.
        kind: one of `KINDS`, or of `POSE_KINDS` for `Poses`, or ``"all"``.

    Raises:
        ValueError: for another kind, or one that the augmentation does not make.
    """
    kinds = POSE_KINDS if isinstance(views, Poses) else KINDS
    named = choice("kind", kind, {"all": views.relative_names, **kinds})
    names = [name for name in named if name in views.relative_names]
    if not names:
        raise ValueError(
            f"the augmentation makes no change of {kind}: it has {', '.join(views.names)}"
        )
    return RelativeParameters(names)
