"""What the roles of columns do to a forecast: groups, covariates and what is known in advance."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, DataError, Forecaster, HiPerformer
from hierforecast.errors import UnknownLabelsWarning
from tests.forecasters import (
    KEYS,
    NOW,
    market,
    pytestmark,  # noqa: F401
    small,
)
from tests.helpers import EVERYTHING, H, L, make_frame

# --- groups --------------------------------------------------------------------------------------


def test_no_groups_at_all():
    frame = market().drop(columns="group")
    columns = Columns(group=None)
    assert len(small(columns=columns).fit(frame).predict(frame)) == 5 * H


@pytest.mark.parametrize("sizes", [(1,), (4,), (1, 1, 1)], ids=["one series", "one group", "alone"])
def test_few(sizes):
    frame = market(per_group=sizes)
    found = small().fit(frame).predict(frame, level=[90])
    assert len(found) == sum(sizes) * H and found.notna().all().all()


def test_a_group_of_a_thousand():
    frame = market(days=L + H + 2, per_group=(1000, 2))
    forecaster = small(max_steps=1, batch_size=1).fit(frame)
    found = forecaster.predict(frame)
    assert len(found) == 1002 * H and found.notna().all().all()


def test_nested_groups_have_a_say():
    """Two industries of one sector, or of two: the forecast differs."""
    frame = market(per_group=(2, 2, 2))
    frame["sector"] = np.where(frame.group == "s2", "b", "a")
    columns = Columns(group=["sector", "group"])
    forecaster = small(columns=columns, max_steps=30, learning_rate=1e-2).fit(frame)
    assert forecaster.model_.task.n_levels == 2
    before = forecaster.predict(frame)
    other = forecaster.predict(frame.assign(sector=np.where(frame.group == "s0", "b", "a")))
    assert (before.HiPerformer - other.HiPerformer).abs().max() > 1e-4


def test_models_that_ignore_groups_differ_from_those_that_do_not():
    frame = market(per_group=(3, 3))
    plain, flat = (small(columns=Columns(group=g), max_steps=2) for g in ("group", None))
    one, two = (f.fit(frame).predict(frame).HiPerformer for f in (plain, flat))
    assert (one - two).abs().max() > 1e-6


# --- covariates ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def knowing() -> Forecaster:
    given = small(HiPerformer(8, 1, 2, head="gaussian"), EVERYTHING, max_steps=20)
    return given.set_params(learning_rate=1e-2).fit(make_frame(missing=0.0))


def known_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.loc[frame.ds >= NOW, [*KEYS, "plan", "weather"]]


@pytest.mark.parametrize(
    ("column", "value"),
    [("pulse", 3.0), ("mood", "up"), ("plan", 3.0), ("weather", "sun"), ("size", 2.0)],
)
def test_covariates_have_an_effect(knowing, column, value):
    frame = make_frame(seed=1, missing=0.0)
    other = frame.assign(**{column: value})
    one, two = (
        knowing.predict(f[f.ds < NOW], known=known_of(f))[["HiPerformer_x", "HiPerformer_y"]]
        for f in (frame, other)
    )
    assert (one - two).abs().max().max() > 1e-4


def test_static_categories_have_an_effect_and_new_ones_are_nothing_special(knowing):
    frame = make_frame(seed=1, missing=0.0)
    history, known = frame[frame.ds < NOW], known_of(frame)
    forecasts = []
    for role in ("guard", "centre", "coach", "referee"):
        new = role in ("coach", "referee")
        with pytest.warns(UnknownLabelsWarning, match="'role'") if new else nullcontext():
            found = knowing.predict(history.assign(role=role), known=known)
        forecasts.append(found.HiPerformer_x)
    assert (forecasts[0] - forecasts[1]).abs().max() > 1e-4
    assert (forecasts[2] - forecasts[3]).abs().max() == 0, "both unknown"


def test_what_is_known_in_advance_must_be_given_and_matters(knowing):
    frame = make_frame(seed=1, missing=0.0)
    history, known = frame[frame.ds < NOW], known_of(frame)
    with pytest.raises(DataError, match=r"\['plan', 'weather'\] need their future values: give"):
        knowing.predict(history)
    with pytest.raises(DataError, match=r"known frame lacks .* of the steps to forecast"):
        knowing.predict(history, known=known[known.ds < NOW + H - 1])
    one = knowing.predict(history, known=known)
    two = knowing.predict(history, known=known.assign(plan=5.0))
    assert (one.HiPerformer_x - two.HiPerformer_x).abs().max() > 1e-4
    for found in (knowing.sample(history, 2, known=known), knowing.distribution(history, known)[1]):
        assert len(found)
    assert len(knowing.backtest(frame)) and len(knowing.evaluate(frame))
