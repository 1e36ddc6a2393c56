"""What a probe of two views predicts, numbers or yes and no, and how well it did.

Two definitions of **R²** are about. Ours, `r2`: of each dimension, 1 - squared errors / squared
distances from *that dimension's* mean in the test data; then the mean over the dimensions. That of
SIE's published code, `r2_pooled`: the same of all dimensions as one, with *one* mean for all. A
probe that knows nothing and predicts the mean of each dimension gets 0 by the first; by the second
it is paid for knowing that dimensions differ, as w and x, y, z of a small rotation do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.errors import DataError, import_extra
from hierforecast.image_ssl.evaluation.metrics import Score

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


def _score_r2(predicted: Tensor, wanted: Tensor) -> Score:
    return Score("R2", r2(predicted, wanted), others={POOLED: r2_pooled(predicted, wanted)})


def _score_yes(predicted: Tensor, wanted: Tensor) -> Score:
    return Score("accuracy", float(((predicted > 0.5) == (wanted > 0.5)).double().mean()))


# Numbers: the squared error in units of their deviation, and R².
QUANTITIES = Outcome(standardization, F.mse_loss, nn.Identity(), _score_r2)
# Yes (1) or no (0): the cross entropy, and the accuracy of chances above one half.
YES_NO = Outcome(
    lambda y: (torch.zeros_like(y[0]), torch.ones_like(y[0])),
    F.binary_cross_entropy_with_logits,
    torch.sigmoid,
    _score_yes,
)
