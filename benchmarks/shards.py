"""Larger than memory: made rows are cut into shards, learned from and forecast, a process each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.experiment import Options, rows_of
from benchmarks.timing import alone, peak_growth
from hierforecast import Columns, Forecaster, HiPerformer, Shards, shard
from hierforecast.io.parquet import write_parquet

# A scene: series, and steps.
SERIES, STEPS = 10, 100
LENGTHS = {"context_length": 40, "prediction_length": 10}
COLUMNS = Columns(scene="scene")


def make(given: Options) -> dict[str, Any]:
    """Walks of all series, a file for each step: no scene lies in one place."""
    import pyarrow as pa

    folder = given.folder / "made"
    folder.mkdir(exist_ok=True)
    rng, scenes = np.random.default_rng(given.seed), given.rows // (SERIES * STEPS)
    scene = np.repeat(np.arange(scenes, dtype=np.int32), SERIES)
    series = np.tile(np.arange(SERIES, dtype=np.int32), scenes)
    y, pull = np.zeros(len(scene)), rng.uniform(0.5, 0.95, len(scene))
    for step in range(STEPS):
        shared = np.repeat(rng.normal(size=scenes), SERIES)
        y = pull * y + shared + rng.normal(size=len(y))
        columns = {"scene": scene, "unique_id": series, "group": series // 5}
        table = pa.table({**columns, "ds": np.full(len(y), step, dtype=np.int32), "y": y})
        write_parquet(table, folder / f"{step:03d}.parquet")
    return {"disk": size_of(folder)}


def cut(given: Options) -> dict[str, Any]:
    """Cut them between scenes."""
    shard(given.folder / "made", given.folder / "cut", COLUMNS, bar=False)
    return {"disk": size_of(given.folder / "cut")}


def forecaster_of(given: Options) -> Forecaster:
    """A small model."""
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    model = HiPerformer(given.width, 1, 4)
    return Forecaster(model, **LENGTHS, columns=COLUMNS, max_steps=given.steps, trainer=quiet)


def fit(given: Options) -> dict[str, Any]:
    """Learn from the shards."""
    forecaster = forecaster_of(given).fit(given.folder / "cut")
    forecaster.save(given.folder / "model")
    losses = forecaster.history_["loss"]
    tenth = max(1, len(losses) // 10)
    return {"loss": f"{losses[:tenth].mean():.3f} to {losses[-tenth:].mean():.3f}"}


def predict(given: Options) -> dict[str, Any]:
    """Forecast every scene."""
    out = given.folder / "forecasts"
    shutil.rmtree(out, ignore_errors=True)
    forecaster = Forecaster.load(given.folder / "model")
    forecaster.predict(given.folder / "cut", level=[90], out=out)
    return {"disk": size_of(out), "forecasts": f"{Shards(out).total:,}"}


def compare(given: Options) -> dict[str, Any]:
    """The forecasts of one shard, and those of the same rows in memory."""
    forecaster, shards = Forecaster.load(given.folder / "model"), Shards(given.folder / "cut")
    own = forecaster.predict(shards.read([0]).to_pandas(), level=[90])
    written = pd.read_parquet(Shards(given.folder / "forecasts").parts[0].path)
    far = np.abs(own.to_numpy(float) - written.to_numpy(float)).max()
    return {"largest difference": f"{far:.1e}", "forecasts": f"{len(own):,}"}


PHASES: dict[str, Callable[[Options], dict[str, Any]]] = {
    "make": make,
    "shard": cut,
    "fit": fit,
    "predict": predict,
    "one shard in memory": compare,
}


def size_of(folder: Path) -> str:
    """On the disk."""
    return f"{sum(file.stat().st_size for file in folder.rglob('*')) / 1e9:.2f} GB"


def phase(name: str, given: Options) -> dict[str, Any]:
    """A phase in a fresh process: seconds, and memory above what the imports take."""
    from hierforecast.training import loop  # noqa: F401  (Lightning is an import too)

    torch.set_num_threads(1)
    start = monotonic()
    found, grown = peak_growth(lambda: PHASES[name](given))
    size = "-" if grown is None else f"{grown / 1e9:.2f}"
    return {"seconds": f"{monotonic() - start:,.0f}", "GB above the imports": size, **found}


def measure(name: str, given: Options) -> dict[str, Any]:
    return alone(phase, name, given)


EXPERIMENTS = {
    "shards": rows_of(
        "shards",
        "speed",
        "Larger than memory",
        measure,
        f"{{rows:,}} rows: scenes of {SERIES} series and {STEPS} steps, made step by step, a file "
        "each. Fit: {steps} steps, width {width}, depth 1. One thread; a process for each line, "
        "whose peak is counted from what its imports take.",
        table=lambda found: pd.DataFrame({name: row for (name, _), row in found.items()}).T.fillna(
            ""
        ),
        title="Larger than memory: shard, fit, predict",
        arms=tuple(PHASES),
        options={"rows": 100_000_000, "steps": 300, "width": 32},
    )
}
