"""`Forecaster`'s contract: frames in, frames out, options, and errors that say what to do."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import (
    Columns,
    ConstantVelocity,
    DataError,
    Forecaster,
    HiPerformer,
    LastValue,
    NotFittedError,
    Ridge,
)
from hierforecast.errors import SeriesDroppedWarning, UnknownLabelsWarning
from hierforecast.frame import read_frame
from hierforecast.windows.cutoffs import split_cutoffs
from tests.helpers import COLUMNS, EVERYTHING, QUIET, H, L, make_frame, tiny

pytestmark = pytest.mark.usefixtures("networks")

NOW = 20
KEYS = ["scene", "unique_id", "ds"]
ONE = Columns()  # Nixtla's names: unique_id, ds, y, group


def market(days: int = 60, per_group: tuple[int, ...] = (3, 2), seed: int = 0) -> pd.DataFrame:
    """Business days of some tickers, one target, no scenes."""
    rng = np.random.default_rng(seed)
    time = pd.bdate_range("2024-01-01", periods=days)
    frames = []
    for group, size in enumerate(per_group):
        for member in range(size):
            one = pd.DataFrame({"unique_id": f"t{group}{member}", "ds": time})
            frames.append(one.assign(group=f"s{group}", y=100 + rng.normal(size=days).cumsum()))
    return pd.concat(frames, ignore_index=True)


def small(model: Any = None, columns: Columns = ONE, **options: Any) -> Forecaster:
    return tiny(HiPerformer(8, 1, 2) if model is None else model, columns=columns, **options)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(seed=3)


@pytest.fixture(scope="module")
def several() -> Forecaster:
    return small(columns=COLUMNS).fit(make_frame())


@pytest.fixture(scope="module")
def single() -> Forecaster:
    return small().fit(market())


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


# --- bad input, in the order of the sixth promise ------------------------------------------------


def broken(column: str, value: Any, rows: slice = slice(5, 6)) -> pd.DataFrame:
    frame = make_frame(missing=0.0)
    frame[column] = frame[column].astype(object if isinstance(value, str) else float)
    frame.loc[frame.index[rows], column] = value
    return frame


BAD = {
    "missing column": (
        make_frame().drop(columns="x"),
        r"the frame has no column 'x'.* for the role 'target'.*; name yours: Columns\(target",
    ),
    "duplicated": (
        pd.concat([make_frame(), make_frame()[:1]]),
        r"1 rows .* duplicated in \(scene, unique_id, ds\), the first is scene 0.*drop_duplicates",
    ),
    "irregular": (
        make_frame(missing=0.0).assign(ds=lambda f: f.ds * 10 + (f.index == 3)),
        r"irregular time step in column 'ds': scene 0 goes from .* to 31.*resample",
    ),
    "two groups": (
        make_frame().assign(team=lambda f: f.team.where(f.index != 40, "bench")),
        r"series 'home_\d' of scene 0 is in two groups of column 'team'.*correct the column",
    ),
    "text": (broken("x", "fast"), r"column 'x' .* is not numeric .*pd\.to_numeric"),
    "all NaN": (broken("x", np.nan, slice(None)), r"target column 'x' .*NaN\) in every row"),
    "infinite": (broken("y", np.inf), r"column 'y' .* 1 infinite values .*scene 0.*replace them"),
    "too little": (
        make_frame(steps=L),
        r"too little context: .*11 \+ 4 = 15 steps, but the longest scene has 11; "
        r"give longer scenes, or a shorter context: forecaster.set_params\(context_length=7\)",
    ),
    "empty": (make_frame()[:0], r"the frame is empty: it has no rows; check how it was read"),
    "no window": (
        make_frame(missing=0.0).assign(x=lambda f: f.x.where((f.ds < 2) | (f.ds == f.ds.max()))),
        r"no window has a series observed both in its context and in its horizon: give",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_fit_says_what_is_wrong_with_a_frame(case):
    frame, message = BAD[case]
    before = frame.copy(deep=True)
    with pytest.raises(DataError, match=message):
        small(LastValue(), COLUMNS).fit(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("case", sorted(set(BAD) - {"too little", "no window", "irregular"}))
def test_predict_says_what_is_wrong_with_a_frame(case, several):
    frame, message = BAD[case]
    with pytest.raises(DataError, match=message):
        several.predict(frame)


def test_a_short_history_is_padded_with_missing_steps(several, single, frame):
    """What is not there is missing: as if rows without targets stood in front."""
    short = frame[(frame.scene != 1) | ((frame.ds > L) & (frame.ds < L + H + 3))]
    around = frame[frame.ds.isin([0, 23]) & frame.scene.eq(1)].assign(x=np.nan)
    padded = pd.concat([around, short])
    for verb in (several.predict, several.backtest, lambda f: several.sample(f, 2)):
        one, two = verb(short), verb(padded)
        assert (one.scene == 1).any() and one.HiPerformer_x.notna().all()
        pd.testing.assert_frame_equal(one, two)
    assert len(single.predict(market(days=1))) == 5 * H
    several.backtest(frame[frame.ds < L])
    with pytest.raises(DataError, match=r"too little context: .*, but the longest scene has 4"):
        several.backtest(frame[frame.ds < 4])


def test_predict_says_when_time_is_of_another_kind(single, several, frame):
    with pytest.raises(DataError, match=r"irregular time step .*2024-01-06.* 1 business day"):
        single.predict(market().assign(ds=lambda f: f.ds + pd.Timedelta(days=1)))
    with pytest.raises(DataError, match=r"the time column holds integers"):
        single.predict(market().assign(ds=lambda f: f.groupby("unique_id").cumcount()))
    with pytest.raises(DataError, match=r"group type 'referee', which was not there in training"):
        several.predict(frame.assign(kind=frame.kind.replace("ball", "referee")))


def test_other_things_than_frames_are_refused(several, frame, tmp_path):
    for other in ({"x": [1]}, None, [1, 2]):
        with pytest.raises(TypeError, match="expected a pandas DataFrame, a polars DataFrame"):
            several.predict(other)
    with pytest.raises(FileNotFoundError, match=r"no folder and no file 'train\.csv'"):
        several.predict("train.csv")
    frame.to_csv(tmp_path / "train.csv")
    with pytest.raises(DataError, match=r"train\.csv' is no Parquet file.*read_table"):
        several.predict(tmp_path / "train.csv")


@pytest.mark.parametrize("level", [[0], [100], [-5], [101]])
def test_levels_are_checked(several, frame, level):
    with pytest.raises(DataError, match=r"level=.* must lie between 0 and 100 \(percent\)"):
        several.predict(frame, level=level)
    with pytest.raises(DataError, match=r"level=.* must lie between 0 and 100 \(percent\)"):
        several.evaluate(frame, level=level[0])


def test_a_share_for_a_level_is_asked_about(several, frame):
    for call in (
        lambda: several.predict(frame, level=[0.9]),
        lambda: several.backtest(frame, level=np.float32(0.5)),
        lambda: several.evaluate(frame, level=0.9),
    ):
        with pytest.raises(DataError, match=r"percent: did you mean (90|50)\?$"):
            call()


def test_counts_are_checked(several, frame):
    rule = "must be a whole number of at least 1"
    for wrong in (0, -1, 2.0, "2"):
        with pytest.raises(DataError, match=f"^stride={wrong!r} {rule}$"):
            several.backtest(frame, stride=wrong)
        with pytest.raises(DataError, match=f"^n={wrong!r} {rule}$"):
            several.sample(frame, wrong)
        with pytest.raises(DataError, match=f"^n_samples={wrong!r} {rule}$"):
            several.evaluate(frame, n_samples=wrong)
    one, two = (several.backtest(frame, stride=n) for n in (np.int64(8), 8))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize("name", ["cutoff", "LastValue"])
def test_columns_that_an_answer_would_overwrite_are_named(name):
    frame = market().rename(columns={"y": name})
    forecaster = small(LastValue(), Columns(target=name)).fit(frame)
    with pytest.raises(DataError, match=rf"would have two columns '{name}': rename that column"):
        forecaster.backtest(frame)
    assert len(forecaster.predict(frame))


def test_one_metric_may_be_given_bare(single):
    frame = market(seed=1)
    one, two = (single.evaluate(frame, metrics=m) for m in ("mae", ["mae"]))
    pd.testing.assert_frame_equal(one, two)
    with pytest.raises(ValueError, match=r"no metric is called 'accuracy'\. There are: mae"):
        single.evaluate(frame, metrics="accuracy")


def test_one_wild_value_does_not_make_every_forecast_wild():
    """A unit error in one cell of one series; the others are forecast as usual."""
    frame = market(days=120)
    frame["y"] -= 100
    frame.loc[60, "y"] = 1e8
    forecaster = small(max_steps=10).fit(frame)
    clean = market(days=40, seed=5).assign(y=lambda f: f.y - 100)
    found = forecaster.predict(clean, level=[90])
    assert found.select_dtypes("number").abs().max().max() < 10 * clean.y.abs().max()


@pytest.mark.parametrize("values", ["constant", "zero", "linear", "tiny", "huge", "integers"])
def test_odd_series_are_forecast_all_the_same(values):
    frame = market(per_group=(2, 1))
    t = frame.groupby("unique_id").cumcount()
    choices = {"constant": 7 + 0 * t, "zero": 0.0 * t, "linear": 3.0 * t, "integers": t % 4}
    y = choices.get(values, frame.y * {"tiny": 1e-9, "huge": 1e9}.get(values, 1))
    found = small().fit(frame.assign(y=y)).predict(frame.assign(y=y), level=[90])
    numbers = found.select_dtypes("number").to_numpy()
    assert np.isfinite(numbers).all()
    assert np.abs(numbers).max() < 5 * (float(np.abs(y).max()) or 1.0)


def test_nothing_works_before_fit(frame):
    forecaster = tiny()
    for call in (
        forecaster.predict,
        forecaster.backtest,
        forecaster.evaluate,
        forecaster.distribution,
        lambda f: forecaster.sample(f, 1),
        lambda f: forecaster.save("nowhere"),
    ):
        with pytest.raises(NotFittedError, match=r"call fit\(frame\)"):
            call(frame)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_are_never_changed(library, frame):
    module = pytest.importorskip(library)
    given: Any = frame.copy(deep=True)
    if library != "pandas":
        make = module.from_pandas if library == "polars" else module.Table.from_pandas
        given = make(frame)
    forecaster = small(LastValue(), COLUMNS).fit(given, val=given)
    forecaster.predict(given, [90]), forecaster.backtest(given), forecaster.evaluate(given)
    after = given if library == "pandas" else given.to_pandas()
    pd.testing.assert_frame_equal(after.reset_index(drop=True), frame)


def test_read_only_memory_is_no_obstacle(frame):
    """As frames that share memory with arrow have it."""
    locked = frame.copy()
    for name in ("x", "y", "ds"):
        column = locked[name].to_numpy(copy=True)
        column.setflags(write=False)
        locked[name] = pd.Series(column, copy=False)
    small(columns=COLUMNS).fit(locked).predict(locked)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_length": 0}, "context_length=0 must be"),
        ({"prediction_length": 0}, "prediction_length=0 must be"),
        ({"prediction_length": 2.5}, r"prediction_length=2\.5 must be"),
        ({"batch_size": 0}, "batch_size=0 must be"),
        ({"max_steps": 0}, "max_steps=0 must be"),
        ({"series_dropout": 0.7}, r"series_dropout=0\.7 must be a number between 0 and 0\.5"),
    ],
)
def test_options_out_of_range_are_refused(options, message, frame):
    with pytest.raises(ValueError, match=message):
        tiny(**options).fit(frame)


def test_options_go_in_and_come_out():
    forecaster = tiny(HiPerformer(8, 1, 2))
    assert forecaster.get_params(deep=False).keys() < forecaster.get_params().keys()
    assert forecaster.get_params()["model__width"] == 8
    model = forecaster.model
    forecaster.set_params(max_steps=7, model__width=16, model__head="gaussian")
    assert forecaster.max_steps == 7
    assert forecaster.model.get_params() == {**model.get_params(), "width": 16, "head": "gaussian"}
    assert model.get_params()["width"] == 8, "the model that was given is left alone"
    with pytest.raises(ValueError, match=r"'model__size' is no option; options are \['batch_size'"):
        forecaster.set_params(model__size=3)
    with pytest.raises(ValueError, match=r"'steps' is no option"):
        forecaster.set_params(steps=3)
    assert "context_length=11" in repr(forecaster)


@pytest.mark.parametrize("model", [HiPerformer(8, 1, 2), LastValue(), Ridge(0.1)])
def test_scikit_learn_clones(model, frame):
    base = pytest.importorskip("sklearn.base")
    forecaster = tiny(model).fit(frame)
    twin = base.clone(forecaster)
    assert not hasattr(twin, "model_") and twin.model is not model
    assert type(twin.model) is type(model) and twin.model.get_params() == model.get_params()
    assert repr(twin) == repr(forecaster)
    pd.testing.assert_frame_equal(twin.fit(frame).predict(frame), forecaster.predict(frame))
    assert base.clone(model).get_params() == model.get_params()


def test_the_model_that_is_given_stays_a_plan(frame):
    model = HiPerformer(8, 1, 2)
    one, two = (tiny(model, prediction_length=n).fit(frame) for n in (2, 3))
    assert model.task is None and not list(model.parameters())
    assert one.model_.task.prediction_length == 2 and two.model_.task.prediction_length == 3


# --- windows to stop by --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenes", "steps", "count"),
    [(12, 24, 3), (1, 400, 10), (1, 80, 8), (1, 33, 8), (1, 30, 6), (1, 21, 2), (3, 40, 9),
     (9, 24, 9), (2, 18, 0)],
)  # fmt: skip
def test_held_out_windows_are_enough_and_share_no_horizon_with_training(scenes, steps, count):
    panel = read_frame(make_frame(scenes, steps, missing=0.0), COLUMNS)
    train, held = split_cutoffs(panel, L, H, seed=0)

    def cells(pairs: np.ndarray) -> set[tuple[int, int]]:
        return {(s, c + h) for s, c in pairs.tolist() for h in range(H)}

    assert len(held) == count and len(train) >= len(held)
    assert not cells(train) & cells(held)
    if scenes >= 10:
        assert not set(train[:, 0]) & set(held[:, 0])
    for scene in np.unique(held[:, 0]):  # the last ones, evenly spaced
        own = held[held[:, 0] == scene, 1]
        assert own[-1] == steps - H and len(set(np.diff(own))) <= 1
    again = split_cutoffs(panel, L, H, seed=0)
    assert all((x == y).all() for x, y in zip((train, held), again, strict=True))


def test_too_short_to_hold_anything_out():
    panel = read_frame(make_frame(2, L + H), COLUMNS)
    train, held = split_cutoffs(panel, L, H, seed=0)
    assert len(train) == 2 and not len(held)


def test_scenes_of_unlike_length_hold_out_enough_together():
    long, short = make_frame(1, 60, missing=0.0), make_frame(2, 16, missing=0.0)
    short["scene"] += 1
    panel = read_frame(pd.concat([long, short]), COLUMNS)
    train, held = split_cutoffs(panel, L, H, seed=0)
    assert np.bincount(held[:, 0], minlength=3).tolist() == [8, 0, 0], "16 steps are two windows"
    assert np.bincount(train[:, 0])[1:].tolist() == [2, 2]


@pytest.mark.parametrize(("steps", "stride"), [(80, 4), (40, 3), (24, 1), (16, 1)])
def test_a_frame_to_stop_by_is_cut_as_often_as_is_enough(steps, stride):
    panel, val = (read_frame(make_frame(1, n, missing=0.0), COLUMNS) for n in (30, steps))
    train, held = split_cutoffs(panel, L, H, 0, val)
    assert len(train) == 30 - L - H + 1, "all of them"
    assert held[-1, 1] == steps - H and set(np.diff(held[:, 1])) == {stride}
    assert len(held) >= min(8, steps - L - H + 1)


def test_a_frame_to_stop_by_may_be_given(frame):
    forecaster = small(columns=COLUMNS).fit(frame, val=make_frame(seed=9))
    assert len(forecaster.predict(frame))
    with pytest.raises(DataError, match="too little context"):
        small(columns=COLUMNS).fit(frame, val=frame[frame.ds < H])


def test_learning_learns():
    """A drift that a line cannot say: the sign depends on the group's other member."""
    rng = np.random.default_rng(0)
    pieces = []
    for scene in range(80):
        sign = rng.choice([-1, 1])
        time = np.arange(L + H)
        lead = sign * 5 + 0.1 * rng.normal(size=len(time))
        follow = np.where(time < L, 0, sign * (time - L + 1)) + 0.1 * rng.normal(size=len(time))
        for name, y in (("lead", lead), ("follow", follow)):
            pieces.append(pd.DataFrame({"scene": scene, "unique_id": name, "ds": time, "y": y}))
    frame = pd.concat(pieces).assign(group="g", kind=lambda f: f.unique_id)
    columns = Columns(scene="scene", group_type="kind")
    model = HiPerformer(16, 1, 2, dropout=0.0, head="gaussian", scale="coordinates")
    options: dict[str, Any] = {"max_steps": 160, "batch_size": 32, "learning_rate": 1e-2}
    forecaster = small(model, columns, series_dropout=0.0, trainer=QUIET, **options).fit(frame)
    test = frame[frame.scene < 20]
    found = forecaster.predict(test[test.ds < L]).merge(test, on=KEYS)
    follow = found[found.unique_id == "follow"]
    assert (follow.HiPerformer - follow.y).abs().mean() < 0.3 * follow.y.abs().mean()
    assert torch.is_grad_enabled()
