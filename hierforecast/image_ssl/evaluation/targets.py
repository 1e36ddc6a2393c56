"""What probes predict of the way from one view to another.

| targets | name | dimensions | score |
|---|---|---|---|
| `TARGETS` | rotation | cosine and sine of the relative angle: no jump at 180 degrees | R² |
| | colour | logarithms of relative brightness, contrast, saturation; hue in turns | R² |
| | blur | relative deviation in pixels, negative where the second view is sharper | R² |
| | translation | to the right and down, fractions of the image | R² |
| | crop | left and top of the second box in the first, logarithms of its sides | R² |
| | flip | whether one view only is flipped | accuracy |
| `POSE_TARGETS` | rotation | the relative quaternion w, x, y, z, with w >= 0 | R² |
| | background hue, light hue | difference in turns of the color circle | R² |
| | light direction | differences of theta and phi, radians | R² |

Relative parameters are those of `Compose.relative` and of `relative_parameters`. Differences of
poses are those of the published experiments: hues and phi run around a circle, from 0 to a turn,
and their differences from minus one turn to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.outcomes import QUANTITIES, YES_NO, Outcome

# A relative parameter, (n,) or (n, k), to what is predicted, (n,) or (n, k').
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
    """Something that a probe predicts of the way from one view to the other.

    Args:
        encodings: relative parameter -> how it becomes columns of numbers.
        outcome: `QUANTITIES`, scored by R², or `YES_NO`, by accuracy.
    """

    encodings: Mapping[str, Encoding]
    outcome: Outcome = QUANTITIES

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
    "flip": Target({"flip": as_is}, YES_NO),
}
POSE_TARGETS: Mapping[str, Target] = {
    "rotation": Target({"rotation": as_is}),
    "background hue": Target({"background_hue": as_is}),
    "light hue": Target({"light_hue": as_is}),
    "light direction": Target({"light_theta": as_is, "light_phi": as_is}),
}


def known_targets(names: Iterable[str], targets: Mapping[str, Target]) -> dict[str, Target]:
    """The targets that are known where these parameters are."""
    known = {n: t for n, t in targets.items() if set(t.encodings) <= set(names)}
    if not known:
        raise DataError(
            f"the views have the parameters {sorted(names)}, which no target of {list(targets)} "
            "is made of: give other views, or a Target of your own"
        )
    return known
