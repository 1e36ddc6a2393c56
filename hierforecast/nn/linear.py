"""The linear forecast beside the network: ridge regression, solved and not trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.batch import SceneBatch
from hierforecast.nn.ridge import Moments, Stepwise, held_out_error, steps_alike
from hierforecast.nn.scaled import Scaled, clip_outliers, root_mean_square
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


class Inputs(NamedTuple):
    """What rows are forecast from.

    Attributes:
        same: (P, ...) for all steps alike.
        each: (P, H, E) more for each step, or None.
        late: (P,) steps from the end of the inputs to the cutoff, or None: they end there.
        others: (P, F, D) vectors that say where others are and go, or None.
    """

    same: Tensor
    each: Tensor | None = None
    late: Tensor | None = None
    others: Tensor | None = None

    def clipped(self) -> Inputs:
        """The same without outliers, see `clip_outliers`."""
        each = None if self.each is None else clip_outliers(self.each)
        others = self.others
        if others is not None:  # each vector by itself: places are far larger than movements
            others = clip_outliers(others.flatten(1)).unflatten(1, others.shape[1:])
        return Inputs(clip_outliers(self.same), each, self.late, others)


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

    def fit_units(self, batch: SceneBatch, unit: Tensor) -> None:
        """Learn the units of inputs that have some of their own, before `inputs` are asked for.

        Args:
            batch: training windows.
            unit: (H, D) of the steps ahead, in typical steps.
        """

    def inputs(self, batch: SceneBatch, scaled: Scaled, step: Tensor) -> Inputs:
        """What rows are forecast from: the context (P, L, D), in typical steps."""
        return Inputs(increments(scaled.relative) / step)

    def forward(self, inputs: Inputs, codes: Tensor) -> Tensor:
        """Inputs and codes (P,) -> (P, H, D)."""
        same, rows = inputs.same.flatten(1), torch.arange(len(codes), device=codes.device)
        weight, shared = self.weight.weight, same.shape[1]
        found = F.linear(same, weight[:, :shared], self.weight.bias)
        found = found.unflatten(-1, self.shape)[rows, codes]
        if inputs.each is None:
            return found
        own = weight[:, shared:].unflatten(0, self.shape)[codes]  # (P, H, D, E)
        return found + (inputs.each[:, :, None] * own).sum(-1)

    @torch.no_grad()
    def fit(
        self,
        inputs: Inputs,
        ahead: Tensor,
        present: Tensor,
        codes: Tensor,
        scene: Tensor,
        penalty: float | None = None,
    ) -> None:
        """Ridge regression for each code, each horizon step on the rows observed at it.

        Steps that are observed at the same rows share their sums and are solved as one.

        Args:
            inputs: what rows are forecast from.
            ahead: (P, H, D) what they should forecast.
            present: (P, H) which of it is observed.
            codes: (P,) code of each row, see `type_and_visibility`.
            scene: (P,) window of each row; the first half of them and the second are each other's
                held-out data, for the scale of errors and the choice of a penalty.
            penalty: as in `Moments.solve`; None takes the best of `penalties` for each code.
        """
        same = F.pad(inputs.same.flatten(1), (0, 1), value=1.0).double()
        first = 2 * scene < scene.amax() + 1 if len(scene) else scene.bool()
        choices = self.penalties if penalty is None else (penalty,)
        for code in range(self.shape[0]):
            rows = codes == code
            alike = steps_alike(present[rows])
            halves = [
                _moments(Inputs(same, inputs.each), ahead, present, rows & half, alike)
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

    def _set(self, code: int, steps: Tensor, solution: Tensor) -> None:
        """Put solutions of steps (s,), (i, s * D) or (s, i, D), into the weights; bias last."""
        weight, bias = self.weight.weight, self.weight.bias
        found = solution.mT.reshape(len(steps), -1, solution.shape[-2])
        weight.unflatten(0, self.shape)[code, steps] = found[..., :-1].to(weight)
        bias.unflatten(0, self.shape)[code, steps] = found[..., -1].to(bias)


def _moments(
    inputs: Inputs, ahead: Tensor, present: Tensor, rows: Tensor, alike: list[Tensor]
) -> list[Any]:
    """The moments of some rows for each set of steps, of each step if inputs differ."""
    found: list[Any] = []
    for steps in alike:
        here = rows & present[:, steps[0]]
        x, y = inputs.same[here], ahead[here][:, steps].double().flatten(1)
        if inputs.each is None:
            found.append(Moments.of(x, y))
        else:
            found.append(Stepwise.of(x, inputs.each[here][:, steps].double(), y))
    return found
