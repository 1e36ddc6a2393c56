"""What a probe of two views predicts, numbers or yes and no, and how well it did.

Two definitions of **R²** are about. Ours, `r2`: of each dimension, 1 - squared errors / squared
distances from *that dimension's* mean in the test data; then the mean over the dimensions. That of
SIE's published code, `r2_pooled`: the same of all dimensions as one, with *one* mean for all. A
probe that knows nothing and predicts the mean of each dimension gets 0 by the first; by the second
it is paid for knowing that dimensions differ, as w and x, y, z of a small rotation do.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.errors import DataError, import_extra
from hierforecast.image_ssl.evaluation.metrics import Score

POOLED = "pooled R2"


class Outcome(Protocol):
    """How predictions are learned and scored."""

    def units(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Offset and scale (k,) of targets (n, k), in whose units a network learns them."""
        ...

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of outputs of a network (n, k) for targets in these units."""
        ...

    def read(self, output: Tensor) -> Tensor:
        """What an output predicts."""
        ...

    def score(self, predicted: Tensor, y: Tensor) -> Score:
        """How good predictions (n, k) are."""
        ...


class Quantities:
    """Numbers: the squared error of each in units of its deviation, and R²."""

    def units(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation."""
        return standardization(y)

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean squared error."""
        return F.mse_loss(output, y)

    def read(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output

    def score(self, predicted: Tensor, y: Tensor) -> Score:
        """R² by both definitions."""
        return Score("R2", r2(predicted, y), others={POOLED: r2_pooled(predicted, y)})


class YesNo:
    """Yes (1) or no (0): the cross entropy, and the accuracy of predictions above one half."""

    def units(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """None: targets stay as they are."""
        return torch.zeros_like(y[0]), torch.ones_like(y[0])

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean cross entropy of logits."""
        return F.binary_cross_entropy_with_logits(output, y)

    def read(self, output: Tensor) -> Tensor:
        """The probability of yes."""
        return output.sigmoid()

    def score(self, predicted: Tensor, y: Tensor) -> Score:
        """The accuracy."""
        return Score("accuracy", float(((predicted > 0.5) == (y > 0.5)).double().mean()))


QUANTITIES, YES_NO = Quantities(), YesNo()


def standardization(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (d,) of rows (n, d); the deviation of a constant column is one."""
    variance, mean = torch.var_mean(x, dim=0, correction=0)
    scale = variance.sqrt()
    # A constant column may vary by rounding; dividing by that would blow it up.
    varies = scale > 1e-5 * x.abs().amax(dim=0)
    return mean, torch.where(varies, scale, torch.ones_like(scale))


def r2_per_dimension(predicted: Tensor, wanted: Tensor) -> Tensor:
    """R² of each dimension, (k,) float64.

    Args:
        predicted: (n, k).
        wanted: (n, k).

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
