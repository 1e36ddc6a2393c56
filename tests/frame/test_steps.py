"""The step of a frame: wide integers, stated frequencies, series and frames of other steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster
from hierforecast.errors import (
    CoarseSeriesWarning,
    DataError,
    FrameTypeError,
    SeriesDroppedWarning,
)
from hierforecast.frame import read_frame
from hierforecast.models import LastValue

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

LIBRARIES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}
PLAIN = Columns(group=None)
days = pd.date_range


def series(times: Any, name: str = "a") -> pd.DataFrame:
    return pd.DataFrame({"unique_id": name, "ds": times, "y": np.arange(len(times)) + 1.0})


def both(first: Any, second: Any) -> pd.DataFrame:
    return pd.concat([series(first), series(second, "b")], ignore_index=True)


def fit(frame: Any, columns: Columns = PLAIN) -> Forecaster:
    trainer = {"accelerator": "cpu"}
    return Forecaster(
        LastValue(), context_length=8, prediction_length=3, columns=columns, trainer=trainer
    ).fit(frame)


def answer(forecast: Any) -> pd.DataFrame:
    return forecast if isinstance(forecast, pd.DataFrame) else forecast.to_pandas()


def ahead(frame: Any, columns: Columns = PLAIN, history: Any = None) -> list[str]:
    """The labels of the first series' forecast, as text."""
    history = frame if history is None else history
    labels = answer(fit(frame, columns).predict(history))["ds"].iloc[:3]
    return [str(t).removesuffix(" 00:00:00") for t in labels]


# --- labels that need a wider type ---------------------------------------------------------------


@pytest.mark.parametrize("library", [*LIBRARIES, "nullable", "arrow-backed"])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_integers_are_widened_as_the_answer_needs(kind: str, library: str) -> None:
    top = int(np.iinfo(kind).max)
    frame = series(np.arange(top - 27, top, dtype=kind))
    nullable = kind.replace("uint", "UInt").replace("int", "Int")
    wrap = LIBRARIES | {
        "nullable": lambda f: f.astype({"ds": nullable}),
        "arrow-backed": lambda f: f.astype({"ds": f"{kind}[pyarrow]"}),
    }
    given = wrap[library](frame)
    forecaster = fit(given)
    forecast = forecaster.predict(given)
    assert answer(forecast)["ds"].tolist() == [top, top + 1, top + 2]
    bits = int(kind.strip("uint")) * 2
    dtype = forecast["ds"].type if library == "pyarrow" else forecast["ds"].dtype
    assert str(bits) in str(dtype) and str(dtype).lower().startswith(kind.strip("0123456789"))
    early = given[:20] if library != "pyarrow" else given.slice(0, 20)
    back = forecaster.predict(early)  # all labels fit, so the type stays
    assert (back["ds"].type if library == "pyarrow" else back["ds"].dtype) == (
        given["ds"].type if library == "pyarrow" else given["ds"].dtype
    )
    past = answer(forecaster.backtest(given))
    assert past["cutoff"].tolist() == [int(t) - 1 - (int(t) - top) % 3 for t in past["ds"]]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_the_end_of_64_bits_is_an_error_whose_remedy_runs(kind: str, library: str) -> None:
    top = int(np.iinfo(kind).max)
    frame = LIBRARIES[library](series(np.arange(top - 27, top, dtype=kind)))
    with pytest.raises(DataError, match=r"column 'ds'.* beyond 64-bit integers") as caught:
        fit(frame).predict(frame)
    scope = {"frame": frame, "pl": pl, "pc": pytest.importorskip("pyarrow.compute")}
    exec(str(caught.value.remedy), scope)
    assert ahead(scope["frame"]) == ["27", "28", "29"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_dates_beyond_nanoseconds_come_in_microseconds(library: str, zone: str | None) -> None:
    times = days("2232", periods=30, freq="YS", tz=zone).as_unit("ns")
    forecast = fit(LIBRARIES[library](series(times))).predict(LIBRARIES[library](series(times)))
    expected = days("2262", periods=3, freq="YS", tz=zone, unit="us")
    dtype = str(forecast["ds"].type if library == "pyarrow" else forecast["ds"].dtype)
    assert "us" in dtype and (zone is None or zone in dtype)
    ds = forecast["ds"].to_pylist() if library == "pyarrow" else forecast["ds"].to_list()
    assert [pd.Timestamp(t) for t in ds] == expected.tolist()


# --- stated frequencies --------------------------------------------------------------------------

SHOP = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat", holidays=["2024-02-06"])
STATED = {
    "B": "B",
    "W-SUN": "W-SUN",
    "2W-TUE": "2W-TUE",
    "MS": "MS",
    "ME": "ME",
    "QS": "QS-JAN",
    "QE-NOV": "QE-NOV",
    "YE": "YE-DEC",
    "YS-APR": "YS-APR",
    "BME": "BME",
    "BQS-FEB": "BQS-FEB",
    "WOM-3FRI": "WOM-3FRI",
    "LWOM-MON": "LWOM-MON",
    "15min": "15min",
    "h": "h",
    "D": "D",
}
OFFSETS = [
    pd.offsets.MonthEnd(),
    pd.offsets.Week(weekday=2),
    pd.offsets.BusinessDay(),
    pd.offsets.Hour(3),
    SHOP,
    pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu", holidays=["2024-02-04"]),
    pd.offsets.CustomBusinessMonthEnd(holidays=["2024-05-31", "2025-02-28"]),
]


@pytest.mark.parametrize("freq", [*STATED, *OFFSETS], ids=str)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_stated_frequency_gives_the_labels_that_pandas_gives(freq: Any, zone: str | None) -> None:
    times = days("2024-01-01", periods=33, freq=freq, tz=zone)
    columns = Columns(group=None, freq=freq)
    assert ahead(series(times[:30]), columns) == [
        str(t).removesuffix(" 00:00:00") for t in times[30:]
    ]
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict())))
    assert again == columns and hash(again) == hash(columns)
    kept = np.r_[0, 2, 5:30]  # missing steps are missing, whatever the frequency
    panel = read_frame(series(times[kept]), columns)
    assert panel.present.tolist() == [i in kept for i in range(30)]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_frequency_says_what_a_short_history_cannot_show(library: str) -> None:
    week = LIBRARIES[library](series(days("2024-01-08", periods=5)))
    stocks = LIBRARIES[library](series(days("2024-01-01", periods=15, freq="B")))
    assert ahead(stocks, Columns(group=None, freq="B"), week)[0] == "2024-01-15"
    shops = LIBRARIES[library](series(days("2024-01-01", periods=30, freq=SHOP)))
    assert ahead(shops, Columns(group=None, freq=SHOP)) == [
        "2024-02-05",
        "2024-02-07",
        "2024-02-08",
    ]


