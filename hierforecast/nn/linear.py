"""The linear forecast beside the network: ridge regression, solved and not trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.batch import SceneBatch
from hierforecast.nn.scaled import Scaled, root_mean_square
from hierforecast.task import Task


def type_and_visibility(batch: SceneBatch, n_types: int) -> Tensor:
    """Group type and whether a series is seen at the cutoff, as one code (P,) below 2 n_types.

    A series that is not seen is further off, and where it went is unknown: it needs a forecast and
    a scale of errors of its own.
    """
    return batch.types + n_types * (~batch.present[:, -1])


def increments(relative: Tensor) -> Tensor:
    """The last value and the differences that led to it: (P, L, D) -> (P, L, D).

    They hold what the values hold, far less correlated.
    """
    return torch.cat([relative.diff(dim=1), relative[:, -1:]], dim=1)


# Penalties to choose from: of a smooth path nearly none, of returns so much that nothing is left.
PENALTIES = (1e-4, 1e-2, 1.0, 100.0)


class LinearForecast(nn.Module):
    """A linear forecast of each series from its own context, one for each `type_and_visibility`.

    It carries momentum and means past the network, which then learns what a line cannot say (the
    global residual of TiDE, arXiv 2304.08424). `fit` sets it to the ridge solution, so training
    starts from a good forecast instead of from nothing, and keeps the scale of its errors.

    Args:
        task: shapes of the data.
    """

    penalties: Sequence[float] = PENALTIES

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.shape = (2 * task.n_types, task.prediction_length, task.n_targets)
        self.weight = nn.Linear(self.n_inputs(task), math.prod(self.shape))
        nn.init.zeros_(self.weight.weight)
        nn.init.zeros_(self.weight.bias)
        self.error_scale: Tensor
        self.register_buffer("error_scale", torch.ones(self.shape))

    def n_inputs(self, task: Task) -> int:
        """Numbers that a step is forecast from."""
        return task.context_length * task.n_targets

    def fit_units(self, batch: SceneBatch) -> None:
        """Learn the units of inputs that have some of their own, before `inputs` are asked for."""

    def inputs(self, batch: SceneBatch, scaled: Scaled, step: Tensor) -> Tensor:
        """What a row is forecast from, (P, 1, L, D), in typical steps."""
        return (increments(scaled.relative) / step)[:, None]

    def forward(self, inputs: Tensor, codes: Tensor) -> Tensor:
        """Inputs (P, 1, ...) of all steps alike, or (P, H, ...), and codes (P,) -> (P, H, D)."""
        inputs, rows = inputs.flatten(2), torch.arange(len(codes), device=codes.device)
        if inputs.shape[1] == 1:
            return self.weight(inputs[:, 0]).unflatten(-1, self.shape)[rows, codes]
        weight, bias = (x.unflatten(0, self.shape) for x in (self.weight.weight, self.weight.bias))
        every = torch.einsum("phf,chdf->pchd", inputs, weight) + bias
        return every[rows, codes]

    @torch.no_grad()
    def fit(
        self,
        inputs: Tensor,
        ahead: Tensor,
        present: Tensor,
        codes: Tensor,
        scene: Tensor,
        penalty: float | None = None,
    ) -> None:
        """Ridge regression for each code, each horizon step on the rows observed at it.

        Steps that are observed at the same rows, of the same inputs, are solved as one.

        Args:
            inputs: (P, 1, ...) for all steps alike, or (P, H, ...).
            ahead: (P, H, D) what they should forecast.
            present: (P, H) which of it is observed.
            codes: (P,) code of each row, see `type_and_visibility`.
            scene: (P,) window of each row; the first half of them and the second are each other's
                held-out data, for the scale of errors and the choice of a penalty.
            penalty: as in `Moments.solve`; None takes the best of `penalties` for each code.
        """
        inputs = F.pad(inputs.flatten(2), (0, 1), value=1.0).double()
        first = 2 * scene < scene.amax() + 1 if len(scene) else scene.bool()
        choices = self.penalties if penalty is None else (penalty,)
        for code in range(self.shape[0]):
            rows = codes == code
            alike = steps_alike(present[rows]) if inputs.shape[1] == 1 else self._each_step()
            halves = [
                [self._moments(inputs, ahead, present, rows & half, steps) for steps in alike]
                for half in (first, ~first)
            ]
            pairs = [*zip(*halves, strict=True)]
            errors = [[held_out_error(a, b, p) for a, b in pairs] for p in choices]
            best = int(torch.tensor([sum(e.sum() for e in each) for each in errors]).argmin())
            for steps, (a, b), error in zip(alike, pairs, errors[best], strict=True):
                both = a.plus(b)
                self._set(code, steps, both.solve(choices[best]))
                mean = error.view(len(steps), -1) / max(both.rows, 1)
                scale = torch.where(mean > 0, mean, 1.0).sqrt()
                self.error_scale[code, steps] = scale.to(self.error_scale)

    @torch.no_grad()
    def repeat(self, values: Tensor) -> None:
        """Set it to fixed weights of the values of a context, for all codes.

        Args:
            values: (H, L, D), what a target's value at each step counts for each step ahead of it.
                They become weights of `increments`, from which every value can be told.
        """
        length, targets = values.shape[1:]
        # A value is the last one less the differences that came after it.
        back = -torch.ones(length, length, dtype=torch.float64).triu()
        back[:, -1] = 1
        onto = torch.einsum("hld,lk->hkd", values.double().cpu(), back)
        weight = self.weight.weight.unflatten(0, self.shape).unflatten(-1, (length, targets))
        weight.zero_()
        for target in range(targets):
            weight[:, :, target, :, target] = onto[..., target].to(weight)
        self.weight.bias.zero_()

    @torch.no_grad()
    def fit_errors(self, errors: Tensor, present: Tensor, codes: Tensor) -> None:
        """Learn the scale of errors (P, H, D) for each code and step from present cells (P, H)."""
        for code in range(self.shape[0]):
            rows = codes == code
            for step in range(self.shape[1]):
                size = root_mean_square(errors[rows, step].double(), present[rows, step])
                self.error_scale[code, step] = size.to(self.error_scale)

    def _each_step(self) -> list[Tensor]:
        return [*torch.arange(self.shape[1]).split(1)]

    def _moments(
        self, inputs: Tensor, ahead: Tensor, present: Tensor, rows: Tensor, steps: Tensor
    ) -> Moments:
        """The moments of some rows at horizon steps that are observed at the same ones of them."""
        at = int(steps[0])
        rows = rows & present[:, at]
        outputs = ahead[rows][:, steps].double()
        return Moments.of(inputs[rows, min(at, inputs.shape[1] - 1)], outputs.flatten(1))

    def _set(self, code: int, steps: Tensor, solution: Tensor) -> None:
        """Put a solution (i, s * D) of steps (s,), its last row the bias, into the weights."""
        weight, bias = self.weight.weight, self.weight.bias
        found = solution.T.unflatten(0, (len(steps), -1))
        weight.unflatten(0, self.shape)[code, steps] = found[..., :-1].to(weight)
        bias.unflatten(0, self.shape)[code, steps] = found[..., -1].to(bias)


def steps_alike(present: Tensor) -> list[Tensor]:
    """Steps (H,) in sets that are observed at the same rows of present (P, H)."""
    if not len(present):
        return [torch.arange(present.shape[1])]
    columns = np.packbits(present.cpu().numpy(), axis=0).T
    _, inverse = np.unique(columns, axis=0, return_inverse=True)
    pattern = torch.from_numpy(inverse.reshape(-1))
    return [(pattern == one).nonzero()[:, 0] for one in range(int(pattern.max()) + 1)]


class Moments(NamedTuple):
    """What ridge regression needs to know of rows x (n, i) and y (n, D), the last input being one.

    Several steps may stand side by side in y; then D counts all of them.

    Args:
        gram: (i, i), cross: (i, D), square: (D,), rows: sums over the rows.
    """

    gram: Tensor
    cross: Tensor
    square: Tensor
    rows: int

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Moments:
        """The moments of rows."""
        return cls(x.T @ x, x.T @ y, y.square().sum(0), len(x))

    def plus(self, other: Moments) -> Moments:
        """The moments of both."""
        return Moments(
            self.gram + other.gram,
            self.cross + other.cross,
            self.square + other.square,
            self.rows + other.rows,
        )

    def solve(self, penalty: float) -> Tensor:
        """Ridge solution (i, D).

        Args:
            penalty: for each row, in units of the inputs' mean square. It counts at least as much
                as ten rows do, which keeps a fit to few windows from running wild. Infinite: zero.
        """
        if math.isinf(penalty):
            return torch.zeros_like(self.cross)
        size = (self.gram.diagonal()[:-1].mean() / max(self.rows, 1)).clamp(min=1e-6)
        ridge = size * max(penalty * self.rows, 10.0)
        return torch.linalg.solve(
            self.gram + ridge * torch.eye(len(self.gram)).to(self.gram), self.cross
        )

    def error(self, solution: Tensor) -> Tensor:
        """Sum of squared errors (D,) of a solution on these rows."""
        fitted = (solution * (self.gram @ solution - 2 * self.cross)).sum(0)
        return (self.square + fitted).clamp(min=0)


def held_out_error(one: Moments, other: Moments, penalty: float) -> Tensor:
    """Squared errors (D,) of each half under the solution of the other."""
    return one.error(other.solve(penalty)) + other.error(one.solve(penalty))
