"""The linear probe: logistic regression on frozen features, its penalty chosen on training data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.metrics import Score, Summary, area
from hierforecast.image_ssl.evaluation.pairs import check_classes, check_pair, score_of

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Where nothing can be held out: one image of each class.
DEFAULT_PENALTY = 1e-2
# Enough to rank penalties, each fit starting from the last; the refit on all takes what it needs.
SEARCH_STEPS, MAX_STEPS = 100, 300

Loss: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear classifier of features that remembers how to standardise them.

    Args:
        weight: (d, classes).
        bias: (classes,); minus infinity for classes that training did not show.
        mean, scale: (d,), of the training features.
        penalty: L2, of the weights; see `fit_probe`.
        held_out: penalty -> accuracy or mean AP on the held-out training features; empty if the
            penalty was given.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    penalty: float
    held_out: Mapping[float, float] = field(default_factory=dict)

    def scores(self, x: Tensor) -> Tensor:
        """Class scores (n, classes) of features (n, d): logits."""
        # The features stay as they are: a standardised copy of a large set would not fit.
        weight = self.weight / self.scale[:, None]
        return x.to(weight) @ weight + (self.bias - self.mean @ weight)


def linear_probe(
    train: Features,
    test: Features,
    penalties: Sequence[float] = PENALTIES,
    summary: Summary = area,
    seed: int = 0,
) -> Score:
    """Teach a linear probe on the training features and judge it on the test features.

    The penalty is chosen by `choose_penalty`; the test features take no part in it.

    Args:
        train: of at least two classes.
        test: of classes that `train` shows.
        penalties: to choose from; one alone is taken as it is.
        summary: of average precision, where images show several classes.
        seed: of the draw of the held-out training features.

    Returns:
        Accuracy or mean AP, with the penalty in its settings.

    Raises:
        DataError: if the two do not belong together; see `check_pair`.
    """
    check_pair(train, test)
    probe = choose_penalty(train, penalties, summary, seed)
    return score_of(probe.scores(test.x), test, summary, penalty=probe.penalty)


def choose_penalty(
    train: Features,
    penalties: Sequence[float] = PENALTIES,
    summary: Summary = area,
    seed: int = 0,
) -> LinearProbe:
    """Choose the penalty on a held-out fifth of the training features, then refit on all of them.

    The fifth is drawn from each class: at least one image, never the class's last. Of equally good
    penalties the strongest is taken. If nothing can be held out, the penalty is 0.01, or the
    nearest to it that is offered.

    Args:
        train: of at least two classes.
        penalties: to choose from.
        summary: of average precision, where images show several classes.
        seed: of the draw.

    Raises:
        DataError: if there is one class only, or no penalty, or one that is not positive.
    """
    if not penalties or min(penalties) <= 0:
        raise DataError(f"penalties are {tuple(penalties)}: give at least one, all positive")
    found: dict[float, float] = {}
    held = hold_out(train, seed)
    if len(penalties) > 1 and held.any() and _can_learn(train[~held]):
        start = None
        # From strong to weak, each from where the last one ended: far fewer steps.
        for penalty in sorted(penalties, reverse=True):
            start = fit_probe(train[~held], penalty, start, SEARCH_STEPS)
            value = score_of(start.scores(train.x[held]), train[held], summary).value
            if not math.isnan(value):  # it is where no held-out image shows any class
                found[penalty] = value
    if found:
        penalty = max(found, key=lambda penalty: (found[penalty], penalty))
    else:
        penalty = min(penalties, key=lambda penalty: abs(math.log(penalty / DEFAULT_PENALTY)))
    probe = fit_probe(train, penalty)
    return LinearProbe(probe.weight, probe.bias, probe.mean, probe.scale, penalty, found)


def hold_out(train: Features, seed: int = 0) -> Tensor:
    """Choose a fifth of the features at random, as a mask (n,).

    With one class an image, a fifth of each class: at least one image, but never the last one.
    """
    draws = torch.rand(len(train), generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(len(train), dtype=torch.bool)
    groups = [torch.arange(len(train))]
    if not train.multi_label:
        groups = [(train.y == label).nonzero().flatten() for label in train.y.unique()]
    for rows in groups:
        count = max(1, len(rows) // 5) if len(rows) > 1 else 0
        held[rows[draws[rows].argsort()[:count]]] = True
    return held


def fit_probe(
    train: Features,
    penalty: float,
    start: LinearProbe | None = None,
    max_steps: int = MAX_STEPS,
) -> LinearProbe:
    """Fit a linear probe: mean negative log-likelihood + penalty / 2 * sum of squared weights.

    With one class an image, a multinomial model over the classes that are there; with several, one
    binary model for each class, its mean taken over the images in which the class is judged. Biases
    bear no penalty. Features are standardised by the training features' mean and deviation.
    (scikit-learn's C is 1 / (n * penalty).)

    Args:
        train: of at least two classes; float32 or float64, which is the precision of the fit.
        penalty: positive.
        start: a probe of the same features to start from; None starts from zero.
        max_steps: of L-BFGS, the whole set at each step.

    Raises:
        DataError: if there is one class only.
    """
    check_classes(train)
    mean, scale = standards(train.x)
    x = (train.x - mean) / scale
    loss, taught = _binary(train.y, x) if train.multi_label else _multinomial(train.y)
    if start is None:
        weight, bias = x.new_zeros(x.shape[1], len(taught)), x.new_zeros(len(taught))
    else:
        weight, bias = start.weight[:, taught], start.bias[taught]
    weight, bias = _minimise(x, loss, penalty, weight, bias, max_steps)
    classes = max(len(train.classes), int(taught.max()) + 1)
    if train.multi_label:
        classes = train.y.shape[1]
    everyone = x.new_zeros(x.shape[1], classes), x.new_full((classes,), -torch.inf)
    everyone[0][:, taught], everyone[1][taught] = weight, bias
    return LinearProbe(*everyone, mean, scale, penalty)


def standards(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (d,) of features (n, d); a dead feature's deviation is one."""
    variance, mean = torch.var_mean(x, dim=0, correction=0)
    scale = variance.sqrt()
    # A dead feature varies by rounding only; dividing by that would blow it up.
    alive = scale > 1e-5 * x.abs().amax(dim=0)
    return mean, torch.where(alive, scale, torch.ones_like(scale))


def _multinomial(labels: Tensor) -> tuple[Loss, Tensor]:
    """The mean loss of scores (n, taught), and the classes that are taught."""
    taught, targets = labels.unique(return_inverse=True)
    return lambda scores: F.cross_entropy(scores, targets), taught


def _binary(labels: Tensor, x: Tensor) -> tuple[Loss, Tensor]:
    """The same, summed over classes; only those with positive and negative images are taught."""
    taught = ((labels == 1).any(0) & (labels == 0).any(0)).nonzero().flatten()
    targets = labels[:, taught].to(x)
    judged = ~targets.isnan()
    weights = judged / judged.sum(0, dtype=x.dtype)
    targets = targets.nan_to_num(0.0)

    def loss(scores: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, targets, weights, reduction="sum")

    return loss, taught


def _minimise(
    x: Tensor, loss: Loss, penalty: float, weight: Tensor, bias: Tensor, max_steps: int
) -> tuple[Tensor, Tensor]:
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=max_steps,
        max_eval=2 * max_steps,
        tolerance_grad=1e-5 if x.dtype == torch.float32 else 1e-8,
        tolerance_change=1e-9 if x.dtype == torch.float32 else 1e-14,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(x @ weight + bias) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach(), bias.detach()


def _can_learn(train: Features) -> bool:
    try:
        check_classes(train)
    except DataError:
        return False
    return True
