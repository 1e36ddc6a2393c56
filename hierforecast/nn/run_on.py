"""The linear forecast of what moves: who is out of view moves on from where he was last seen."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast._waiting import at_hand
from hierforecast.batch import SceneBatch
from hierforecast.nn.linear import Inputs, LinearForecast, increments
from hierforecast.nn.scaled import Scaled
from hierforecast.nn.unseen import steps_unseen
from hierforecast.task import Task

# Of steps in training so many are no faster than a series out of view may be.
USUAL = 0.999


class RunOn(LinearForecast):
    """A linear forecast that starts where a series was last seen and runs on to the horizon.

    A context that ends in missing steps is shifted to end with the last observed one; forecasts are
    put behind it and forecast from in turn, until they reach the horizon. What is out of view
    has the weights of its group type in view, so that it moves as all do, however few series are
    ever lost. No gradient reaches them: forecasts of forecasts multiply the noise of each step of a
    training, and rough paths cost a smooth distribution its likelihood. It never moves on by
    more in a step than its type does in training, but for one step in a thousand: a track may jump
    as it is lost.

    Args:
        task: shapes of the data.

    Attributes:
        unit: (H, D), of the steps ahead, in typical steps; zero in what was saved by versions in
            which a series out of view was forecast as if it had stood still since.
        fastest: (n_types, D), how far a series out of view may move in a step, in typical steps.
    """

    added: tuple[str, ...] = ("unit", "fastest")

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.unit: Tensor
        self.register_buffer("unit", torch.zeros(self.shape[1:]))
        self.fastest: Tensor
        self.register_buffer("fastest", torch.full((task.n_types, task.n_targets), torch.inf))

    @torch.no_grad()
    def fit_units(self, batch: SceneBatch, unit: Tensor) -> None:
        """See `LinearForecast`."""
        self.unit.copy_(unit)

    def inputs(self, batch: SceneBatch, scaled: Scaled, step: Tensor) -> Inputs:
        """The context until a series was last seen (P, L, D), and for how long it is not (P,)."""
        late = steps_unseen(batch.present)
        late = torch.where((self.unit == 0).any(), 0, late)
        steps = torch.arange(batch.present.shape[1], device=late.device)
        at = (steps - late[:, None])[..., None].expand_as(scaled.relative)
        past = scaled.relative.gather(1, at.clamp(min=0))
        # Before it begins the context goes on as it does on average: standing still would tell.
        pace = -past[:, :1] / (steps[-1] - late).clamp(min=1)[:, None, None]
        past = past + pace * at.clamp(max=0)
        return Inputs(increments(past) / step, late=late)

    def forward(self, inputs: Inputs, codes: Tensor) -> Tensor:
        """See `LinearForecast`."""
        found = super().forward(inputs, codes)
        late = inputs.late
        if late is None:
            return found
        away = late > 0
        if not at_hand(late):
            ran = self._run_on(inputs.same, late, codes, inputs.same.shape[1] - 1)
            return torch.where(away[:, None, None], ran, found)
        if not bool(away.any()):
            return found
        late = late[away]
        ran = self._run_on(inputs.same[away], late, codes[away], int(late.max()))
        return found.index_put((away,), ran.to(found))

    @torch.no_grad()
    def _run_on(self, past: Tensor, late: Tensor, codes: Tensor, longest: int) -> Tensor:
        """Forecast rows, and on from the forecasts, until the horizon of the latest is reached.

        Args:
            past: (P, L, D) increments until a row was last seen.
            late: (P,) steps from then to the cutoff, `longest` at most.
            codes: (P,).

        Returns:
            (P, H, D).
        """
        _, horizon, _ = self.shape
        unit = torch.where(self.unit == 0, 1, self.unit)
        fastest = self.fastest[codes % len(self.fastest)][:, None]
        last = torch.zeros_like(past[:, :1])
        moves, path = past[:, :-1].clamp(-fastest, fastest), []
        for _ in range(1 - (-longest // horizon)):
            found = super().forward(Inputs(torch.cat([moves, 0 * last], dim=1)), codes)
            steps = F.pad(found * unit, (0, 0, 1, 0)).diff(dim=1).clamp(-fastest, fastest)
            path.append(last + steps.cumsum(1))
            last = path[-1][:, -1:]
            moves = torch.cat([moves, steps], dim=1)[:, 1 - past.shape[1] :]
        at = late[:, None] + torch.arange(horizon, device=late.device)
        at = at[..., None].expand(-1, -1, past.shape[2])
        return torch.cat(path, dim=1).gather(1, at) / unit

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
        """See `LinearForecast`; rows out of view get the weights of those in view.

        The errors of rows that are lost on the way belong to some steps only, and paths would
        zig-zag. So where others are half of a type or more, these are learned from first; then from
        all, what is not known of an error being as large as at the nearest step that is.
        """
        n_types = len(self.fastest)
        whole = _alike(present, codes, n_types)
        super().fit(inputs, ahead, whole, codes, scene, penalty)
        lost = (present & ~whole).any(1)
        if bool(lost.any()):
            scale, line = self.error_scale.clone(), super().forward(inputs, codes)
            error = nearest(ahead - line.to(ahead), present)
            known = torch.where(present[..., None], ahead, line.to(ahead) + error)
            ahead_too = torch.where(lost[:, None, None], known, ahead)
            super().fit(inputs, ahead_too, whole | lost[:, None], codes, scene, penalty)
            self.error_scale.copy_(scale)
        steps = inputs.same[:, :-1].abs()
        for code in range(n_types):
            own = steps[codes % n_types == code].flatten(0, 1)
            if len(own):
                usual = math.ceil(USUAL * len(own))
                self.fastest[code] = own.kthvalue(usual, dim=0).values.to(self.fastest)
        for part in (self.weight.weight, self.weight.bias):
            each = part.unflatten(0, self.shape)
            each[n_types:] = each[:n_types]
        self.fit_others(inputs, ahead, present, codes, scene)
        kept = self.error_scale[:n_types].clone()
        self.fit_errors(ahead - self(inputs, codes), present, codes)
        self.error_scale[:n_types] = kept

    def fit_others(
        self, inputs: Inputs, ahead: Tensor, present: Tensor, codes: Tensor, scene: Tensor
    ) -> None:
        """Learn what others say of rows in view; here nothing. The arguments are those of `fit`."""


def _alike(present: Tensor, codes: Tensor, n_types: int) -> Tensor:
    """Cells (P, H) but those of rows in view that are lost on the way, if that leaves half."""
    whole, found = present.all(1), present.clone()
    for code in range(n_types):
        rows = (codes == code) & present.any(1)
        if 2 * (rows & whole).sum() >= rows.sum():
            found[rows & ~whole] = False
    return found


def nearest(values: Tensor, present: Tensor) -> Tensor:
    """Values (P, H, D), each missing one that of the present step before it, else after it."""
    steps = torch.arange(present.shape[1], device=present.device)
    before = torch.where(present, steps, -1).cummax(1).values
    after = torch.where(present, steps, len(steps)).flip(1).cummin(1).values.flip(1)
    at = torch.where(before >= 0, before, after).clamp(max=len(steps) - 1)
    return values.gather(1, at[..., None].expand_as(values))
