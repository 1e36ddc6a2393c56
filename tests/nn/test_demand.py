"""The linear start of demand: what is known ahead counts, as a number or as a category."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.nn.demand import DemandLinear
from hierforecast.task import Task
from tests.helpers import QUIET

DAYS, H = 150, 7
PLAN = Columns(group=None, known_covariates=["promo"])
SPELLED = {
    "integers": lambda promo: promo,
    "booleans": lambda promo: promo > 0,
    "words": lambda promo: promo.map({0: "none", 1: "leaflet", 2: "television"}),
    "categories": lambda promo: promo.map({0: "none", 1: "leaflet", 2: "tv"}).astype("category"),
}


def shops(kinds: int) -> pd.DataFrame:
    """Sales of four shops that are doubled by one promotion and halved by another."""
    rng = np.random.default_rng(0)
    promo = rng.choice(kinds + 1, DAYS, p=[0.8, *[0.2 / kinds] * kinds])
    sold = [rng.poisson(20 * (1 + i) * np.array([1, 2, 0.5])[promo]) for i in range(4)]
    days = pd.date_range("2023-01-01", periods=DAYS)
    frame = pd.DataFrame({"y": np.concatenate(sold), "promo": np.tile(promo, 4)})
    return frame.assign(unique_id=np.repeat(list("abcd"), DAYS), ds=np.tile(days, 4))


def lifts(kinds: int, how: str) -> list[float]:
    """How many times as much is forecast with each promotion on the third day as without any."""
    frame, spelled = shops(kinds), SPELLED[how]
    plan = Forecaster(
        HiPerformer(8, 1, 2), context_length=14, prediction_length=H, columns=PLAN, max_steps=8,
        trainer=QUIET,
    )  # fmt: skip
    plan.fit(frame.assign(promo=spelled(frame["promo"])))
    assert plan.report_.rung.startswith(("linear start", "halfway to"))
    last = frame["ds"].max()
    future = pd.DataFrame({"ds": pd.date_range(last, periods=H + 1)[1:]})
    future = pd.merge(pd.DataFrame({"unique_id": list("abcd")}), future, how="cross")
    third = future["ds"] == last + pd.Timedelta(days=3)
    means = []
    for promo in range(kinds + 1):
        # One frame, so that a category is known by its word in each.
        both = pd.concat([frame, future.assign(promo=third * promo)], ignore_index=True)
        both["promo"] = spelled(both["promo"])
        found = plan.predict(both[: len(frame)], known=both[len(frame) :].drop(columns="y"))
        means.append(found[third.to_numpy()]["HiPerformer"].mean())
    return [mean / means[0] for mean in means[1:]]


@pytest.mark.parametrize("how", ["integers", "booleans"])
def test_a_promotion_is_known_ahead_however_it_is_written(how):
    assert 1.7 < lifts(1, how)[0] < 2.3


@pytest.mark.parametrize("how", ["words", "categories"])
def test_promotions_of_several_kinds_are_told_apart(how):
    leaflet, television = lifts(2, how)
    assert 1.6 < leaflet < 2.4 and 0.4 < television < 0.75


def test_what_was_saved_before_takes_numbers_only():
    task = Task(14, H, known=(None, 3, 2, 40), calendar=("day of week",), one_hot=True)
    then = {name: value for name, value in task.to_dict().items() if name != "one_hot"}
    assert DemandLinear(task).known == [
        (0, None), (1, 1), (1, 2), (1, 3), (2, 2), (4, None),
    ]  # fmt: skip
    assert DemandLinear(Task.from_dict(then)).known == [(0, None), (4, None)]
    assert Task.from_dict(task.to_dict()) == task != replace(task, one_hot=False)
