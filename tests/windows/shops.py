"""Sales of a few shops, and a small forecaster of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hierforecast import Columns, Forecaster, HiPerformer

L, H, T = 6, 3, 60
COLUMNS = Columns(group="group")


def sales(seed: int = 0, steps: int = T, scene: bool = False) -> pd.DataFrame:
    """Weekly pattern, two groups of three shops, days without a sale, one shop that opens late."""
    rng, frames = np.random.default_rng(seed), []
    week = np.array([1, 1, 1.2, 1.3, 1.6, 2.5, 0.4])
    for shop in range(6):
        size = 10.0 ** (shop % 3)
        level = np.exp(0.05 * rng.normal(size=steps).cumsum())
        y = size * level * week[np.arange(steps) % 7] * np.exp(0.2 * rng.normal(size=steps))
        y[rng.random(steps) < 0.1] = 0
        days = pd.date_range("2024-01-01", periods=steps)
        frames.append(pd.DataFrame({"unique_id": f"shop {shop}", "ds": days, "y": y.round(2)}))
        frames[-1]["group"] = "ab"[shop // 3]
    frame = pd.concat(frames, ignore_index=True)
    late = (frame.unique_id == "shop 4") & (frame.ds < "2024-02-10")
    return frame[~late].reset_index(drop=True)


def forecaster(columns: Columns = COLUMNS, **options: Any) -> Forecaster:
    """A small one in float64."""
    model = HiPerformer(8, 1, 2, patch=3, **{"head": "lowrank", **options})
    trainer = {"enable_progress_bar": False, "precision": "64-true", "accelerator": "cpu"}
    return Forecaster(
        model, context_length=L, prediction_length=H, columns=columns,
        max_steps=3, batch_size=4, trainer=trainer,
    )  # fmt: skip
