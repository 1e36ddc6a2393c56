"""Exponential smoothing of single series by statsforecast's AutoETS, kept on disk once computed."""

from __future__ import annotations

import warnings
from pathlib import Path
from statistics import NormalDist

import numpy as np

LEVEL = 90


def smoothed(
    values: np.ndarray, cutoffs: list[int], season: int, horizon: int, refit: bool, kept: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every series after every cutoff.

    The form (error, trend, season) is chosen and fitted for each series, on the steps before the
    first cutoff; at later ones the same model runs on over the new steps, unless it is fitted anew.

    Args:
        values: (n, steps).
        cutoffs: C steps at which horizons start, ascending.
        season, horizon: steps.
        refit: choose and fit again at every cutoff.
        kept: file of an earlier run; read if it is of the same cutoffs, else written.

    Returns:
        Two arrays (C, n, horizon). The deviation is that of the 90 % prediction interval.

    Raises:
        ModuleNotFoundError: without statsforecast, which the extra `peers` brings.
    """
    if kept.exists():
        with np.load(kept) as file:
            if file["cutoffs"].tolist() == list(cutoffs) and file["mean"].shape[1] == len(values):
                return file["mean"], file["spread"]
    from statsforecast.models import AutoETS

    mean = np.empty((len(cutoffs), len(values), horizon))
    spread = np.empty_like(mean)
    z = NormalDist().inv_cdf(0.5 + LEVEL / 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about how it optimises
        for i, series in enumerate(values):
            for c, cutoff in enumerate(cutoffs):
                if refit or c == 0:
                    model = AutoETS(season_length=season).fit(series[:cutoff])
                    law = model.predict(horizon, level=[LEVEL])
                else:
                    law = model.forward(series[:cutoff], horizon, level=[LEVEL])
                mean[c, i] = law["mean"]
                spread[c, i] = (law[f"hi-{LEVEL}"] - law[f"lo-{LEVEL}"]) / (2 * z)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, mean=mean, spread=spread, cutoffs=cutoffs)
    return mean, spread
