"""One batch of forecasts: a distribution in the units of the batch, and the way back from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import Ceiling, Damped, SceneDistribution
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.totals import summed
from hierforecast.distributions.warped import Warped
from hierforecast.distributions.warps import Warp
from hierforecast.frame.totals import Totals

# Share of a damped distribution, on either side, whose numbers are not believed.
BELIEVED = 1e-4


class Forecast(NamedTuple):
    """The distribution of a batch of windows, what it was made from, and what came after.

    Everything is in the units of the batch (see `WindowDataset`); the methods lead back, by way of
    `warp` if there is one. Then there is also the `truth` in the user's numbers. Each window has
    a generator of its own for its draws.
    """

    raw: SceneDistribution
    batch: SceneBatch
    future: Future
    generators: Sequence[torch.Generator]
    given: Tensor | None = None
    warp: Warp | None = None
    truth: Tensor | None = None

    def condition(self, given: np.ndarray) -> Forecast:
        """The forecast once some numbers of the user (P, H, D) are known; NaN for the others.

        To a distribution that is damped a number far beyond belief would be one of any size: it
        tells of others what the least believable one does.
        """
        value = torch.from_numpy(given).to(self.raw.mean.device)
        raw = self._raw(value)
        if isinstance(self.raw, Warped) and isinstance(self.raw.warp, Ceiling | Damped):
            raw = raw.clamp(*(self.raw.quantile(level) for level in (BELIEVED, 1 - BELIEVED)))
        return self.known(raw, ~value.isnan())._replace(given=value)

    def known(self, value: Tensor, known: Tensor) -> Forecast:
        """The forecast once cells are known: value (P, H, D) in the batch's units, which of it."""
        known = known.expand(value.shape).to(value.device)
        return self._replace(raw=self.raw.condition(value, known)) if known.any() else self

    def outcome(self) -> Tensor:
        """What came after in the units of the batch, (P, H, D)."""
        if self.warp is None:
            return self.future.values.to(self.raw.mean.device)
        assert self.truth is not None
        return self._raw(self.truth.to(self.raw.mean.device))

    def _raw(self, numbers: Tensor) -> Tensor:
        """The user's numbers (P, H, D) in the units of the batch."""
        offset, unit = self.way_back()
        return (self.to_base(numbers) - offset) / unit

    def add(self, totals: Totals) -> Forecast:
        """The forecast of totals; `future.rows` are their numbers."""
        rows = self.future.rows.numpy()
        numbers, place = np.unique(totals.total[rows], return_inverse=True)
        sums = Sums(
            torch.from_numpy(place),
            torch.arange(len(rows)),
            torch.from_numpy(totals.shares(rows)),
            len(numbers),
        ).to(self.raw.mean.device)
        cutoff = np.zeros(len(numbers), dtype=np.int64)
        cutoff[place] = self.future.cutoff.numpy()
        future = Future(
            torch.empty(len(numbers), 0), torch.empty(len(numbers), 0),
            torch.from_numpy(numbers), torch.from_numpy(cutoff),
        )  # fmt: skip
        raw = summed(self.distribution(), sums)
        return self._replace(raw=raw, future=future, given=None, warp=None)

    def draws(self, n: int) -> Tensor:
        """Joint draws of the user's numbers, (n, P, H, D) float64; the next ones at each call."""
        return self.numbers(self.raw.sample((n,), self.generators))

    @property
    def mean(self) -> Tensor:
        """The mean of the user's numbers, (P, H, D) float64."""
        if self.warp is None:
            return self.numbers(self.raw.mean)
        return self._given(self.distribution().mean.detach())

    def numbers(self, values: Tensor) -> Tensor:
        """Values (..., P, H, D) as the user's numbers, float64."""
        offset, unit = self.way_back()
        numbers = offset + unit * values.detach().double()
        if self.warp is not None:
            numbers = self.warp.from_base(numbers)
        return self._given(numbers)

    def _given(self, numbers: Tensor) -> Tensor:
        if self.given is None:
            return numbers
        return torch.where(self.given.isnan(), numbers, self.given)  # the user's, to the bit

    def base_moments(self) -> tuple[Tensor, Tensor]:
        """Means and standard deviations (P, H, D) float64, of numbers before `warp` if any."""
        offset, unit = self.way_back()
        return offset + unit * self.raw.mean.double(), unit * self.raw.stddev.double()

    def to_base(self, numbers: Tensor) -> Tensor:
        """The user's numbers (..., H, D) of any rows as they are before `warp`."""
        return numbers if self.warp is None else self.warp.to_base(numbers)

    def from_base(self, numbers: Tensor) -> Tensor:
        """The inverse of `to_base`."""
        return numbers if self.warp is None else self.warp.from_base(numbers)

    def distribution(self) -> SceneDistribution:
        """The distribution of the user's numbers, float64 if the model names its origin."""
        moved = self._moved(*self.way_back())
        return moved if self.warp is None else Warped(moved, self.warp)

    def _moved(self, offset: Tensor, unit: Tensor) -> SceneDistribution:
        """Offset plus unit times the distribution; a model's own may know no such thing."""
        at_home = np.ndim(self.future.unit) == 0
        return self.raw if at_home else self.raw.affine(offset, unit)

    def way_back(self) -> list[Tensor]:
        """Offset and unit, (P, 1, D) and (D,), on the distribution's device."""
        targets, device = self.raw.event_shape[-1], self.raw.scene.device
        like = torch.zeros(1, 1, targets, dtype=torch.float64, device=device)
        return [like + torch.as_tensor(x).to(like) for x in (self.future.offset, self.future.unit)]

    def log_prob(self, rows: Tensor | None = None) -> Tensor:
        """Log density (B,) of what came after in the user's numbers; of some rows (P,) only."""
        distribution, value, seen, volume = self._outcome()
        if rows is not None:
            seen = seen & rows.to(seen.device)[:, None]
        scenes = volume.new_zeros(self.batch.n_scenes)
        each = torch.where(seen, volume, 0).sum(1)
        return distribution.log_prob(value, seen) - scenes.index_add(0, self.raw.scene, each)

    def conditional_log_prob(self) -> Tensor:
        """Log densities (P, H) of what came after in the user's numbers, each row given all others.

        See `SceneDistribution.conditional_log_prob`.
        """
        distribution, value, seen, volume = self._outcome()
        found = distribution.conditional_log_prob(value, seen)
        return found - torch.where(seen, volume, 0)

    def log_size(self) -> Tensor:
        """Log standard deviations (P, H) of the user's numbers, summed over targets."""
        if self.warp is not None:
            return self.distribution().stddev.double().log().sum(-1)
        return (self.way_back()[1] * self.raw.stddev).log().sum(-1)

    def _outcome(self) -> tuple[SceneDistribution, Tensor, Tensor, Tensor]:
        """What came after: its distribution, values, presence, and log volume (P, H) of its units.

        In the batch's units, but in float64, where a truth far off has a likelihood too.
        """
        future = self.future.to(self.raw.mean.device)
        offset, unit = self.way_back()
        if self.warp is not None:
            assert self.truth is not None
            value = self.truth.to(future.present.device)
            return self.distribution(), value, future.present, torch.zeros_like(value[..., 0])
        volume = unit.log().expand(self.raw.event_shape).sum(-1)
        raw = self._moved(0 * offset, unit / unit)
        return raw, future.values.double(), future.present, volume
