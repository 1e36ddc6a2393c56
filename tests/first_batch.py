"""The first step of a training of every head and scale, for tests of what a step does."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast._random import seeded
from hierforecast.datasets import simulate_basketball
from hierforecast.nn.heads import HEADS
from hierforecast.training import fitting
from hierforecast.windows import Window
from tests.helpers import QUIET

COURT = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
SHOPS = Columns(group=["city", "shop"], crossed=["kind"], past_covariates=["price"])


def basketball() -> pd.DataFrame:
    return simulate_basketball(n_scenes=4, n_steps=56, seed=0, missing=0.1)


def shops() -> pd.DataFrame:
    """Daily demand of eight products, in shops of cities and of two kinds."""
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=120)
    frame = pd.DataFrame({"unique_id": np.repeat(np.arange(8), 120), "ds": np.tile(days, 8)})
    number = frame["unique_id"]
    frame["city"], frame["shop"], frame["kind"] = number % 2, number % 4, number // 4
    week = 4 + 2 * np.sin(frame["ds"].dt.day_of_week)
    return frame.assign(y=rng.poisson(week), price=rng.normal(size=len(frame)))


CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "basketball": ({"scale": "mirrored", "n_frequencies": 4, "dropout": 0.1}, basketball),
    **{
        f"basketball, {head}": ({"head": head}, basketball)
        for head in HEADS
        if head not in ("returns", "steps")
    },
    "series": ({"scale": "series", "n_frequencies": 4}, shops),
    "demand": ({"scale": "demand"}, shops),
    "returns": ({"scale": "returns"}, shops),
}  # fmt: skip


class Captured(Exception):
    pass


def first_batch(name: str, precision: str = "32-true") -> tuple[Any, Window]:
    """A model as its training begins, and the first batch that it would learn from."""
    return deepcopy(_first_batch(name, precision))


@cache
def _first_batch(name: str, precision: str) -> tuple[Any, Window]:
    given, frame = CASES[name]
    model = HiPerformer(16, 2, 2, **given)

    def capture(plan: Any, model: Any, windows: Any, *rest: Any) -> None:
        raise Captured(model, windows)

    court = frame is basketball
    lengths = (40, 10) if court else (28, 7)
    forecaster = Forecaster(
        model, context_length=lengths[0], prediction_length=lengths[1],
        columns=COURT if court else SHOPS, series_dropout=0.1,
        trainer={**QUIET, "precision": precision},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_train", capture)
        with pytest.raises(Captured) as caught:
            forecaster.fit(frame())
    model, windows = caught.value.args
    return model, windows.__getitems__(range(min(6, len(windows))), seeded(0))
