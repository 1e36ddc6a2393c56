"""The step of a frame: labels of wider types, series and frames of other steps, digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns
from hierforecast.errors import CoarseSeriesWarning, DataError, SeriesDroppedWarning
from hierforecast.frame import read_frame
from tests.frames import (
    LIBRARIES,
    PLAIN,
    ahead,
    both,
    days,
    fit,
    mend,
    mended,
    series,
    to_pandas,
    type_of,
    values_of,
)

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
    assert to_pandas(forecast)["ds"].tolist() == [top, top + 1, top + 2]
    bits = int(kind.strip("uint")) * 2
    dtype = str(type_of(forecast))
    assert str(bits) in dtype and dtype.lower().startswith(kind.strip("0123456789"))
    early = given[:20] if library != "pyarrow" else given.slice(0, 20)
    back = forecaster.predict(early)  # all labels fit, so the type stays
    assert type_of(back) == type_of(given)
    past = to_pandas(forecaster.backtest(given))
    assert past["cutoff"].tolist() == [int(t) - 1 - (int(t) - top) % 3 for t in past["ds"]]


@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_the_end_of_64_bits_is_an_error_whose_remedy_runs(kind: str, to: Any) -> None:
    top = int(np.iinfo(kind).max)
    frame = to(series(np.arange(top - 27, top, dtype=kind)))
    message = r"column 'ds'.* beyond 64-bit integers"
    scope = mended(message, lambda: fit(frame).predict(frame), frame=frame)
    assert ahead(scope["frame"]) == ["27", "28", "29"]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_dates_beyond_nanoseconds_come_in_microseconds(to: Any, zone: str | None) -> None:
    times = days("2232", periods=30, freq="YS", tz=zone).as_unit("ns")
    forecast = fit(to(series(times))).predict(to(series(times)))
    expected = days("2262", periods=3, freq="YS", tz=zone, unit="us")
    dtype = str(type_of(forecast))
    assert "us" in dtype and (zone is None or zone in dtype)
    assert [pd.Timestamp(t) for t in values_of(forecast)] == expected.tolist()


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_nanoseconds_may_span_more_than_64_bits_count(to: Any, zone: str | None) -> None:
    times = days("1700", periods=309, freq="YS", tz=zone)
    frame, finer = series(times), series(times.as_unit("ns"))
    forecast = fit(to(finer)).predict(to(finer))
    expected = fit(frame).predict(frame)
    assert [pd.Timestamp(t) for t in values_of(forecast)] == expected["ds"].tolist()
    answer = [c for c in expected.columns if c not in ("unique_id", "ds")]
    np.testing.assert_array_equal(to_pandas(forecast)[answer], expected[answer])


# --- series that share no step -------------------------------------------------------------------


def forty(freq: str, start: str = "2024") -> pd.DatetimeIndex:
    return days(start, periods=40, freq=freq)


# The times of two series, and the first label of the forecast after the remedy.
APART = {
    "weeks": (forty("W-MON"), forty("W-SUN"), "2024-10-07"),
    "weeks too": (forty("W-MON"), forty("W-WED"), "2024-10-07"),
    "months": (forty("MS"), forty("ME"), "2027-05-01"),
    "mid-months": (forty("MS"), forty("MS") + pd.Timedelta("14D"), "2027-05-01"),
    "quarters": (forty("QS"), forty("QS-FEB"), "2034-01-01"),
    "hours": (forty("h"), forty("h", "2024-01-01 00:30"), "2024-01-02 16:00:00"),
    "integers": (range(0, 80, 2), range(1, 81, 2), "80"),
}


@pytest.mark.parametrize("case", APART)
def test_series_of_two_anchors_are_named_and_the_remedy_brings_them_together(
    case: str, to: Any
) -> None:
    *apart, first = APART[case]
    frame = to(both(*apart))
    with pytest.raises(DataError, match="series share no step in column 'ds'") as caught:
        fit(frame)
    for name, times in zip("ab", apart, strict=True):
        text = str(times[0]).removesuffix(" 00:00:00").replace(" ", "T")
        assert f"unique_id '{name}' steps by" in str(caught.value) and text in str(caught.value)
    scope = mend(caught.value, frame=frame)
    forecast = to_pandas(fit(scope["frame"]).predict(scope["frame"]))
    assert forecast["unique_id"].tolist() == ["a"] * 3 + ["b"] * 3
    assert str(forecast["ds"].iloc[0]).removesuffix(" 00:00:00") == first


def test_rows_without_targets_hide_no_step(to: Any) -> None:
    wide = both(*APART["weeks"][:2]).pivot(index="ds", columns="unique_id", values="y")
    frame = to(wide.reset_index().melt("ds", value_name="y"))
    message = r"'a' steps by 7 days \(2024-01-01, 2024-01-08"
    scope = mended(message, lambda: fit(frame), frame=frame)
    assert ahead(scope["frame"])[0] == APART["weeks"][2]


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
    calls = {
        "predict": lambda: forecaster.predict(here),
        "val": lambda: forecaster.fit(fitted, val=here),
    }
    scope = mended(message, calls[verb], frame=here, val=here, columns=PLAIN)
    forecast = forecaster.predict(scope["val" if verb == "val" else "frame"])
    ahead = pd.Series(forecast["ds"]).diff()[1:]
    assert (ahead == pd.Series(fit(fitted).predict(fitted)["ds"]).diff()[1]).any()


@pytest.mark.parametrize("scene", [None, "match"])
@pytest.mark.parametrize("dates", [True, False])
def test_a_finer_clock_is_thinned_by_the_remedy(to: Any, scene: Any, dates: bool) -> None:
    columns = Columns(group=None, scene=scene)
    fine = days("2024", periods=61, freq="40ms") if dates else np.arange(61)
    parts = [series(fine[m:]).assign(match=m) for m in ((0, 1) if scene else (0,))]
    frame = to(pd.concat(parts, ignore_index=True))
    coarse = series(days("2024", periods=40, freq="200ms") if dates else range(0, 200, 5))
    forecaster = fit(coarse.assign(match=0), columns)
    message = r"0\.04 seconds .* 0\.2 sec|by 1 .* the fit by 5"
    scope = mended(message, lambda: forecaster.predict(frame), frame=frame)
    forecast = to_pandas(forecaster.predict(scope["frame"]))
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


@pytest.mark.parametrize("case", DIGITS)
def test_integers_that_read_as_dates_are_converted(case: str, to: Any) -> None:
    text, kind, first = DIGITS[case]
    frame = to(series([int(t) for t in text]))
    message = f"integers of column 'ds' read as {kind}.* end"
    scope = mended(message, lambda: fit(frame), frame=frame)
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
    with pytest.raises(DataError, match="nothing in Columns uses it"):
        forecaster.predict(frame, known="nonsense")
    for verb in (
        forecaster.predict,
        forecaster.distribution,
        lambda f, **k: forecaster.sample(f, 2, **k),
    ):
        with pytest.raises(DataError, match="nothing in Columns uses it"):
            verb(frame, known=frame)
