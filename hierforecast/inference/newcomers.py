"""Newcomers: series that are announced but were never observed, from their group and covariates.

Nothing of a newcomer reaches the network, so nothing changes for the others. What is expected of it
is what is forecast of its mates, the observed series of its group, moved by how its covariates
differ from theirs; how far it strays from that was measured on held-out windows in which observed
series were hidden and then treated as newcomers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierforecast.frame import Panel
from hierforecast.frame.vocabulary import Vocabulary
from hierforecast.inference.forecast import Forecast

# Quantiles over which a mean is taken where a model sees numbers through a `Warp`.
POINTS = 64

# All groups of a scene count as so many mates in how far mates lie apart.
GROUPS = 4.0
TINY = 1e-12


class Expected(NamedTuple):
    """What is known of the newcomers (n,) of a batch.

    Attributes:
        rows, cutoff, types: (n,) row of the panel, step at which the horizon begins, group type.
        window: (n,) number in the batch.
        center: (n, H, D) what is forecast of their mates, as the model sees numbers.
        unit: (n, D) how far mates lie from that.
        apart: (n, H, F) covariates less those of the mates.
    """

    rows: np.ndarray
    cutoff: np.ndarray
    types: np.ndarray
    window: np.ndarray
    center: np.ndarray
    unit: np.ndarray
    apart: np.ndarray

    @classmethod
    def of(cls, forecast: Forecast, panel: Panel) -> Expected:
        """Of all rows of a batch's scenes that are not observed in its contexts."""
        mean, stddev = (x.cpu().numpy() for x in forecast.base_moments())
        seen, start = forecast.future.rows.numpy(), forecast.future.cutoff.numpy()
        window = forecast.raw.scene.cpu().numpy()
        parts = []
        for number in np.unique(window).tolist():
            own = np.flatnonzero(window == number)
            scene = panel.row_scene[seen[own[0]]]
            every = np.arange(*panel.row_offset[[scene, scene + 1]])
            rows = np.setdiff1d(every, seen[own])
            if not len(rows):
                continue
            mates = _mates(panel, rows, seen[own])
            share = mates / mates.sum(1, keepdims=True)
            center = np.einsum("nm,mhd->nhd", share, mean[own])
            unit = _unit(mean[own], stddev[own], mates, panel.groups[seen[own], -1])
            cutoff = int(start[own[0]])
            apart = _apart(panel, rows, seen[own], share, cutoff, mean.shape[1])
            full = np.full(len(rows), cutoff), panel.types[rows], np.full(len(rows), number)
            parts.append(cls(rows, *full, center, np.maximum(unit, TINY), apart))
        if not parts:
            none, shape = np.zeros(0, dtype=np.int64), mean.shape[1:]
            wide = np.zeros((0, shape[0], n_features(panel.vocabulary)))
            return cls(none, none, none, none, np.zeros((0, *shape)), np.zeros((0, shape[1])), wide)
        return cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))


