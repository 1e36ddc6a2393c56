"""What probes predict of the way from one view to another, and how well they did.

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

Two definitions of **R²** are about. Ours, `r2`: of each dimension, 1 - squared errors / squared
distances from *that dimension's* mean in the test data; then the mean over the dimensions. That of
SIE's published code, `r2_pooled`: the same of all dimensions as one, with *one* mean for all. A
probe that knows nothing and predicts the mean of each dimension gets 0 by the first; by the second
it is paid for knowing that dimensions differ, as w and x, y, z of a small rotation do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.errors import DataError, import_extra
from hierforecast.image_ssl.evaluation.probe import Score

POOLED = "pooled R2"


@dataclass(frozen=True)
class Outcome:
    """How predictions are learned and scored.

    Args:
        units: targets (n, k) to offset and scale (k,), in whose units a network learns them.
        loss: outputs of a network and targets in these units, both (n, k), to the loss.
        read: outputs to what they predict, in these units.
        score: predictions and targets to the score.
    """

    units: Callable[[Tensor], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    read: Callable[[Tensor], Tensor]
    score: Callable[[Tensor, Tensor], Score]


def standardization(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (d,) of rows (n, d); the deviation of a constant column is one."""
    variance, mean = torch.var_mean(x, dim=0, correction=0)
    scale = variance.sqrt()
    # A constant column may vary by rounding; dividing by that would blow it up.
    varies = scale > 1e-5 * x.abs().amax(dim=0)
    return mean, torch.where(varies, scale, torch.ones_like(scale))


def r2_per_dimension(predicted: Tensor, wanted: Tensor) -> Tensor:
    """R² of each dimension, (k,) float64.

    Raises:
        DataError: if the shapes differ, a value is NaN or infinite, or a dimension is constant.
    """
    return torch.from_numpy(_r2(*_checked(predicted, wanted), multioutput="raw_values"))


def r2(predicted: Tensor, wanted: Tensor) -> float:
    """The mean of `r2_per_dimension`, which says what is raised."""
    return float(r2_per_dimension(predicted, wanted).mean())


def r2_pooled(predicted: Tensor, wanted: Tensor) -> float:
    """R² of all dimensions as one, with one mean; arguments and errors of `r2_per_dimension`.

    Source: https://github.com/facebookresearch/SIE, evaluation of predicted poses.
    """
    return float(_r2(*(values.flatten() for values in _checked(predicted, wanted))))


def _r2(predicted: Tensor, wanted: Tensor, **how: str) -> Any:
    metrics = import_extra("sklearn.metrics", "image", "to measure R2")
    return metrics.r2_score(wanted.numpy(), predicted.numpy(), **how)


def _checked(predicted: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    if predicted.shape != wanted.shape or wanted.ndim != 2 or len(wanted) < 2:
        raise DataError(
            f"predictions {tuple(predicted.shape)} and targets {tuple(wanted.shape)} must both be "
            "(n, dimensions), with n of 2 or more"
        )
    predicted, wanted = predicted.double(), wanted.double()
    if not (predicted.isfinite().all() and wanted.isfinite().all()):
        raise DataError("a prediction or a target is NaN or infinite: R² is not defined")
    variance = wanted.var(dim=0, correction=0)
    constant = (variance <= 1e-12 * wanted.square().amax(dim=0)).nonzero().flatten()
    if len(constant):
        raise DataError(
            f"dimension {int(constant[0])} is the same in all {len(wanted)} rows: R² is not "
            "defined; does this transformation ever happen?"
        )
    return predicted, wanted


# Numbers: the squared error in units of their deviation, and R².
QUANTITIES = Outcome(
    standardization,
    F.mse_loss,
    nn.Identity(),
    lambda found, wanted: Score("R2", r2(found, wanted), others={POOLED: r2_pooled(found, wanted)}),
)
# Yes (1) or no (0): the cross entropy, and the accuracy of chances above one half.
YES_NO = Outcome(
    lambda y: (torch.zeros_like(y[0]), torch.ones_like(y[0])),
    F.binary_cross_entropy_with_logits,
    torch.sigmoid,
    lambda found, wanted: Score(
        "accuracy", float(((found > 0.5) == (wanted > 0.5)).double().mean())
    ),
)
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
