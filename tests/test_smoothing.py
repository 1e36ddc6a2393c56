"""Smoothing against a plain second implementation, and what it must not see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hierforecast import smoothing
from hierforecast.smoothing import Grid, Smoothed, Usual, n_settings

H, USUAL = 3, Usual(0.7, np.array([1.0, 1.3, 1.5]))


def usual(seasons: tuple[int, ...]) -> Usual:
    """What other series do, settings unlike."""
    scores = np.random.default_rng(1).normal(size=n_settings(seasons))
    return USUAL._replace(scores=scores)


def series(steps: int = 40, seed: int = 0, missing: float = 0.2) -> np.ndarray:
    """Walks with a season of 4, late starts, gaps."""
    rng = np.random.default_rng(seed)
    wave = 3 * np.sin(np.arange(steps) * np.pi / 2)
    values = rng.normal(size=(5, steps)).cumsum(1) + wave * rng.normal(size=(5, 1))
    values[rng.random(values.shape) < missing] = np.nan
    values[1, :9] = np.nan
    values[2, 30:] = np.nan
    return values


def by_their_own(values: np.ndarray, seasons: tuple[int, ...], horizon: int = H) -> Smoothed:
    """Smoothed by what the series themselves usually do."""
    grid = Grid(values, seasons, horizon)
    return grid.smooth(grid.usual())


def plain_setting(z: list[float], season: int, setting: tuple[float, float, float]) -> list:
    """Forecasts after each step, one setting and one series: Holt and Winters, word for word."""
    alpha, beta, gamma = setting
    level = trend = 0.0
    cycle = [0.0] * season
    count, born, ready, out = 0, None, False, []
    for t, value in enumerate(z):
        seen = not math.isnan(value)
        born = t if born is None and seen else born
        full = season > 1 and born is not None and t - born + 1 >= season
        young = season > 1 and not full
        carried = level + 0.9 * trend
        error = value - carried - cycle[t % season] if seen else 0.0
        count += seen
        gain = max(0.0 if young else alpha, 1 / max(count, 1))
        level = carried + gain * error
        trend = 0.9 * trend + (alpha * beta * error if not young and count > 2 else 0.0)
        cycle[t % season] += 0.0 if young else gamma * (1 - gain) * error
        if full and not ready:
            first = z[t - season + 1 : t + 1]
            known = [x for x in first if not math.isnan(x)]
            for back, x in enumerate(first[::-1]):
                away = 0.0 if math.isnan(x) else x - sum(known) / len(known)
                cycle[(t - back) % season] = away
        ready = full
        ahead = []
        for h in range(1, H + 1):
            seasonal = cycle[(t + h) % season] if ready else 0.0
            ahead.append(level + sum(0.9**k for k in range(1, h + 1)) * trend + seasonal)
        out.append(ahead)
    return out


def plain(z: list[float], seasons: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Loc and unit (T, H) of one series."""
    settings = [
        (season, (a, b, g))
        for season in (1, *seasons)
        for a in smoothing.LEVEL
        for b in smoothing.TREND
        for g in ((0.0,) if season == 1 else smoothing.SEASON + (1.0,) * (season == max(seasons)))
    ]
    every = [plain_setting(z, season, setting) for season, setting in settings]
    others = usual(seasons).scores
    decay = math.exp(-1 / max(smoothing.STEPS, smoothing.SEASONS * max(seasons, default=1)))
    judged = sorted({round(x) for x in np.linspace(1, H, smoothing.LOOKED_AT)})
    seen = [not math.isnan(x) for x in z]

    def errors(forecasts: list, h: int, now: int) -> list[tuple[float, float]]:
        """Weights and squared errors of what was forecast h steps ahead and is known now."""
        return [
            (decay ** (now - t - h), (z[t + h] - forecasts[t][h - 1]) ** 2)
            for t in range(now - h + 1)
            if seen[t + h] and sum(seen[: t + 1]) > 1
        ]

    loc = np.zeros((len(z), H))
    for now in range(len(z)):
        scores = []
        for forecasts in every:
            found = [pair for h in judged for pair in errors(forecasts, h, now)]
            weight = sum(w for w, _ in found)
            mean = sum(w * e for w, e in found) / max(weight, 1)
            score = weight / len(judged) * math.log(mean + 1e-12)
            scores.append(-0.5 * (score + smoothing.ALIKE * others[len(scores)]))
        share = np.exp(np.array(scores) - max(scores))
        loc[now] = share @ np.array([f[now] for f in every]) / share.sum()
    unit = np.zeros_like(loc)
    for now in range(len(z)):
        steps = [z[t] - z[t - 1] for t in range(1, now + 1) if seen[t] and seen[t - 1]]
        size = (sum(x * x for x in steps) + USUAL.step**2) / (len(steps) + 1)
        last = max((t for t in range(now + 1) if seen[t]), default=now)
        for h in range(1, H + 1):
            far = min(h + now - last, H)
            found = errors(loc.tolist(), far, now)
            prior = smoothing.PRIOR * size * USUAL.growth[far - 1] ** 2
            total = sum(w * e for w, e in found) + prior
            unit[now, h - 1] = math.sqrt(total / (sum(w for w, _ in found) + smoothing.PRIOR))
    return loc, unit


