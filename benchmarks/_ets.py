"""Exponential smoothing of single series by statsforecast's AutoETS, kept once computed."""

from __future__ import annotations

import warnings
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from benchmarks._kept import once
from hierforecast.datasets import Demand

LEVEL = 90


def smoothed(
    demand: Demand, cutoffs: list[int], refit: bool, stem: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every series after every cutoff.

    The form (error, trend, season) is chosen and fitted for each series, on the steps before the
    first cutoff; at later ones the same model runs on over the new steps, unless it is fitted anew.

    Args:
        demand: n series.
        cutoffs: C steps at which horizons start, ascending.
        refit: choose and fit again at every cutoff.
        stem: of the file of an earlier run.

    Returns:
        Two arrays (C, n, horizon). The deviation is that of the 90 % prediction interval.

    Raises:
        ModuleNotFoundError: without statsforecast, which the extra `peers` brings.
    """
    shape = len(cutoffs), len(demand.series), demand.horizon
    table = once(stem, lambda: _forecasts(demand.values(), cutoffs, demand, refit))
    return table["mean"].to_numpy().reshape(shape), table["scale"].to_numpy().reshape(shape)


def _forecasts(values: np.ndarray, cutoffs: list[int], demand: Demand, refit: bool) -> pd.DataFrame:
    """A row a cutoff, series and step, in this order: mean and scale."""
    from statsforecast.models import AutoETS

    mean = np.empty((len(cutoffs), len(values), demand.horizon))
    scale = np.empty_like(mean)
    z = NormalDist().inv_cdf(0.5 + LEVEL / 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about how it optimizes
        for i, series in enumerate(values):
            for c, cutoff in enumerate(cutoffs):
                if refit or c == 0:
                    model = AutoETS(season_length=demand.season).fit(series[:cutoff])
                    found = model.predict(demand.horizon, level=[LEVEL])
                else:
                    found = model.forward(series[:cutoff], demand.horizon, level=[LEVEL])
                mean[c, i] = found["mean"]
                scale[c, i] = (found[f"hi-{LEVEL}"] - found[f"lo-{LEVEL}"]) / (2 * z)
    return pd.DataFrame({"mean": mean.ravel(), "scale": scale.ravel()})
