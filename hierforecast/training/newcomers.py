"""How newcomers differ from their mates, learned from windows in which series are hidden."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace

import numpy as np
import torch

from hierforecast.frame import Panel
from hierforecast.inference import Forecasts
from hierforecast.inference.newcomers import TINY, Expected, Newcomers

# Mean share of a window's series that are hidden to learn from; few windows are looked at so often
# that about so many series are, but not more often than that.
HIDDEN, ENOUGH, OFTEN = 0.2, 300, 8
# Pull of the effects of covariates towards none, in series; so many newcomers of a type have half
# the say in how far those of the type stray, all types together the other half.
PULL, PRIOR = 3.0, 20.0
# The interval that is to cover its share, and of a normal number its end.
LEVEL, END = 0.9, 1.6448536269514722


class _HideSome:
    """Hides whole series of a window at random, one at least and never all; see `Hide`."""

    def __init__(self, seed: int) -> None:
        self.draws = np.random.default_rng(seed)

    def __call__(
        self, present: np.ndarray, window: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        draw = np.where(present.any(1), self.draws.random(len(window)), np.nan)
        gone = draw < HIDDEN
        for number in np.unique(window):
            own = np.flatnonzero((window == number) & ~np.isnan(draw))
            if len(own):
                gone[own[draw[own].argmin()]], gone[own[draw[own].argmax()]] = True, False
        return present & ~gone[:, None]


def learn_newcomers(forecasts: Forecasts, seed: int) -> Newcomers | None:
    """Learn from held-out windows, in each of which some series are hidden.

    None where no window has two series.

    Args:
        forecasts: of held-out windows, see `affordable`.
        seed: of what is hidden.

    Raises:
        NotImplementedError: for a family without standard deviations.
    """
    few, panel = copy(forecasts.windows), forecasts.windows.panel
    few.hide = _HideSome(seed)
    rounds = np.clip(ENOUGH / max(1.0, HIDDEN * few.sizes.sum()), 1, OFTEN)
    few.cutoffs = np.tile(few.cutoffs, (round(rounds), 1))
    parts = list(_met(replace(forecasts, windows=few), panel))
    if not parts:
        return None
    error, unit, apart, types, scene = (np.concatenate(x) for x in zip(*parts, strict=True))
    if not np.isfinite(error).any():
        return None
    half = np.unique(scene, return_inverse=True)[1] % 2 == 0
    if half.all():  # of one scene: early windows and late ones
        half = np.arange(len(scene)) < len(scene) / 2
    # In one unit for all, or in one of the scene: in which errors are more alike.
    usual = np.maximum(unit.mean(0), TINY)
    found = [_left(error / each, apart, half) for each in (usual, unit[:, None])]
    costs = [
        _log_size(left) + np.log(each).mean()
        for left, each in zip(found, (usual, unit), strict=True)
    ]
    one = costs[0] <= costs[1]
    effect = _effects(apart, error / (usual if one else unit[:, None]))
    root = _roots(found[0 if one else 1], types, max(len(panel.vocabulary.types), 1))
    return Newcomers(*map(torch.from_numpy, (effect, root, usual if one else 0 * usual)))


def _met(forecasts: Forecasts, panel: Panel) -> Iterator[tuple[np.ndarray, ...]]:
    """Of hidden series: errors (n, H, D), NaN where missing, units, covariates, types, scenes."""
    for forecast in forecasts:
        expected = Expected.of(forecast, panel)
        steps = expected.cutoff[:, None] + np.arange(expected.center.shape[1])
        cells = panel.cell_offset[expected.rows][:, None] + steps
        error = forecast.to_base(torch.from_numpy(panel.values[cells])).numpy() - expected.center
        error[~panel.present[cells]] = np.nan
        scene = panel.row_scene[expected.rows]
        yield error, expected.unit, expected.apart, expected.types, scene


def _left(error: np.ndarray, apart: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Errors (n, H, D) less what covariates explain of them, learned from the other half."""
    left = np.empty_like(error)
    for one in (half, ~half):
        left[one] = error[one] - apart[one] @ _effects(apart[~one], error[~one])
    return left


def _log_size(left: np.ndarray) -> float:
    """Log root mean square of errors, a mean over targets."""
    square = np.nanmean(np.square(left), axis=(0, 1))
    return float(0.5 * np.log(np.maximum(square, TINY)).mean())


def _effects(apart: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Ridge regression (F, D) of errors (n, H, D) on covariates (n, H, F), without intercept."""
    seen = ~np.isnan(error).any(-1)
    x, y = apart[seen], error[seen]
    size = np.sqrt(np.square(x).mean(0)) if len(x) else np.ones(x.shape[1])
    used = size > TINY
    effect = np.zeros((x.shape[1], y.shape[1]))
    if used.any():
        x = x[:, used] / size[used]
        pull = PULL * error.shape[1] * np.eye(used.sum())
        effect[used] = np.linalg.solve(x.T @ x + pull, x.T @ y) / size[used, None]
    return effect


def _roots(left: np.ndarray, types: np.ndarray, count: int) -> np.ndarray:
    """(T, H * D, H * D), so wide that intervals cover their share of errors (n, H, D)."""
    every, flat = np.ones(len(types), dtype=bool), left.reshape(len(left), -1)
    shared = _covariance(flat)
    roots = []
    for code in range(count):
        own = types == code
        share = own.sum() / (own.sum() + PRIOR)
        mixed = share * (_covariance(flat[own]) if own.any() else shared) + (1 - share) * shared
        values, vectors = np.linalg.eigh(mixed)
        root = vectors * np.sqrt(np.clip(values, 0, None))
        size = np.sqrt(np.maximum(np.diag(mixed), 0))
        norm = np.linalg.norm(root, axis=1)
        root *= np.divide(size, norm, out=np.zeros_like(norm), where=norm > TINY)[:, None]
        sizes = np.abs(flat[own if own.sum() > PRIOR else every]) / np.maximum(size, TINY)
        roots.append(root * np.nanquantile(sizes, LEVEL) / END)
    return np.stack(roots)


def _covariance(flat: np.ndarray) -> np.ndarray:
    """Second moments (m, m) of numbers (n, m) about zero, NaN left out pair by pair."""
    seen = ~np.isnan(flat)
    value = np.where(seen, flat, 0.0)
    return (value.T @ value) / np.maximum(seen.T.astype(float) @ seen, 1.0)
