"""What is expected of series that are not observed, by what is forecast of their mates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hierforecast.frame import Panel
from hierforecast.frame.vocabulary import Vocabulary
from hierforecast.inference.forecast import Forecast

# So many mates' worth of what all groups of a scene say.
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
        mean, stddev = (x.cpu().numpy() for x in forecast.shown())
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


def _numbers(panel: Panel, rows: np.ndarray, cutoff: int, steps: int) -> np.ndarray:
    """Covariates (n, H, F) as numbers, a category as one of zeros and ones."""
    cells = panel.cell_offset[rows][:, None] + cutoff + np.arange(steps)
    width = panel.static.shape[1]
    static = np.broadcast_to(panel.static[rows][:, None], (*cells.shape, width))
    columns = []
    for role, values in (("static", static), ("known", panel.known[cells])):
        for at, covariate in enumerate(panel.vocabulary.of(role)):
            one = values[..., at]
            if covariate.categories is None:
                columns.append(one)
            else:
                codes = range(1, 1 + len(covariate.categories))
                columns += [(one == code) * 1.0 for code in codes]
    return np.stack(columns, -1) if columns else np.zeros((*cells.shape, 0))
