"""The panels of demand at tiny sizes: the windows, the scores, every arm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import nbinom, norm

from benchmarks import _panels, panels
from benchmarks._kept import once
from benchmarks._panels import LEVELS, Found, Windows
from hierforecast import Forecaster, LastValue


def made(steps: int = 60, seed: int = 0) -> pd.DataFrame:
    """Counts of three series with a week."""
    rng, times = np.random.default_rng(seed), pd.date_range("2024-01-01", periods=steps)
    rate = 3 + 2 * np.sin(2 * np.pi * np.arange(steps) / 7)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": times, "y": rng.poisson(rate).astype(float)})
        for name in "abc"
    ]
    return pd.concat(parts, ignore_index=True)


def test_windows_end_with_the_data_and_those_before_with_the_first():
    windows = Windows(made(), horizon=4, season=7, count=3, stride=5)
    assert windows.cutoffs == [46, 51, 56] and windows.steps == 60
    assert windows.train["ds"].max() == pd.Timestamp("2024-01-01") + pd.Timedelta(45, "D")
    assert windows.before().cutoffs == [32, 37, 42]
    assert windows.last().cutoffs == [56]
    assert windows.values().shape == (3, 60)


def test_scores_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    truth, mean, scale = rng.normal(1, 2, 40), rng.normal(1, 1, 40), rng.uniform(0.5, 2, 40)
    quantiles = norm.ppf(LEVELS[:, None], mean, scale)
    scores = Found(truth, mean, quantiles).scores()
    loss = [
        2 * (p * (y - q) if y >= q else (1 - p) * (q - y))
        for y, m, s in zip(truth, mean, scale, strict=True)
        for p, q in ((k / 100, norm.ppf(k / 100, m, s)) for k in range(1, 100))
    ]
    assert scores["CRPS"] == pytest.approx(np.mean(loss), rel=1e-9)
    assert scores["MAE"] == pytest.approx(np.mean(np.abs(truth - mean)))
    low, high = norm.ppf([[0.05], [0.95]], mean, scale)
    assert scores["coverage"] == pytest.approx(np.mean((low <= truth) & (truth <= high)))
    assert scores["below zero"] == pytest.approx(np.mean(low < 0))
    # The closed form of the normal's CRPS (Gneiting & Raftery 2007, eq. 21).
    z = (truth - mean) / scale
    exact = scale * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - np.pi**-0.5)
    assert scores["CRPS"] == pytest.approx(exact.mean(), rel=0.02)


def test_probabilities_of_numbers_sold():
    rng = np.random.default_rng(0)
    truth, mean, scale = rng.poisson(2, 60) * 1.0, rng.normal(2, 1, 60), rng.uniform(1, 2, 60)
    found = Found(truth, mean, norm.ppf(LEVELS[:, None], mean, scale))
    above, under = norm.cdf(truth + 0.5, mean, scale), norm.cdf(truth - 0.5, mean, scale)
    exact = -np.log(above - np.where(truth > 0, under, 0))
    assert found.nats() == pytest.approx(exact.mean(), rel=1e-3)
    assert found.nats() < -np.log(above - under).mean(), "what lies below zero counts as zero"
    # Of counts, whose quantiles are steps, it is their probability.
    cells = nbinom(1.5, np.full(60, 0.4))
    found = Found(truth, cells.mean(), cells.ppf(LEVELS[:, None]))
    assert found.nats() == pytest.approx(-cells.logpmf(truth).mean(), rel=0.02)
    far = Found(truth + 1e4, mean, norm.ppf(LEVELS[:, None], mean, scale))
    assert far.nats() == pytest.approx(-np.log(_panels.SMALLEST))


def test_forecasts_of_a_frame_and_of_normal_cells_are_of_the_same_cells():
    windows = Windows(made(), horizon=4, season=7, count=3, stride=5)
    plan = Forecaster(LastValue("series"), context_length=10, prediction_length=4,
                      columns=_panels.COLUMNS, trainer={"accelerator": "cpu"})  # fmt: skip
    one = Found.of(plan.fit(windows.train), windows)
    shape = (3, 3, 4)
    values = windows.values()
    last = np.stack([np.repeat(values[:, [c - 1]], 4, 1) for c in windows.cutoffs])
    other = Found.normal(last, np.ones(shape), windows)
    assert one.scores()["MAE"] == pytest.approx(other.scores()["MAE"])
    assert sorted(one.truth) == sorted(other.truth) and len(one.truth) == 36
    assert (np.diff(one.quantiles, axis=0) >= 0).all()


def test_a_context_is_chosen_before_the_test_and_kept(tmp_path, monkeypatch):
    windows = Windows(made(120), horizon=4, season=7, count=3, stride=5)
    monkeypatch.setattr(panels, "windows_of", lambda name: windows)
    monkeypatch.setitem(panels.CONTEXTS, "M5", (2, 14))
    given = panels.EXPERIMENTS["panels"].given(tmp_path, steps=1)
    found = panels.context_of("M5", given)
    scores = {c: panels.fitted(panels.ridge(), c, windows.before(), given, "").scores()["CRPS"]
              for c in (2, 14)}  # fmt: skip
    assert found == min(scores, key=scores.get) == 14
    monkeypatch.setattr(panels, "choose", None)  # kept: not chosen again
    assert panels.context_of("M5", given) == found


def test_ets_is_left_out_where_its_library_is_missing(tmp_path, monkeypatch, capsys):
    windows = Windows(made(), horizon=4, season=7, count=2, stride=5)
    monkeypatch.setattr(panels, "windows_of", lambda name: windows)
    given = panels.EXPERIMENTS["panels"].given(tmp_path, steps=1)

    def gone(*given):
        raise ModuleNotFoundError("No module named 'statsforecast'")

    monkeypatch.setattr(panels, "smoothed", gone)
    assert panels.measure("M5, AutoETS", given) is None
    assert "install the extra 'peers'" in capsys.readouterr().out
    cells = pd.DataFrame({"mean": np.full(24, 3.0), "scale": np.full(24, 2.0)})
    once(tmp_path / "fits" / "M5-2-AutoETS", lambda: cells)
    monkeypatch.undo()
    monkeypatch.setattr(panels, "windows_of", lambda name: windows)
    kept = panels.measure("M5, AutoETS", given)
    assert kept["below zero"].item() == 1 and 1 < kept["nats"].item() < 3