@pytest.mark.parametrize(
    ("freq", "same"),
    [
        ("Mon Tue Wed Thu Fri Sat", {"weekmask": "Mon Tue Wed Thu Fri Sat"}),
        ('{"weekmask": "Mon Tue", "holidays": ["2024-01-01"]}', None),
        (pd.Timedelta("15min"), "15min"),
        (np.timedelta64(3, "h"), "3h"),
        (pd.DateOffset(days=2), "2D"),
        (np.int64(4), 4),
    ],
)
def test_frequencies_in_other_words(freq: Any, same: Any) -> None:
    columns = Columns(group=None, freq=freq)
    assert Columns.from_dict(columns.to_dict()) == columns
    if same is not None:
        times = range(0, 120, 4) if same == 4 else days("2024", periods=30, freq=_offset(same))
        other = Columns(group=None, freq=same)
        assert ahead(series(times), columns) == ahead(series(times), other)


def _offset(freq: Any) -> Any:
    return pd.offsets.CustomBusinessDay(**freq) if isinstance(freq, dict) else freq


@pytest.mark.parametrize(
    ("freq", "message"),
    [
        ("M", r"freq='M' is no frequency \(did you mean 'ME'\?\)"),
        ("often", r"freq='often' is no frequency; give an alias"),
        ("bh", "freq='bh' has no regular steps"),
        ("-1D", "freq='-1D' must go forward"),
        (0, "freq=0 must be a step of at least 1"),
        (True, "freq=True is no frequency"),
        (1.5, r"freq=1\.5 is no frequency"),
        (pd.DateOffset(months=1), "give 'MS', 'ME' or 'YS'"),
        ({"week": 1}, "'weekmask', 'holidays'"),
        ({"weekmask": "Foo"}, "Foo"),
        ("{weekmask}", "is not JSON"),
    ],
)
def test_what_is_no_frequency(freq: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Columns(freq=freq)


OFF = {
    "Saturday": (
        "B",
        [*days("2024-01-01", periods=30, freq="B"), pd.Timestamp("2024-01-13")],
        r"2024-01-13 \(a Saturday\) in column 'ds', which is not on the grid of Columns\(freq='B'",
        "2024-02-12",
    ),
    "Mondays": ("W-SUN", days("2024-01-01", periods=30, freq="W-MON"), "2024-01-01", "2024-07-29"),
    "ends": ("MS", days("2024-01-01", periods=30, freq="ME"), "2024-01-31", "2026-07-31"),
    "quarters": ("QS", days("2024-01-01", periods=30, freq="QS-FEB"), "2024-02-01", "2031-08-01"),
    "ten minutes": (
        "15min",
        days("2024", periods=30, freq="10min"),
        "00:10",
        "2024-01-01 05:00:00",
    ),
    "two": (3, range(0, 60, 2), "the time 2 in column 'ds'.* 3 from 0", "60"),
    "integers": ("D", range(30), "holds integers, which do not step by", "30"),
    "dates": (2, days("2024", periods=30), "holds dates, which do not step by", "2024-01-31"),
    "weekly": ("D", days("2024", periods=30, freq="W-WED"), "so 1 of 7 steps", "2024-07-31"),
    "every day": ("B", days("2024", periods=300), r"2024-01-06 \(a Saturday\)", "2024-10-27"),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", OFF)
def test_times_off_the_stated_grid(case: str, library: str) -> None:
    freq, times, message, first = OFF[case]
    frame, columns = LIBRARIES[library](series(times)), Columns(group=None, freq=freq)
    with pytest.raises(DataError, match=message) as caught:
        fit(frame, columns)
    scope = {"frame": frame, "columns": columns, "Columns": Columns, "pd": pd, "pl": pl, "pa": pa}
    exec(str(caught.value.remedy), scope)
    assert ahead(scope["frame"], scope["columns"])[0] == first


@pytest.mark.parametrize(
    ("week", "first"),
    [
        ("Mon Tue Wed Thu Fri Sat", "2024-02-05"),
        ("Sun Mon Tue Wed Thu", "2024-02-12"),
        ("Mon Wed Fri", "2024-03-11"),
        ("Sat Sun", "2024-04-20"),
    ],
)
def test_days_that_never_come_are_closed(week: str, first: str) -> None:
    offset = pd.offsets.CustomBusinessDay(weekmask=week)
    frame = series(days("2024-01-01", periods=30, freq=offset))
    assert ahead(frame)[0] == first
    assert ahead(frame, Columns(group=None, freq=week))[0] == first


def test_two_missing_sundays_are_missing_and_so_are_gaps_at_random() -> None:
    shop = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
    panel = read_frame(series(days("2024-01-01", periods=16, freq=shop)), PLAIN)
    assert int((~panel.present).sum()) == 2
    rng, found = np.random.default_rng(0), 0
    for _ in range(300):
        kept = rng.random(60) < 0.8
        found += read_frame(series(days("2024", periods=60)[kept]), PLAIN).clock.step[0] != "n"
    assert found == 0


@pytest.mark.parametrize("freq", ["BME", "BMS", "WOM-3FRI", "LWOM-MON", "BQE-NOV"])
def test_business_months_are_found(freq: str) -> None:
    times = days("2023", periods=15, freq=freq)
    assert ahead(series(times[:12])) == [str(t.date()) for t in times[12:]]


# --- series that share no step -------------------------------------------------------------------

APART = {
    "weeks": (days("2024", periods=40, freq="W-MON"), days("2024", periods=40, freq="W-SUN")),
    "weeks too": (days("2024", periods=40, freq="W-MON"), days("2024", periods=40, freq="W-WED")),
    "months": (days("2024", periods=40, freq="MS"), days("2024", periods=40, freq="ME")),
    "mid-months": (
        days("2024", periods=40, freq="MS"),
        days("2024", periods=40, freq="MS") + pd.Timedelta("14D"),
    ),
    "quarters": (days("2024", periods=40, freq="QS"), days("2024", periods=40, freq="QS-FEB")),
    "hours": (days("2024", periods=40, freq="h"), days("2024-01-01 00:30", periods=40, freq="h")),
    "integers": (range(0, 80, 2), range(1, 81, 2)),
}
FIRST = {
    "weeks": "2024-10-07",
    "weeks too": "2024-10-07",
    "months": "2027-05-01",
    "mid-months": "2027-05-01",
    "quarters": "2034-01-01",
    "hours": "2024-01-02 16:00:00",
    "integers": "80",
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", APART)
def test_series_of_two_anchors_are_named_and_the_remedy_brings_them_together(
    case: str, library: str
) -> None:
    frame = LIBRARIES[library](both(*APART[case]))
    with pytest.raises(DataError, match="series share no step in column 'ds'") as caught:
        fit(frame)
    for name, times in zip("ab", APART[case], strict=True):
        text = str(times[0]).removesuffix(" 00:00:00").replace(" ", "T")
        assert f"unique_id '{name}' steps by" in str(caught.value) and text in str(caught.value)
    scope = {"frame": frame, "pd": pd, "pl": pl, "pa": pa}
    exec(str(caught.value.remedy), scope | {"pc": pytest.importorskip("pyarrow.compute")}, scope)
    forecast = answer(fit(scope["frame"]).predict(scope["frame"]))
    assert forecast["unique_id"].tolist() == ["a"] * 3 + ["b"] * 3
    assert str(forecast["ds"].iloc[0]).removesuffix(" 00:00:00") == FIRST[case]


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_without_targets_hide_no_step(library: str) -> None:
    wide = both(*APART["weeks"]).pivot(index="ds", columns="unique_id", values="y")
    frame = LIBRARIES[library](wide.reset_index().melt("ds", value_name="y"))
    with pytest.raises(DataError, match=r"'a' steps by 7 days \(2024-01-01, 2024-01-08") as caught:
        fit(frame)
    scope = {"frame": frame, "pd": pd, "pl": pl, "pa": pa}
    exec(str(caught.value.remedy), scope | {"pc": pytest.importorskip("pyarrow.compute")}, scope)
    assert ahead(scope["frame"])[0] == FIRST["weeks"]


def test_steps_of_two_and_three_are_fitted_apart() -> None:
    with pytest.raises(DataError, match=r"'a' steps by 2 .* 'b' steps by 3 .*fit them apart"):
        fit(both(range(0, 80, 2), range(0, 120, 3)))


def test_a_weekly_series_beside_a_daily_one_is_told() -> None:
    frame = both(days("2024", periods=200), days("2024", periods=28, freq="W-MON"))
    with pytest.warns(
        CoarseSeriesWarning, match=r"unique_id 'b' is observed in 1 of 7 steps of 1 d"
    ):
        forecaster = fit(frame)
    assert str(forecaster.predict(frame[frame.ds < "2024-07-09"])["ds"][0].date()) == "2024-07-09"
    # The daily one may be short: it still has a step of its own.
    frame = both(days("2024", periods=100, freq="W-MON"), days("2024-03-01", periods=12))
    with pytest.warns(CoarseSeriesWarning, match="unique_id 'a' is observed in 1 of 7"):
        forecaster = fit(frame)
    with pytest.warns(SeriesDroppedWarning, match="'b'"):
        assert str(forecaster.predict(frame)["ds"][0].date()) == "2025-11-25"


def test_sparse_series_have_no_step_of_their_own() -> None:
    rng = np.random.default_rng(0)
    parts = [series(np.flatnonzero(rng.random(400) < 0.08), f"s{i}") for i in range(40)]
    assert read_frame(pd.concat(parts), PLAIN).clock.step.startswith("int/1/")


# --- frames that step otherwise than the fit -----------------------------------------------------

OTHERWISE = {
    "forty": (range(60), range(0, 2400, 40), r"frame steps by 40 .* the fit by 1, so 1 of 8 con"),
    "days": ("h", "D", "steps by 1 day in column 'ds', the fit by 1 hour, so 1 of 8 context"),
    "months": ("D", "MS", "steps by 1 month .* the fit by 1 day, so 1 of 8 context steps is"),
    "weeks": ("D", "W", "steps by 7 days .* the fit by 1 day, so 2 of 8 context steps are"),
    "quarters": ("MS", "QS", "steps by 3 months .* the fit by 1 month .*, so 3 of 8 context"),
    "mondays": ("B", "W-MON", "steps by 7 days .* the fit by 1 business day, so 2 of 8"),
    "business hours": ("h", "B", "steps by 1 business day .* the fit by 1 hour, so 1 of 8"),
    "ends": ("MS", "ME", "steps by 1 month at the month's end .* the fit by 1 month from"),
    "weekly into months": ("W", "MS", "steps by 1 month .* the fit by 7 days; fit at steps"),
    "daily into months": ("MS", "D", "steps by 1 day .* the fit by 1 month .*; fit at steps"),
}


@pytest.mark.parametrize("case", OTHERWISE)
@pytest.mark.parametrize("verb", ["predict", "val"])
def test_a_frame_of_another_step_is_refused(case: str, verb: str) -> None:
    fitted, here, message = OTHERWISE[case]
    fitted, here = (
        series(t if isinstance(t, range) else days("2024", periods=100, freq=t))
        for t in (fitted, here)
    )
    forecaster = fit(fitted)
    with pytest.raises(DataError, match=message) as caught:
        if verb == "val":
            forecaster.fit(fitted, val=here)
        else:
            forecaster.predict(here)
    scope = {"frame": here, "val": here, "columns": PLAIN}
    exec(str(caught.value.remedy), scope)
    forecast = forecaster.predict(scope["val" if verb == "val" else "frame"])
    ahead = pd.Series(forecast["ds"]).diff()[1:]
    assert (ahead == pd.Series(fit(fitted).predict(fitted)["ds"]).diff()[1]).any()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("scene", [None, "match"])
@pytest.mark.parametrize("dates", [True, False])
def test_a_finer_clock_is_thinned_by_the_remedy(library: str, scene: Any, dates: bool) -> None:
    columns = Columns(group=None, scene=scene)
    fine = days("2024", periods=61, freq="40ms") if dates else np.arange(61)
    parts = [series(fine[m:]).assign(match=m) for m in ((0, 1) if scene else (0,))]
    frame = LIBRARIES[library](pd.concat(parts, ignore_index=True))
    coarse = series(days("2024", periods=40, freq="200ms") if dates else range(0, 200, 5))
    forecaster = fit(coarse.assign(match=0), columns)
    with pytest.raises(
        DataError, match=r"0\.04 seconds .* 0\.2 sec|by 1 .* the fit by 5"
    ) as caught:
        forecaster.predict(frame)
    scope = {"frame": frame, "pd": pd, "pl": pl, "pa": pa}
    exec(str(caught.value.remedy), scope)
    forecast = answer(forecaster.predict(scope["frame"]))
    first = forecast.groupby("match")["ds"].min() if scene else forecast["ds"][:1]
    expected = [65, 61][: len(first)]
    if dates:
        assert list(first) == [fine[0] + pd.Timedelta(40 * n, "ms") for n in expected]
    else:
        assert list(first) == expected


def test_missing_steps_at_random_are_no_other_step() -> None:
    rng, frame = np.random.default_rng(1), series(range(60))
    step = read_frame(frame, PLAIN).clock.step
    for share in (0.9, 0.6, 0.4, 0.25, 0.15, 0.1):
        for _ in range(60):
            kept = np.sort(rng.permutation(60)[: max(2, int(60 * share))])
            panel = read_frame(frame.iloc[kept], PLAIN, step=step, context=8)
            assert int(panel.present.sum()) == len(kept)
    alone = pd.concat([series([7 * k], f"s{k}") for k in range(3)])
    assert read_frame(alone, PLAIN, step=step).present.sum() == 3


# --- integers that are dates, and inputs that nothing uses ---------------------------------------

DIGITS = {
    "months": (days("2021", periods=40, freq="MS").strftime("%Y%m"), "months", "2024-05-01"),
    "days": (days("2024-01-20", periods=40).strftime("%Y%m%d"), "days", "2024-02-29"),
    "quarters": ([f"{y}{q}" for y in range(2015, 2025) for q in "1234"], "quarters", "2025-01-01"),
    "0 quarters": (
        [f"{y}0{q}" for y in range(2015, 2025) for q in "1234"],
        "quarters",
        "2025-01-01",
    ),
    "weeks": (days("2023-06-04", periods=40, freq="W").strftime("%G%V"), "weeks", "2024-03-04"),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", DIGITS)
def test_integers_that_read_as_dates_are_converted(case: str, library: str) -> None:
    text, kind, first = DIGITS[case]
    frame = LIBRARIES[library](series([int(t) for t in text]))
    with pytest.raises(DataError, match=f"integers of column 'ds' read as {kind}.* end") as caught:
        fit(frame)
    scope = {"frame": frame, "pd": pd, "pl": pl, "pa": pa}
    exec(str(caught.value.remedy), scope)
    assert ahead(scope["frame"])[0] == first
    counted = read_frame(frame, Columns(group=None, freq=1))
    assert counted.times(np.array([0]), counted.cutoff)[0] == int(text[-1]) + 1


@pytest.mark.parametrize("start", [1990, 202301, 20240101, 1_700_000_000])
def test_counted_steps_are_no_dates(start: int) -> None:
    frame = series(range(start, start + 60))
    assert ahead(frame) == [str(start + 60 + i) for i in range(3)]


def test_known_that_nothing_uses_is_refused() -> None:
    frame = series(range(60))
    forecaster = fit(frame)
    with pytest.raises(FrameTypeError, match="expected a pandas DataFrame"):
        forecaster.predict(frame, known="nonsense")
    for verb in (
        forecaster.predict,
        forecaster.distribution,
        lambda f, **k: forecaster.sample(f, 2, **k),
    ):
        with pytest.raises(DataError, match="nothing in Columns uses it"):
            verb(frame, known=frame)
