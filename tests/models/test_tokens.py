"""How many steps a token holds if it is not said, and folders from before steps had levels."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest

from hierforecast import DataError, Forecaster, HiPerformer
from hierforecast.io.weights import fill
from tests.helpers import COLUMNS, QUIET, make_frame


@pytest.mark.parametrize(
    ("context", "horizon", "steps"),
    [(40, 10, 20), (10, 20, 20), (20, 24, 24), (14, 4, 14), (5, 7, 7), (8, 28, 28), (60, 30, 15),
     (60, 31, 16), (336, 96, 20), (20, 40, 20)],
)  # fmt: skip
def test_a_horizon_is_cut_into_tokens_of_a_size_or_not_at_all(
    context: int, horizon: int, steps: int, tmp_path: Path
) -> None:
    frame, sizes = make_frame(2, steps=context + horizon + 3), (context, horizon)
    plan = HiPerformer(8, 1, 2)
    forecaster = Forecaster(
        plan, context_length=context, prediction_length=horizon, columns=COLUMNS, max_steps=1,
        trainer=QUIET,
    ).fit(frame)  # fmt: skip
    embedding = forecaster.model_.embedding
    assert embedding.patch == steps and embedding.horizon_tokens == -(-horizon // steps), sizes
    assert (forecaster.model_.decoder.level is None) == (steps >= horizon)
    forecaster.save(tmp_path / "one")
    again = Forecaster.load(tmp_path / "one")
    pd.testing.assert_frame_equal(again.predict(frame), forecaster.predict(frame))
    # A folder of an earlier version, which had no levels: they are zero.
    weights = {k: v for k, v in forecaster.model_.state_dict().items() if k != "decoder.level"}
    build = functools.partial(plan.for_task, forecaster.model_.task)
    old = fill(build, weights, lambda why: DataError(why))
    assert old.decoder.level is None or not old.decoder.level.any()
