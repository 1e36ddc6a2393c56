"""What a series has shown bounds its own forecasts and changes nobody else's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.inference import forecasts
from tests.helpers import DOUBLE

H = 7


def products() -> pd.DataFrame:
    """A steady product, one that was launched, and one that ended."""
    day = np.arange(120)
    level = np.stack([40 + 0 * day, 30 * (day >= 115), 30 * (day < 90)])
    sold = np.random.default_rng(0).poisson(level)
    days = pd.date_range("2023-01-01", periods=120)
    ids = np.repeat(["steady", "launched", "ended"], 120)
    return pd.DataFrame({"unique_id": ids, "ds": np.tile(days, 3), "y": sold.ravel().astype(float)})


@pytest.mark.parametrize("head", ["auto", "gaussian", "lowrank"])
def test_a_steady_series_is_forecast_alike_beside_one_that_jumps(head, monkeypatch):
    frame = products()
    model = HiPerformer(8, 1, 2, head=head)
    # No network answers, and each series is a group of its own: nothing else ties them together.
    plan = Forecaster(
        model, context_length=14, prediction_length=H, max_steps=2, trainer=DOUBLE,
        columns=Columns(group=None, scene="unique_id", id="name"),
    )  # fmt: skip
    frame["name"] = "a"
    plan.fit(frame)
    damped = []
    whole = forecasts.below_ceiling

    def seen(raw, *rest):
        found = whole(raw, *rest)
        damped.append(found is not raw)
        return found

    monkeypatch.setattr(forecasts, "below_ceiling", seen)
    together = plan.predict(frame, level=[90])
    alone = plan.predict(frame[frame["unique_id"] == "steady"], level=[90])
    both = together[together["unique_id"] == "steady"].reset_index(drop=True)
    assert damped[0]
    pd.testing.assert_frame_equal(both, alone.reset_index(drop=True), rtol=1e-10)
    monkeypatch.setattr(forecasts, "below_ceiling", lambda raw, *rest: raw)
    bare = plan.predict(frame, level=[90])
    upper = "HiPerformer-hi-90"
    jumps = bare["unique_id"] == "launched"
    assert bare.loc[jumps, upper].max() > 3 * together.loc[jumps, upper].max()
    np.testing.assert_allclose(bare.loc[~jumps, upper], together.loc[~jumps, upper], rtol=0.3)


def test_a_number_beyond_belief_leaves_the_others_their_intervals():
    frame = products()
    frame["y"] *= frame["unique_id"] != "ended"
    plan = Forecaster(
        HiPerformer(8, 1, 2), context_length=14, prediction_length=H, max_steps=2, trainer=DOUBLE,
        columns=Columns(group=None),
    ).fit(frame)  # fmt: skip
    plan.model_.growth.limit.fill_(0.25)
    ahead = plan.predict(frame)[["unique_id", "ds"]]
    some = ahead[ahead["unique_id"] == "launched"]
    usual, wild = (
        plan.predict(frame, given=some.assign(y=float(y)), level=[90]) for y in (30, 3_000)
    )
    assert (wild.loc[wild["unique_id"] == "launched", "HiPerformer"] == 3_000).all()
    low, high = (wild[f"HiPerformer-{side}-90"] for side in ("lo", "hi"))
    others = wild["unique_id"] == "steady"
    assert (low[others] < 0.9 * high[others]).all()
    np.testing.assert_allclose(wild["HiPerformer"][others], usual["HiPerformer"][others], rtol=0.5)
