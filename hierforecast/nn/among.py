"""The linear forecast of what moves among others: it looks at where its class and others go."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from hierforecast.batch import SceneBatch
from hierforecast.nn.groups import sums
from hierforecast.nn.linear import PENALTIES, Inputs
from hierforecast.nn.ridge import Moments, held_out_error
from hierforecast.nn.run_on import RunOn, nearest
from hierforecast.nn.scaled import TINY, Scaled
from hierforecast.task import Task

# Movements of a summary that are looked at, one before the other, and the steps of each.
PACES, SPAN = 2, 3
# The share of squared errors that must be gained, by the root of how many there are of a step.
SURE = 2.0


class Among(RunOn):
    """`RunOn`, and what is linear in where the others of a scene are and how they move.

    Of the series' own class, and of each type among the other classes, it sees the place of their
    mean from where the series is, and the mean's last movements: what SA_C sees of a scene, in a
    linear forecast. Each of these vectors counts by one number for each step ahead, the same in
    every direction, so few scenes teach it. They are solved for what `RunOn` leaves of the truth;
    where held-out scenes are not sure that they tell anything they are zero, as in what was saved
    by earlier versions. No gradient reaches them: places are large numbers, and the noise of a
    training would make paths rough. Series out of view see nothing of the others, and are not seen.

    Args:
        task: shapes of the data.

    Attributes:
        others: (n_types, H, F), weights of F vectors in typical steps.
    """

    added = (*RunOn.added, "others")

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.n_types, self.paces = task.n_types, min(PACES, task.context_length - 1)
        shape = task.n_types, task.prediction_length, (1 + task.n_types) * (1 + self.paces)
        self.others: Tensor
        self.register_buffer("others", torch.zeros(shape))

    def inputs(self, batch: SceneBatch, scaled: Scaled, step: Tensor) -> Inputs:
        """See `RunOn`; beside it the vectors (P, F, D), zero of what is out of view."""
        others = self._vectors(batch, scaled.absolute / step)
        return super().inputs(batch, scaled, step)._replace(others=others)

    def forward(self, inputs: Inputs, codes: Tensor) -> Tensor:
        """See `LinearForecast`."""
        found = super().forward(inputs, codes)
        if inputs.others is None:
            return found
        weight = self.others[codes % self.n_types]
        return found + weight @ inputs.others / self._unit

    @torch.no_grad()
    def repeat(self, values: Tensor) -> None:
        """See `LinearForecast`: of the others, nothing."""
        super().repeat(values)
        self.others.zero_()

    @torch.no_grad()
    def fit_others(
        self, inputs: Inputs, ahead: Tensor, present: Tensor, codes: Tensor, scene: Tensor
    ) -> None:
        """See `RunOn`: from what is left of the truth.

        Errors of rows that are lost on the way go on: all steps are learned from the same rows.
        """
        self.others.zero_()
        assert inputs.others is not None
        first = 2 * scene < scene.amax() + 1 if len(scene) else scene.bool()
        left = nearest(ahead - self(inputs, codes).to(ahead), present) * self._unit
        told = inputs.others.flatten(1).any(1) & present.any(1)
        for code in range(self.n_types):
            rows = told & (codes == code)
            if bool(rows.any()):
                halves = [(inputs.others[h], left[h]) for h in (rows & first, rows & ~first)]
                self._learn(code, *halves)

    def _learn(self, code: int, *halves: tuple[Tensor, Tensor]) -> None:
        """Ridge regression of two halves (n, F, D) -> (n, H, D), a row for each direction."""
        size = torch.cat([x for x, _ in halves]).double().square().mean((0, 2)).sqrt()
        size = torch.where(size > 0, size, 1.0)
        one, other = (_directions(x / size[:, None], y) for x, y in halves)
        both = one.plus(other)
        unit = both.square.clamp(min=TINY)
        errors = [held_out_error(one, other, p) / unit for p in PENALTIES]
        penalty, error = min(zip(PENALTIES, errors, strict=True), key=lambda x: float(x[1].mean()))
        if float(error.mean()) < 1 - SURE / math.sqrt(max(both.rows, 1)):
            solution = both.solve(penalty)[:-1] / size[:, None]
            self.others[code] = solution.T.to(self.others)
            self.error_scale[code] *= error.clamp(max=1).sqrt()[:, None].to(self.error_scale)

    @property
    def _unit(self) -> Tensor:
        return torch.where(self.unit == 0, 1, self.unit)

    def _vectors(self, batch: SceneBatch, path: Tensor) -> Tensor:
        """Of each summary the place of its mean from here, and its movements (P, F, D).

        Args:
            batch: the rows.
            path: (P, L, D), their places in typical steps.
        """
        span = max(1, min(SPAN, (path.shape[1] - 1) // max(self.paces, 1)))
        ends = [path[:, -1 - k * span] for k in range(self.paces + 1)]
        own = torch.stack([ends[0], *((new - old) / span for new, old in pairwise(ends))], 1)
        here = batch.present[:, -1]
        total, number = _summed(own.flatten(1) * here[:, None], here.to(path), batch, self.n_types)
        mean = (total / number.clamp(min=1)[..., None]).unflatten(2, own.shape[1:])
        place, moves = mean.tensor_split((1,), dim=2)
        vectors = torch.cat([place - ends[0][:, None, None], moves], dim=2)
        told = (number > 0.5) & here[:, None]
        return torch.where(told[..., None, None], vectors, 0).flatten(1, 2)


def _summed(x: Tensor, here: Tensor, batch: SceneBatch, n_types: int) -> tuple[Tensor, Tensor]:
    """Sums (P, 1 + n_types, C) of a row's class and of each type in other classes; their rows.

    Args:
        x: (P, C), zero of rows that do not count.
        here: (P,), one of rows that count.
        batch: the rows.
        n_types: T.
    """
    x, levels = torch.cat([x, here[:, None]], 1), batch.hierarchy.levels
    group, count = batch.scene, batch.n_scenes
    if levels:
        group, count = batch.hierarchy.group, len(levels[0].parent)
    own = sums(x, group, count)[group]
    every, inside = (
        sums(x, owner * n_types + batch.types, number * n_types).unflatten(0, (-1, n_types))[owner]
        for owner, number in ((batch.scene, batch.n_scenes), (group, count))
    )
    found = torch.cat([own[:, None], every - inside], 1)
    return found[..., :-1], found[..., -1]


def _directions(x: Tensor, y: Tensor) -> Moments:
    """Moments of vectors (n, F, D) and (n, s, D), a row for each direction; the last input is 0."""
    x, y = (v.double().movedim(2, 1).flatten(0, 1) for v in (x, y))
    return Moments.of(torch.cat([x, torch.zeros_like(x[:, :1])], 1), y)
