"""Representative futures against modes: centroids of one Gaussian, and a mixture's own modes.

NBA validation games at a small size, as a whole and in two settings: 1.6 s and 4 s ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks._scenes import COLUMNS, games
from benchmarks.experiment import Found, Options, rows_of
from benchmarks.fits import Setting
from benchmarks.nba_modes import modes
from hierforecast import Forecaster, HiPerformer
from hierforecast._random import seeded
from hierforecast.distributions import SceneDistribution
from hierforecast.distributions.futures import representatives
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.metrics import Evaluation, MetricTable
from hierforecast.nn.head import Head
from hierforecast.nn.heads import LowRankHead, MixtureHead

N = 20
METRICS = ("min_ade", "min_fde", "min_jade", "min_jfde")
PAIRS = {"minADE/minFDE": METRICS[:2], "minJADE/minJFDE": METRICS[2:]}
# Context and horizon in steps, steps a second, and seconds ahead.
SETTINGS = {"1.6 s": (40, 10, 6.25), "4 s": (10, 20, 5.0)}
HEADS: dict[str, Callable[[], Head]] = {
    "mixture": lambda: MixtureHead(modes=N),
    "lowrank": lambda: LowRankHead(rank=0, series_rank=8, memory=2),
}


def fitted(ahead: str, head: str, given: Options) -> Forecaster:
    """HiPerformer with a head, fitted once and then loaded."""
    context, horizon, rate = SETTINGS[ahead]
    frames = (lambda: games("train", rate)), (lambda: games("val", rate))
    model = HiPerformer(given.width, 2, dropout=0.0, scale="mirrored", head=HEADS[head]())
    options = {"learning_rate": given.learning_rate, "batch_size": given.batch_size}
    setting = Setting(COLUMNS, context, horizon, *frames)
    return setting.fit(f"{ahead}, {head}", given, model, series_dropout=0.0, **options)


def ways(head: str, n_samples: int, seed: int) -> dict[str, Callable[[Any], Tensor]]:
    """Name -> what makes N futures (N, P, H, D) of a distribution."""
    generator = seeded(seed)

    def draws(distribution: SceneDistribution) -> Tensor:
        return distribution.sample((N,), generator)

    def futures(distribution: SceneDistribution) -> Tensor:
        return representatives(distribution, N, n_samples, generator).centers

    found = {f"{N} draws": draws, f"futures({N})": futures}
    return found | ({"its modes": modes} if head == "mixture" else {})


@torch.no_grad()
def measure(arm: str, given: Options) -> dict[str, dict[str, float]]:
    """Way to make futures -> metric -> value in feet, over windows of validation games."""
    ahead, _, head = arm.partition(", ")
    forecaster = fitted(ahead, head, given)
    rate = SETTINGS[ahead][2]
    forecasts = forecasts_of(forecaster, games("val", rate), Rolling(stride=given.stride))
    makers = ways(head, given.n_samples, given.seed)
    tables = {name: MetricTable(METRICS) for name in makers}
    for forecast in forecasts:
        truth = forecasts.truth(forecast.future)
        about = (forecast.future.present, forecast.batch.scene, forecast.batch.n_scenes)
        for name, make in makers.items():
            samples = make(forecast.distribution())
            tables[name].update(Evaluation(truth, *about, samples=samples))
    return {name: table.values() for name, table in tables.items()}


def table(found: Found) -> pd.DataFrame:
    """A row for each way and head, the horizons beside each other."""
    rows: dict[str, dict[str, str]] = {}
    for (arm, seed), kept in found.items():
        ahead, _, head = arm.partition(", ")
        for way, values in kept.items():
            row = rows.setdefault(f"{head}, {way}" + (f", seed {seed}" if seed else ""), {})
            for label, names in PAIRS.items():
                row[f"{label}, {ahead}"] = "/".join(f"{values[name]:.3f}" for name in names)
    return pd.DataFrame.from_dict(rows, orient="index").fillna("-")


NOTE = (
    f"Feet, all 11 agents, {N} futures each, a window every {{stride}} steps of validation games. "
    "`futures` are centroids of {n_samples} joint draws. lowrank: one Gaussian with the memory of "
    f"two steps; mixture: {N} modes of a Gaussian without. Width {{width}}, {{steps}} steps of "
    "{batch_size} windows. 1.6 s: 40 -> 10 steps of 0.16 s; 4 s: 10 -> 20 steps of 0.2 s."
)
EXPERIMENTS = {
    "futures": rows_of(
        "futures",
        "trajectories",
        "NBA, representative futures against modes",
        measure,
        NOTE,
        table=table,
        arms=[f"{ahead}, {head}" for ahead in SETTINGS for head in HEADS],
        options={
            "steps": 400,
            "width": 64,
            "batch_size": 32,
            "learning_rate": 2e-3,
            "n_samples": 300,
            "stride": 40,  # steps between windows measured
        },
    )
}