@pytest.mark.parametrize("seasons", [(), (2,), (4,), (4, 9)])
def test_a_plain_second_implementation_agrees(seasons):
    values = series(26)
    found = Grid(values, seasons, H).smooth(usual(seasons))
    for row, z in enumerate(values):
        loc, unit = plain(z.tolist(), seasons)
        np.testing.assert_allclose(found.loc[row], loc, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.unit[row], unit, rtol=1e-9)


def test_nothing_later_is_seen():
    values, later = series(), series()
    later[:, 25:] = 1e3
    one, two = (Grid(x, (4,), H).smooth(USUAL) for x in (values, later))
    for before, after in zip(one, two, strict=True):
        np.testing.assert_array_equal(before[:, :25], after[:, :25])
    assert np.abs(one.loc[:, 25:] - two.loc[:, 25:]).max() > 1


def test_no_series_sees_another():
    values, order = series(), np.array([3, 0, 4])
    whole, some = (Grid(x, (4,), H).smooth(USUAL) for x in (values, values[order]))
    for all_of_them, alone in zip(whole, some, strict=True):
        np.testing.assert_array_equal(all_of_them[order], alone)


def test_units_and_levels_carry_over():
    values, grown = series(), Usual(5 * USUAL.step, USUAL.growth)
    one, two = (Grid(x, (4,), H).smooth(y) for x, y in ((values, USUAL), (7 + 5 * values, grown)))
    born = (~np.isnan(values)).cumsum(1) > 0
    np.testing.assert_allclose((7 + 5 * one.loc)[born], two.loc[born], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(5 * one.unit[born], two.unit[born], rtol=1e-6)


def test_steps_before_the_first_value_are_nothing():
    values = series()
    padded = np.concatenate([np.full((5, 8), np.nan), values], axis=1)
    one, two = (Grid(x, (4,), H).smooth(USUAL) for x in (values, padded))
    np.testing.assert_allclose(one.loc, two.loc[:, 8:], atol=1e-12)
    np.testing.assert_allclose(one.unit, two.unit[:, 8:], rtol=1e-12)


def test_a_perfect_season_is_found():
    values = np.tile([1.0, 5.0, 2.0, 9.0], (2, 12))
    found = by_their_own(values, (4,))
    np.testing.assert_allclose(found.loc[:, -1], [[1, 5, 2]] * 2, atol=0.01)
    assert (found.unit[:, -1] < 0.5 * found.unit[:, 3]).all()
    without = by_their_own(values, ())
    assert np.abs(without.loc[:, -1] - [1, 5, 2]).max() > 2


def test_a_walk_stays_and_noise_has_a_mean():
    noise = np.random.default_rng(1).normal(size=(20, 300))
    walk = noise.cumsum(1)
    after = Grid(walk, (), H).smooth(USUAL).loc[:, -1, 0]
    assert np.abs(after - walk[:, -1]).mean() < 0.2
    mean = Grid(noise, (), H).smooth(USUAL).loc[:, -1, 0]
    assert np.abs(mean).mean() < 0.35 * np.abs(noise[:, -1]).mean()


def test_a_young_series_is_smoothed_as_others_are():
    noise = np.random.default_rng(3).normal(size=(20, 200))
    walk, young = noise.cumsum(1), noise[:, :6].cumsum(1)
    one, two = (
        Grid(young, (), H).smooth(Grid(x, (), H).usual()).loc[:, -1, 0] for x in (walk, noise)
    )
    far = np.abs(one - young[:, -1]).mean(), np.abs(two - young[:, -1]).mean()
    assert far[0] < 0.3 * far[1]
    assert np.abs(two - young.mean(1)).mean() < 0.3 * far[1]


def test_units_grow_with_the_horizon_and_while_nothing_is_seen():
    walk = np.random.default_rng(2).normal(size=(30, 200)).cumsum(1)
    unit = by_their_own(walk, ()).unit[:, -1].mean(0)
    np.testing.assert_allclose(unit, np.sqrt([1, 2, 3]), rtol=0.15)
    gone = walk.copy()
    gone[:, -1] = np.nan
    late = Grid(gone, (), H).smooth(Grid(walk, (), H).usual()).unit[:, -1].mean(0)
    np.testing.assert_allclose(late[:2], unit[1:], rtol=0.05)


@pytest.mark.parametrize("value", [0.0, 3e8])
def test_what_never_moves_has_a_unit(value):
    values = np.full((2, 12), value)
    found = by_their_own(values, (4,))
    np.testing.assert_allclose(found.loc, value, rtol=1e-12)
    assert np.isfinite(found.unit).all() and (found.unit > 0).all()


def test_short_and_empty_histories_are_finite():
    values = np.full((3, 2), np.nan)
    values[1:, 1] = 4.0
    found = by_their_own(values, (7,), 5)
    assert np.isfinite(found.loc).all() and (found.unit > 0).all()
    np.testing.assert_allclose(found.loc[1:, -1], 4.0)
    assert np.isnan(found.naive).all()
