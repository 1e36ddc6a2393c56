"""Losses, forecasts and samples of tiny fits, equal to the recorded ones: every head, scale, model.

`python -m tests.test_golden` records them anew: only where numbers are meant to change.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.peers import AgentFormer, EqMotion, LinearStart
from hierforecast import (
    Columns,
    ConstantVelocity,
    Forecaster,
    HiPerformer,
    LastValue,
    Ridge,
    SeasonalNaive,
)
from hierforecast.nn.heads import MixtureHead, StepsHead
from tests.helpers import COLUMNS, DOUBLE, EVERYTHING, make_frame, tiny, trained_answers

NOW = 20
NUMBERS = Path(__file__).parent / "golden" / "numbers.json"
ONE = Columns(target="x", group="team", scene="scene")
BLIND = Columns(target=["x", "y"], group=None, scene="scene")
sa3 = functools.partial(HiPerformer, block="sa3")
CASES: dict[str, dict[str, Any]] = {
    "lowrank, coordinates": {"model": sa3(16, 2, 2, head="lowrank", patch=4, scale="coordinates")},
    "mixture, mirrored, Fourier": {
        "model": sa3(
            8, 1, 2, head=MixtureHead(modes=3, rank=2), patch=4, scale="mirrored", n_frequencies=3
        )
    },
    "gaussian, series": {"model": sa3(8, 1, 2, head="gaussian", scale="series")},
    "student, everything nested": {
        "model": sa3(8, 1, 2, head="student", patch=3),
        "columns": EVERYTHING,
    },
    "steps of groups, returns": {
        "model": sa3(8, 1, 2, head=StepsHead(), patch=4, scale="returns"),
        "columns": ONE,
    },
    "lowrank, one target": {"model": sa3(8, 1, 2), "columns": ONE},
    "no groups": {"model": sa3(8, 1, 2, dropout=0.0, head="lowrank"), "columns": BLIND},
    "coupled, relational": {"model": HiPerformer(8, 1, 2, patch=4, block="relational")},
    "last value": {"model": LastValue()},
    "constant velocity": {"model": ConstantVelocity("series")},
    "seasonal": {"model": SeasonalNaive(3)},
    "ridge": {"model": Ridge(), "columns": EVERYTHING},
    "ridge of a penalty": {"model": Ridge(0.5, "returns")},
    "peer EqMotion": {"model": EqMotion(8, 4, 2, 2)},
    "peer AgentFormer": {"model": LinearStart(AgentFormer(8, 1, 1, 2, patch=4))},
}


def fit(case: str, frame: pd.DataFrame, trainer: dict[str, Any] = DOUBLE) -> Forecaster:
    """The forecaster of a case, fitted by three steps; what was trained answers."""
    options = {"columns": COLUMNS, "max_steps": 3, **CASES[case]}
    with pytest.MonkeyPatch.context() as patch:
        trained_answers(patch)
        return tiny(**options, trainer=trainer).fit(frame)


def answers(forecaster: Forecaster, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Losses, forecasts and samples; three series of the history are not there at all."""
    history, known = frame[frame.ds < NOW], None
    history = history[~history.unique_id.isin(["home_1", "bench_0", "bench_1"])]
    if forecaster.columns.known_covariates:
        known = frame[frame.ds >= NOW]
    return {
        "history": forecaster.history_,
        "predict": forecaster.predict(history, 80, known=known),
        "sample": forecaster.sample(history, 2, known=known),
        "backtest": forecaster.backtest(frame, n_windows=1, quantiles=0.1),
    }


def summary(found: dict[str, pd.DataFrame]) -> dict[str, list[float]]:
    """Of each number column: its first values, and its mean in waves of several lengths."""
    out: dict[str, list[float]] = {}
    for name, table in found.items():
        for column, values in table.select_dtypes("float").items():
            x = values.to_numpy(dtype=float)
            x = x[~np.isnan(x)]
            waves = np.cos(np.outer([0.0, 0.1, 0.7, 2.3], np.arange(len(x))))
            out[f"{name} {column}"] = [*x[:3].tolist(), *(waves @ x / max(len(x), 1)).tolist()]
    return out


def make_golden_frame() -> pd.DataFrame:
    """What all of them learn from: one cell in seven is missing."""
    frame = make_frame(n_scenes=4, seed=11, missing=0.0)
    gone = np.random.default_rng(12).random(len(frame)) < 0.15
    gone &= frame.unique_id != "ball_0"  # every scene keeps its last step
    frame.loc[gone, ["x", "y"]] = np.nan
    return frame


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_golden_frame()


@pytest.mark.parametrize("case", CASES)
def test_fits_forecast_as_they_did(case, frame):
    expected = json.loads(NUMBERS.read_text())[case]
    found = summary(answers(fit(case, frame), frame))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-9, err_msg=name)


def record() -> None:
    """Write the numbers of all cases."""
    frame = make_golden_frame()
    numbers = {case: summary(answers(fit(case, frame), frame)) for case in CASES}
    lines = [f"{json.dumps(case)}: {json.dumps(found)}" for case, found in numbers.items()]
    NUMBERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record()
