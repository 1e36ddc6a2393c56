"""Bad and odd input of a `Forecaster`: errors that say what to do, or a forecast all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, DataError, LastValue, NotFittedError
from tests.forecasters import (
    frame as frame,
)
from tests.forecasters import (
    market,
    pytestmark,  # noqa: F401
    small,
)
from tests.forecasters import (
    several as several,
)
from tests.forecasters import (
    single as single,
)
from tests.frames import mend
from tests.helpers import COLUMNS, H, L, make_frame, tiny

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
    message = message.replace(r"name yours: Columns\(target", "give it as in the fit")
    with pytest.raises(DataError, match=message) as caught:
        several.predict(frame)
    # What a fitted forecaster cannot do is no remedy.
    assert "Columns(" not in str(caught.value)


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


def test_a_fitted_forecaster_is_not_told_to_change_its_columns(several, frame):
    message = "no column 'team'.*; give it as in the fit"
    with pytest.raises(DataError, match=message) as caught:
        several.predict(frame.drop(columns="team"))
    assert caught.value.remedy is None
    other = frame.rename(columns={"team": "Team"})
    with pytest.raises(DataError, match="name them as in the fit") as caught:
        several.predict(other)
    mended = mend(caught.value, frame=other)["frame"]
    pd.testing.assert_frame_equal(several.predict(mended), several.predict(frame))


def test_other_things_than_frames_are_refused(several, frame, tmp_path):
    for other in ({"x": [1]}, None, [1, 2]):
        with pytest.raises(TypeError, match=r"pyarrow Table \(a forecaster also takes a folder of"):
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