class Answer(NamedTuple):
    """Numbers (k, n, H, D) of the newcomers of a batch, in the user's units."""

    expected: Expected
    values: np.ndarray

    def table(
        self, names: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Rows, cutoffs, and cells by name, one for each of the numbers; or all as draws."""
        cells = {"mean": self.values}
        if names is not None:
            cells = dict(zip(names, self.values, strict=True))
        return self.expected.rows, self.expected.cutoff, cells


@dataclass(frozen=True, eq=False)
class Newcomers:
    """How newcomers differ from their mates.

    Attributes:
        effect: (F, D) float64, of a covariate's difference from the mates', in units.
        root: (T, H * D, H * D) float64, a root of the covariance of what is left of their paths, in
            units.
        usual: (D,) float64, the unit; 0 where it is how far mates lie from each other.
    """

    effect: Tensor
    root: Tensor
    usual: Tensor

    @classmethod
    def check(
        cls, parts: Sequence[Tensor], vocabulary: Vocabulary, steps: int, targets: int
    ) -> Newcomers:
        """Those that were saved.

        Raises:
            ValueError: if they cannot be such.
        """
        cells = steps * targets
        types, features = max(len(vocabulary.types), 1), n_features(vocabulary)
        shapes = (features, targets), (types, cells, cells), (targets,)
        for found, shape in zip(parts, shapes, strict=True):
            if found.shape != shape or found.dtype != torch.float64:
                raise ValueError(f"shape {tuple(found.shape)} {found.dtype} for {shape}")
            if not bool(found.isfinite().all()):
                raise ValueError("numbers that are not finite")
        if bool((parts[2] < 0).any()):
            raise ValueError("units below zero")
        return cls(*parts)

    def unit(self, expected: Expected) -> np.ndarray:
        """(n, D)."""
        usual = self.usual.numpy()
        return np.where(usual > 0, usual, expected.unit)

    def middle(self, expected: Expected) -> np.ndarray:
        """What is expected (n, H, D), as the model sees numbers."""
        moved = expected.apart @ self.effect.numpy()
        return expected.center + self.unit(expected)[:, None] * moved

    def spread(self, expected: Expected) -> np.ndarray:
        """Standard deviations (n, H, D) of the same."""
        each = self.root.square().sum(-1).sqrt().numpy()[expected.types]
        return self.unit(expected)[:, None] * each.reshape(expected.center.shape)

    def quantiles(self, forecast: Forecast, panel: Panel, shares: Sequence[float]) -> Answer:
        """Means, then quantiles, of the newcomers' numbers."""
        expected = Expected.of(forecast, panel)
        middle, spread = self.middle(expected), self.spread(expected)
        normal = torch.distributions.Normal(0.0, 1.0)

        def at(share: float) -> Tensor:
            z = float(normal.icdf(torch.tensor(share, dtype=torch.float64)))
            # A quantile at 0 or 1 is infinite, as that of any normal number.
            return forecast.from_base(
                torch.from_numpy(np.where(spread > 0, middle + spread * z, middle))
            )

        grid = [at((i + 0.5) / POINTS) for i in range(POINTS)] if forecast.warp else [at(0.5)]
        values = [torch.stack(grid).mean(0), *map(at, shares)]
        return Answer(expected, np.stack([each.numpy() for each in values]))

    def draws(self, forecast: Forecast, panel: Panel, n: int) -> Answer:
        """Draws (n, ...) of whole paths, each newcomer by itself."""
        expected = Expected.of(forecast, panel)
        middle = self.middle(expected)
        paths = np.zeros((n, *middle.shape))
        for window in np.unique(expected.window).tolist():
            own = np.flatnonzero(expected.window == window)
            generator = forecast.generators[window]
            size = n, len(own), self.root.shape[1]
            white = torch.randn(size, generator=generator, dtype=torch.float64)
            root = self.root[torch.from_numpy(expected.types[own])]
            paths[:, own] = torch.einsum("rij,nrj->nri", root, white).reshape(paths[:, own].shape)
        found = torch.from_numpy(middle + self.unit(expected)[:, None] * paths)
        return Answer(expected, forecast.from_base(found).numpy())


def _mates(panel: Panel, rows: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(n, m) whether a row that is seen is a mate: of the finest group that has one, the type."""
    groups = [panel.groups[:, level] for level in reversed(range(panel.groups.shape[1]))]
    alike = [(each[rows][:, None] == each[seen]) for each in (*groups, panel.types)]
    alike.append(np.ones((len(rows), len(seen)), dtype=bool))
    found = np.zeros_like(alike[0])
    for each in alike:
        found |= each & ~found.any(1, keepdims=True)
    return found


def _unit(mean: np.ndarray, stddev: np.ndarray, mates: np.ndarray, group: np.ndarray) -> np.ndarray:
    """How far a series lies from the mean of its mates, (n, D), as mates lie from each other.

    Few mates say little of that, so all groups of the scene together count as `GROUPS` more.

    Args:
        mean, stddev: (m, H, D), forecasts of the series that are seen.
        mates: (n, m) bool.
        group: (m,) their finest group.
    """

    def squares(share: np.ndarray) -> np.ndarray:
        """Sums over rows (m) of (k, m) mean squares about the means of theirs, (k, D)."""
        center = np.einsum("km,mhd->khd", share / share.sum(1, keepdims=True), mean)
        away = np.square(mean - center[:, None]) + np.square(stddev)
        return np.einsum("km,kmhd->kd", share, away) / mean.shape[1]

    groups = group == np.unique(group)[:, None]
    if len(groups) == len(group):  # nobody has a mate
        groups = np.ones((1, len(group)), dtype=bool)
    free = max(len(group) - len(groups), 1)
    shared = squares(groups * 1.0).sum(0) / free
    count = mates.sum(1)[:, None]
    own = squares(mates * 1.0)
    return np.sqrt((own + GROUPS * shared) / (count - 1 + GROUPS) * (1 + 1 / count))


def n_features(vocabulary: Vocabulary) -> int:
    """F: numbers, and one for each category."""
    each = (*vocabulary.of("static"), *vocabulary.of("known"))
    return sum(1 if c.categories is None else len(c.categories) for c in each)


def _apart(
    panel: Panel, rows: np.ndarray, seen: np.ndarray, share: np.ndarray, cutoff: int, steps: int
) -> np.ndarray:
    """Covariates (n, H, F) less the mean over mates (n, m); 0 where they are missing."""

    def numbers(which: np.ndarray) -> np.ndarray:
        cells = panel.cell_offset[which][:, None] + cutoff + np.arange(steps)
        known = panel.known[cells]
        static = np.broadcast_to(
            panel.static[which][:, None], (*cells.shape, panel.static.shape[1])
        )
        columns = []
        for role, values in (("static", static), ("known", known)):
            for at, covariate in enumerate(panel.vocabulary.of(role)):
                one = values[..., at]
                if covariate.categories is None:
                    columns.append(np.where(np.isinf(one), np.nan, one))
                else:
                    columns += [
                        (one == 1 + code) * 1.0 for code in range(len(covariate.categories))
                    ]
        return np.stack(columns, -1) if columns else np.zeros((*cells.shape, 0))

    own, others = numbers(rows), numbers(seen)
    there = ~np.isnan(others)
    weight = np.einsum("nm,mhf->nhf", share, there * 1.0)
    total = np.einsum("nm,mhf->nhf", share, np.where(there, others, 0.0))
    mean = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)
    return np.nan_to_num(own - mean)
