"""`Forecaster`'s contract: frames in, frames out, and the times in them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from hierforecast import ConstantVelocity
from hierforecast.errors import SeriesDroppedWarning
from tests.forecasters import (
    KEYS,
    NOW,
    market,
    pytestmark,  # noqa: F401
    small,
)
from tests.forecasters import (
    frame as frame,
)
from tests.forecasters import (
    several as several,
)
from tests.forecasters import (
    single as single,
)
from tests.helpers import COLUMNS, H, L

# --- frames --------------------------------------------------------------------------------------


def test_columns_for_several_targets(several, frame):
    history, two = frame[frame.ds < NOW], ["HiPerformer_x", "HiPerformer_y"]
    assert list(several.predict(history)) == [*KEYS, *two]
    assert list(several.predict(history, level=[90, 80.5])) == [
        *KEYS,
        *(
            f"{name}{suffix}"
            for name in two
            for suffix in ("", "-lo-90", "-hi-90", "-lo-80.5", "-hi-80.5")
        ),
    ]
    assert list(several.sample(history, 2)) == [*KEYS, "sample_id", *two]
    assert list(several.backtest(frame)) == [*KEYS, "cutoff", "x", "y", *two]
    assert list(several.evaluate(frame)) == ["model", "part", "metric", "value"]
    assert list(several.distribution(history)[1]) == KEYS


def test_columns_for_one_target_without_scenes(single):
    frame, keys = market(seed=1), ["unique_id", "ds"]
    intervals = ["HiPerformer", "HiPerformer-lo-90", "HiPerformer-hi-90"]
    assert list(single.predict(frame, level=[90])) == [*keys, *intervals]
    assert list(single.sample(frame, 2)) == [*keys, "sample_id", "HiPerformer"]
    assert list(single.backtest(frame, level=[90])) == [*keys, "cutoff", "y", *intervals]
    baseline = small(ConstantVelocity()).fit(frame)
    assert list(baseline.predict(frame)) == [*keys, "ConstantVelocity"]


def test_rows_are_every_series_seen_in_the_context_and_every_step(several, frame):
    history = frame[frame.ds < NOW]
    history = history[~((history.unique_id == "home_0") & (history.ds >= NOW - L))]
    with pytest.warns(SeriesDroppedWarning, match=r"scene 0, unique_id 'home_0' \(last at \d\)"):
        found = several.predict(history)
    seen = history[history.ds >= NOW - L][["scene", "unique_id"]].drop_duplicates()
    wanted = seen.merge(pd.DataFrame({"ds": range(NOW, NOW + H)}), how="cross")
    wanted = wanted.sort_values(KEYS, ignore_index=True)
    pd.testing.assert_frame_equal(found[KEYS], wanted, check_dtype=False)
    assert "home_0" not in set(found.unique_id)
    with pytest.warns(SeriesDroppedWarning):
        draws = several.sample(history, 3)
    assert draws.sample_id.tolist() == np.repeat(np.arange(3), len(found)).tolist()
    for _, one in draws.groupby("sample_id"):
        pd.testing.assert_frame_equal(one[KEYS].reset_index(drop=True), wanted, check_dtype=False)


def test_intervals_are_nested_and_hold_the_point(several, frame):
    found = several.predict(frame, level=[50, 95])
    for name in ("HiPerformer_x", "HiPerformer_y"):
        order = [found[name + s] for s in ("-lo-95", "-lo-50", "", "-hi-50", "-hi-95")]
        assert all((low < high).all() for low, high in pairwise(order))


def test_one_level_may_be_given_bare(several, frame):
    pd.testing.assert_frame_equal(several.predict(frame, 90), several.predict(frame, [90]))


def test_a_backtest_holds_the_truth_and_every_cutoff(several, frame):
    found = several.backtest(frame, stride=3)
    assert sorted(found.cutoff.unique()) == [10, 13, 16, 19]
    assert ((found.ds - found.cutoff).between(1, H)).all()
    truth = found.merge(frame, on=KEYS, how="left", suffixes=("", "_true"))
    np.testing.assert_allclose(truth.x, truth.x_true, rtol=1e-6)
    assert truth.x.isna().any(), "NaN where missing"
    assert found.equals(found.sort_values(["scene", "unique_id", "cutoff", "ds"]))
    assert sorted(several.backtest(frame).cutoff.unique()) == [11, 15, 19]


def test_an_evaluation_is_what_the_backtest_shows(several, frame):
    table = several.evaluate(frame, metrics=["mae"])
    back = several.backtest(frame)
    error = pd.concat([(back.HiPerformer_x - back.x).abs(), (back.HiPerformer_y - back.y).abs()])
    value = table.set_index(["part", "metric"]).value
    assert value["all", "mae"] == pytest.approx(error.mean(), rel=1e-5)
    ball = back.unique_id == "ball_0"
    error = pd.concat([(back.HiPerformer_x - back.x)[ball], (back.HiPerformer_y - back.y)[ball]])
    assert value["ball", "mae"] == pytest.approx(error.abs().mean(), rel=1e-5)
    assert set(table.model) == {"HiPerformer"} and set(table.part) == {"all", "ball", "player"}


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_the_same_library_comes_back(library, several, frame):
    module = pytest.importorskip(library)
    history = frame[frame.ds < NOW]
    given = (
        module.from_pandas(history)
        if library == "polars"
        else module.Table.from_pandas(history, preserve_index=False)
    )
    kind = module.DataFrame if library == "polars" else module.Table
    for found, wanted in (
        (several.predict(given, [90]), several.predict(history, [90])),
        (several.sample(given, 2), several.sample(history, 2)),
        (several.backtest(given), several.backtest(history)),
        (several.evaluate(given), several.evaluate(history)),
        (several.distribution(given)[1], several.distribution(history)[1]),
    ):
        assert type(found) is kind
        pd.testing.assert_frame_equal(found.to_pandas(), wanted, check_dtype=False)
    other = small(columns=COLUMNS).fit(given)
    mine = small(columns=COLUMNS).fit(history)
    pd.testing.assert_frame_equal(
        other.predict(given).to_pandas(), mine.predict(history), check_dtype=False
    )


def test_utilsforecast_takes_a_backtest_as_it_is(single):
    pytest.importorskip("utilsforecast")
    from utilsforecast.evaluation import evaluate
    from utilsforecast.losses import mae, rmse

    back = single.backtest(market(seed=1))
    table = evaluate(back, metrics=[mae, rmse])
    assert set(table.columns) == {"unique_id", "cutoff", "metric", "HiPerformer"}
    mine = single.evaluate(market(seed=1), metrics=["mae"]).value[0]
    assert table[table.metric == "mae"].HiPerformer.mean() == pytest.approx(mine, rel=1e-5)


def test_utilsforecast_plots_a_forecast_as_it_is(single):
    plotting = pytest.importorskip("utilsforecast.plotting")
    history = market(seed=1)
    figure = plotting.plot_series(history, single.predict(history, level=[90]), level=[90])
    assert figure is not None


# --- time ----------------------------------------------------------------------------------------


def test_business_days_go_on_over_the_weekend(single):
    history = market(days=59)  # ends on a Thursday
    assert history.ds.max().day_name() == "Thursday"
    found = single.predict(history)
    wanted = pd.bdate_range(history.ds.max() + pd.Timedelta(days=1), periods=H)
    for _, one in found.groupby("unique_id"):
        assert one.ds.tolist() == list(wanted)
    assert found.ds.dtype == history.ds.dtype
    assert single.backtest(history).cutoff.dtype == history.ds.dtype


def test_ragged_series_are_aligned_by_time(single):
    """A series that stopped early is forecast from the scene's cutoff, not from its own end."""
    history = market(seed=1)
    last = history.ds.max()
    stopped = (history.unique_id == "t00") & (history.ds > last - pd.Timedelta(days=7))
    found = single.predict(history[~stopped])
    assert found.groupby("unique_id").ds.min().nunique() == 1
    assert (found.ds > last).all() and "t00" in set(found.unique_id)
    started = (history.unique_id == "t10") & (history.ds < last - pd.Timedelta(days=3))
    assert "t10" in set(single.predict(history[~started]).unique_id)
    gone = (history.unique_id == "t00") & (history.ds > last - pd.Timedelta(days=30))
    with pytest.warns(SeriesDroppedWarning, match=r"1 of 5 series .*'t00' \(last at 2024-\d\d-"):
        assert "t00" not in set(single.predict(history[~gone]).unique_id)


def test_scenes_may_end_at_different_times(several, frame):
    history = frame[frame.ds < frame.scene.map({0: 14, 1: 20, 2: 17})]
    first = several.predict(history).groupby("scene").ds.min()
    assert first.tolist() == (history.groupby("scene").ds.max() + 1).tolist()


def test_new_series_groups_and_scenes_are_forecast(several, frame):
    """Ids, teams and scenes never seen in training; one series more, one less."""
    history = frame[frame.ds < NOW].replace(
        {"unique_id": {"home_0": "guest"}, "team": {"away": "?"}}
    )
    more = history[history.unique_id == "guest"].assign(unique_id="late", x=lambda f: f.x + 1)
    history = pd.concat([history[history.unique_id != "bench_1"], more]).assign(scene="final")
    history = history.drop_duplicates(["unique_id", "ds"])
    assert {"guest", "late"} < set(several.predict(history).unique_id)
