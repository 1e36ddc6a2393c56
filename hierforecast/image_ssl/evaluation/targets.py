"""What a probe is asked about the way from one view to another.

How parameters become targets (`TARGETS`):

| target | dimensions | score |
|---|---|---|
| rotation | cosine and sine of the relative angle: no jump at 180 degrees | R² |
| colour | logarithms of the relative brightness, contrast, saturation; hue in turns | R² |
| blur | relative standard deviation in pixels, negative where the second view is sharper | R² |
| translation | to the right and down, fractions of the image | R² |
| crop | left and top of the second box in the first, logarithms of its height and width | R² |
| flip | whether one view only is flipped | accuracy |

R² is made dimension by dimension, then averaged (see `regression`). Relative parameters are those
of `Compose.relative`: in a chain, each step's as if it stood alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from hierforecast.errors import DataError

# A relative parameter, (n,) or (n, k), to what is regressed, (n,) or (n, k').
Encoding: TypeAlias = Callable[[Tensor], Tensor]


def as_is(values: Tensor) -> Tensor:
    """The parameter itself."""
    return values


def circle(degrees: Tensor) -> Tensor:
    """Cosine and sine of an angle in degrees: (n,) to (n, 2)."""
    radians = torch.deg2rad(degrees)
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def box(crop: Tensor) -> Tensor:
    """A box (n, 4) with the logarithms of its height and width: twice is as far as half."""
    return torch.cat([crop[:, :2], crop[:, 2:].log()], dim=1)


@dataclass(frozen=True)
class Target:
    """Something that a probe is asked about the way from one view to the other.

    Args:
        encodings: relative parameter -> how it becomes columns of numbers.
        binary: whether it is yes (1) or no (0), judged by accuracy; otherwise by R².
    """

    encodings: Mapping[str, Encoding]
    binary: bool = False

    def values(self, relative: Mapping[str, Tensor]) -> Tensor:
        """What is to be predicted, (n, dimensions).

        Raises:
            DataError: if a relative parameter, or what is made of it, is NaN or infinite.
        """
        columns = []
        for name, encode in self.encodings.items():
            encoded = encode(relative[name])
            encoded = encoded.reshape(len(encoded), -1)
            bad = ~encoded.isfinite().all(dim=1)
            if bad.any():
                row = int(bad.nonzero()[0])
                raise DataError(
                    f"relative {name!r} of {int(bad.sum())} of {len(bad)} pairs is NaN or "
                    f"infinite, or is once encoded, the first at row {row} "
                    f"({relative[name][row].tolist()}): let no factor be drawn as 0"
                )
            columns.append(encoded)
        return torch.cat(columns, dim=1)


TARGETS: Mapping[str, Target] = {
    "rotation": Target({"angle": circle}),
    "colour": Target(
        {"brightness": torch.log, "contrast": torch.log, "saturation": torch.log, "hue": as_is}
    ),
    "blur": Target({"blur": as_is}),
    "translation": Target({"translation": as_is}),
    "crop": Target({"crop": box}),
    "flip": Target({"flip": as_is}, binary=True),
}
