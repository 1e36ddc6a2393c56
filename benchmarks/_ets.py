"""Exponential smoothing of single series by statsforecast, kept once computed: AutoETS, MSTL."""

from __future__ import annotations

import warnings
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._kept import once
from benchmarks._panels import Windows
from hierforecast.datasets import Demand

LEVEL = 90


def smoothed(
    demand: Demand | Windows,
    cutoffs: list[int],
    refit: bool,
    stem: Path,
    seasons: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every series after every cutoff.

    The form (error, trend, season) is chosen and fitted for each series, on the steps before the
    first cutoff; at later ones the same model runs on over the new steps, unless it is fitted anew.

    Args:
        demand: n series.
        cutoffs: C steps at which horizons start, ascending.
        refit: choose and fit again at every cutoff.
        stem: of the file of an earlier run.
        seasons: of several lengths, which MSTL takes away before, learned from the last twelve of
            the longest; empty: AutoETS, of the season of the series.

    Returns:
        Two arrays (C, n, horizon). The deviation is that of the 90 % prediction interval.

    Raises:
        ModuleNotFoundError: without statsforecast, which the extra `peers` brings.
    """
    shape = len(cutoffs), len(demand.series), demand.horizon
    table = once(stem, lambda: _forecasts(demand, cutoffs, refit, seasons))
    return table["mean"].to_numpy().reshape(shape), table["scale"].to_numpy().reshape(shape)


def _model(season: int, seasons: tuple[int, ...]) -> Any:
    """A fresh model of one series."""
    from statsforecast.models import MSTL, AutoETS

    return MSTL(season_length=list(seasons)) if seasons else AutoETS(season_length=season)


def _forecasts(
    demand: Demand | Windows, cutoffs: list[int], refit: bool, seasons: tuple[int, ...]
) -> pd.DataFrame:
    """A row a cutoff, series and step, in this order: mean and scale."""
    values, most = demand.values(), 12 * max(seasons, default=0)
    mean = np.empty((len(cutoffs), len(values), demand.horizon))
    scale = np.empty_like(mean)
    z = NormalDist().inv_cdf(0.5 + LEVEL / 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about how it optimizes
        for i, series in enumerate(values):
            for c, cutoff in enumerate(cutoffs):
                if refit or c == 0:
                    model = _model(demand.season, seasons).fit(series[:cutoff][-most:])
                    found = model.predict(demand.horizon, level=[LEVEL])
                else:
                    found = model.forward(series[:cutoff], demand.horizon, level=[LEVEL])
                mean[c, i] = found["mean"]
                scale[c, i] = (found[f"hi-{LEVEL}"] - found[f"lo-{LEVEL}"]) / (2 * z)
    return pd.DataFrame({"mean": mean.ravel(), "scale": scale.ravel()})
