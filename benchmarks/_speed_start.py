"""What it takes to begin: imports and help in fresh interpreters, and a fit's first step."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from benchmarks.timing import Arm, interleave, peak
from hierforecast import Columns, Forecaster, HiPerformer

BEGINNINGS = {
    "import torch": "import torch",
    "import hierforecast": "import hierforecast",
    "from hierforecast import Forecaster, HiPerformer": (
        "from hierforecast import Forecaster, HiPerformer"
    ),
    "hierforecast --help": "from hierforecast.cli import app; app(['--help'])",
    "hierforecast fit --help": "from hierforecast.cli import app; app(['fit', '--help'])",
}


def run(statements: str) -> None:
    """Run statements in an interpreter of their own."""
    subprocess.run([sys.executable, "-c", statements], check=True, stdout=subprocess.DEVNULL)


def children() -> float:
    """Processor's seconds of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def imports(rounds: int) -> pd.DataFrame:
    """Time of each beginning relative to `import torch`."""
    arms: dict[str, Arm] = {name: partial(run, code) for name, code in BEGINNINGS.items()}
    timings = interleave(arms, rounds, clock=children)
    ratios = {name: f"{timings.ratio(name, 'import torch'):.2f}" for name in arms}
    return pd.DataFrame({"of `import torch`": ratios})


SERIES = 7
LENGTHS = {"context_length": 336, "prediction_length": 96}


class Begun(Callback):
    """Keeps when the first step ended."""

    at: float | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See Lightning."""
        if self.at is None:
            self.at = process_time()


def walks(rows: int) -> pd.DataFrame:
    """Hourly walks with a daily season."""
    hours = rows // SERIES
    moves = np.random.default_rng(0).normal(size=(hours, SERIES))
    season = 3 * np.sin(np.arange(hours)[:, None] * np.pi / 12)
    return pd.DataFrame(
        {
            "unique_id": np.tile(np.arange(SERIES), hours),
            "ds": np.repeat(pd.date_range("2024-01-01", periods=hours, freq="h"), SERIES),
            "y": (0.1 * moves.cumsum(0) + season).ravel(),
        }
    )


def first_step(frame: pd.DataFrame, scale: str) -> float:
    """Processor's seconds from the call of fit to the end of its first step."""
    begun, started = Begun(), process_time()
    Forecaster(
        HiPerformer(scale=scale), columns=Columns(group=None), max_steps=1, **LENGTHS,
        trainer={"callbacks": [begun], "enable_progress_bar": False},
    ).fit(frame)  # fmt: skip
    assert begun.at is not None
    return begun.at - started


def start(rounds: int, rows: int = 50_000) -> pd.DataFrame:
    """Seconds to the first step by scale, and how many products of matrices they equal."""
    frames = {"series": walks(rows)}
    frames["demand"] = frames["series"].assign(y=lambda frame: frame.y.clip(lower=0))
    found: dict[str, list[float]] = {scale: [] for scale in frames}

    def arm(scale: str) -> Arm:
        return lambda: found[scale].append(first_step(frames[scale], scale))

    timings = interleave({**{scale: arm(scale) for scale in frames}, "peak": peak()[0]}, rounds)
    product = timings.median("peak")
    table = {
        f"scale={scale!r}": {
            "seconds": f"{np.median(laps[1:]):.2f}",
            "in products": f"{np.median(laps[1:]) / product:,.0f}",
        }
        for scale, laps in found.items()
    }
    return pd.DataFrame(table).T
