"""Probes of numbers: what features tell of a quantity, judged by R² on data they never saw.

**R²** here: of each dimension, 1 - squared errors / squared distances from *that dimension's* mean
in the data judged; then the mean over the dimensions. A probe that knows nothing gets 0 or less.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast._random import drawing, seeded
from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.metrics import Score
from hierforecast.image_ssl.evaluation.probe import standards

PENALTIES = tuple(10.0**power for power in range(-5, 5))
# A fifth is held out, and an R² of two numbers says nothing.
FEWEST = 20


@dataclass(frozen=True, eq=False)
class Regressor:
    """A probe that has learnt.

    Args:
        predict: features (m, d) to quantities (m, k), or to probabilities (m, k) of yes.
        settings: what it chose on the way, such as its penalty.
    """

    predict: Callable[[Tensor], Tensor]
    settings: Mapping[str, float] = field(default_factory=dict)


# Features (n, d), targets (n, k), whether they are yes (1) or no (0), and a seed -> what it learnt.
RegressionProbe: TypeAlias = Callable[[Tensor, Tensor, bool, int], Regressor]


def r2_per_dimension(predicted: Tensor, wanted: Tensor) -> Tensor:
    """R² of each dimension, (k,) float64.

    Args:
        predicted: (n, k).
        wanted: (n, k).

    Raises:
        DataError: if the shapes differ, a value is NaN or infinite, or a dimension is constant.
    """
    if predicted.shape != wanted.shape or wanted.ndim != 2 or len(wanted) < 2:
        raise DataError(
            f"predictions {tuple(predicted.shape)} and targets {tuple(wanted.shape)} must both be "
            "(n, dimensions), with n of 2 or more"
        )
    predicted, wanted = predicted.double(), wanted.double()
    if not (predicted.isfinite().all() and wanted.isfinite().all()):
        raise DataError("a prediction or a target is NaN or infinite: R² is not defined")
    spread = (wanted - wanted.mean(dim=0)).square().sum(dim=0)
    constant = (spread <= 1e-12 * len(wanted) * wanted.square().amax(dim=0)).nonzero().flatten()
    if len(constant):
        raise DataError(
            f"dimension {int(constant[0])} is the same in all {len(wanted)} rows: R² is not "
            "defined; does this transformation ever happen?"
        )
    return 1 - (predicted - wanted).square().sum(dim=0) / spread


def r2(predicted: Tensor, wanted: Tensor) -> float:
    """The mean of `r2_per_dimension`, which says what is raised."""
    return float(r2_per_dimension(predicted, wanted).mean())


def agreement(predicted: Tensor, wanted: Tensor, binary: bool = False) -> Score:
    """R² of quantities, or the accuracy of yes (a prediction above one half) and no.

    Args:
        predicted, wanted: (n, k).
        binary: whether `wanted` is yes (1) or no (0).
    """
    if binary:
        right = (predicted > 0.5) == (wanted > 0.5)
        return Score("accuracy", float(right.double().mean()))
    return Score("R2", r2(predicted, wanted))


def ridge_probe(
    x: Tensor,
    y: Tensor,
    binary: bool = False,
    seed: int = 0,
    penalties: Sequence[float] = PENALTIES,
) -> Regressor:
    """The linear probe: ridge regression, its penalty chosen on a held-out fifth, then refitted.

    The penalty with the least squared error is taken, each dimension in units of its variance. Yes
    and no are regressed as 1 and 0.

    Args:
        x: features (n, d).
        y: targets (n, k).
        binary: whether targets are yes (1) or no (0), which changes nothing here.
        seed: of the draw of the held-out fifth.
        penalties: to choose from; one alone is taken as it is.

    Raises:
        DataError: if there are too few rows, or a value is NaN or infinite, or no penalty is given
            or one is not positive.
    """
    _check(x, y)
    if not penalties or min(penalties) <= 0:
        raise DataError(f"penalties are {tuple(penalties)}: give at least one, all positive")
    best = max(penalties)
    if len(penalties) > 1:
        taught, held = _split(len(x), seed)
        found = {
            penalty: _error(predict(x[held]), y[held].double())
            for penalty, predict in _ridges(x[taught], y[taught], penalties)
        }
        best = min(found, key=lambda penalty: (found[penalty], -penalty))
    ((_, predict),) = _ridges(x, y, [best])
    return Regressor(predict, {"penalty": best})


def fit_ridge(x: Tensor, y: Tensor, penalty: float) -> Callable[[Tensor], Tensor]:
    """Ridge regression in closed form: mean squared error + penalty * sum of squared weights.

    Features are standardised by their mean and deviation; biases bear no penalty. float64.
    (scikit-learn's alpha is n * penalty.)

    Args:
        x: features (n, d).
        y: targets (n, k).
        penalty: positive.

    Returns:
        Features (m, d) to predictions (m, k), float64.
    """
    ((_, predict),) = _ridges(x, y, [penalty])
    return predict


def mlp_probe(
    x: Tensor,
    y: Tensor,
    binary: bool = False,
    seed: int = 0,
    *,
    hidden: int = 256,
    max_epochs: int = 200,
    patience: int = 30,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
) -> Regressor:
    """A small network: two hidden layers, AdamW, stopped early by a held-out fifth.

    Features are standardised, and so are quantities. It begins at the mean of the targets (at no,
    for yes and no), and the weights of the best epoch are kept: features that tell nothing give an
    R² near 0. The same seed gives the same probe, whatever was drawn before.

    Args:
        x: features (n, d).
        y: targets (n, k).
        binary: whether targets are yes (1) or no (0): then the loss is the cross entropy, otherwise
            the squared error.
        seed: of the held-out fifth, the first weights and the batches.
        hidden: width of both hidden layers.
        max_epochs: at most so many.
        patience: epochs without a better held-out loss after which it stops.
        batch_size: rows a step.
        learning_rate, weight_decay: of AdamW.

    Raises:
        DataError: if there are too few rows, or a value is NaN or infinite.
    """
    _check(x, y)
    taught, held = _split(len(x), seed)
    x_mean, x_scale = standards(x[taught])
    y_mean, y_scale = standards(y[taught])
    if binary:
        y_mean, y_scale = torch.zeros_like(y_mean), torch.ones_like(y_scale)
    inputs, targets = ((x - x_mean) / x_scale).float(), ((y - y_mean) / y_scale).float()
    net = _network(x.shape[1], y.shape[1], hidden, seed)
    loss = F.binary_cross_entropy_with_logits if binary else F.mse_loss
    optimizer = torch.optim.AdamW(net.parameters(), learning_rate, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    best, best_loss, best_epoch = copy.deepcopy(net.state_dict()), math.inf, 0
    for epoch in range(max_epochs + 1):
        with torch.no_grad():
            value = float(loss(net(inputs[held]), targets[held]))
        if value < best_loss:
            best, best_loss, best_epoch = copy.deepcopy(net.state_dict()), value, epoch
        if epoch - best_epoch >= patience or epoch == max_epochs:
            break
        order = taught[torch.randperm(len(taught), generator=generator)]
        for rows in order.split(batch_size):
            optimizer.zero_grad()
            with torch.enable_grad():
                loss(net(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    net.load_state_dict(best)

    def predict(asked: Tensor) -> Tensor:
        with torch.no_grad():
            found = net(((asked - x_mean) / x_scale).float())
        return found.sigmoid() if binary else found * y_scale + y_mean

    return Regressor(predict, {"epochs": best_epoch})


PROBES: Mapping[str, RegressionProbe] = {"linear": ridge_probe, "MLP": mlp_probe}


def _network(inputs: int, outputs: int, hidden: int, seed: int) -> nn.Sequential:
    with drawing(seeded(seed)):
        first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)


def _ridges(
    x: Tensor, y: Tensor, penalties: Sequence[float]
) -> list[tuple[float, Callable[[Tensor], Tensor]]]:
    """Fits of several penalties that share their products of features."""
    mean, scale = standards(x.double())
    rows, bias = (x.double() - mean) / scale, y.double().mean(dim=0)
    wanted, n = y.double() - bias, len(x)
    wide = rows.shape[1] > n  # then the weights are sums of n rows: n unknowns instead of d
    gram = (rows @ rows.T if wide else rows.T @ rows) / n
    right = (wanted if wide else rows.T @ wanted) / n
    fits = []
    for penalty in penalties:
        shifted = gram + penalty * torch.eye(len(gram), dtype=gram.dtype)
        weight = torch.cholesky_solve(right, torch.linalg.cholesky(shifted))
        weight = (rows.T @ weight if wide else weight) / scale[:, None]
        fits.append((penalty, _linear(weight, bias - mean @ weight)))
    return fits


def _linear(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: x.double() @ weight + bias


def _error(predicted: Tensor, wanted: Tensor) -> float:
    """The mean squared error in units of each dimension's variance, for constants defined, too."""
    spread = wanted.var(dim=0).clamp_min(torch.finfo(wanted.dtype).tiny)
    return float(((predicted - wanted).square() / spread).mean())


def _split(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers to teach by, and a fifth to choose by."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return order[n // 5 :], order[: n // 5]


def _check(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise DataError(
            f"features {tuple(x.shape)} and targets {tuple(y.shape)} must be (n, d) and (n, k)"
        )
    if len(x) < FEWEST:
        raise DataError(
            f"{len(x)} rows are too few to learn by and to hold some out: give {FEWEST} or more"
        )
    for name, values in (("features", x), ("targets", y)):
        bad = ~values.isfinite().all(dim=1)
        if bad.any():
            raise DataError(
                f"{name} of {int(bad.sum())} of {len(x)} rows are NaN or infinite, the first at "
                f"row {int(bad.nonzero()[0])}"
            )
