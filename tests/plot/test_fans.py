"""Fan charts of series with gaps, and of totals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import plot
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from tests.plot.plays import (
    _close,  # noqa: F401 (a fixture)
    in_all_libraries,
    stocks,
)

DAYS = pd.date_range("2020-01-01", periods=30)


def lines(ax: Any) -> dict[str, Any]:
    return {str(a.get_gid()): a for a in ax.lines}


def broken_at(ax: Any, name: str = "past") -> np.ndarray:
    """The times after which a line is broken."""
    line = lines(ax)[name]
    return np.asarray(line.get_xdata())[np.isnan(line.get_ydata())]


@pytest.mark.parametrize("how", ["no rows", "NaN"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_line_is_broken_where_its_series_was_not_observed(how: str, alone: bool):
    history, forecast, _ = stocks()
    closed = (history.unique_id == "b0") & history.ds.between(DAYS[15], DAYS[21])
    history = history[~closed] if how == "no rows" else history.assign(y=history.y.mask(closed))
    frames = history, forecast, history.assign(ds=history.ds + pd.Timedelta("4D"))
    if alone:
        frames = tuple(frame[frame.unique_id == "b0"] for frame in frames)
    ax = plot.plot_forecast(*frames, ids=["b0"])[0]
    assert broken_at(ax).tolist() == [DAYS[14]]
    dotted = lines(ax)["past-gap"]
    assert dotted.get_xdata()[:2].tolist() == [DAYS[14], DAYS[22]]
    assert dotted.get_ydata()[:2].tolist() == [14, 22] and dotted.is_dashed()
    if not alone:
        other = plot.plot_forecast(*frames, ids=["b1"])[0]
        assert not len(broken_at(other)) and "past-gap" not in lines(other)


def test_a_single_observation_between_gaps_is_reached_by_dots():
    history, forecast, _ = stocks()
    one = (history.unique_id == "a0") & (history.ds.dt.day.isin([18, 20]))
    ax = plot.plot_forecast(history[~one], forecast, ids=["a0"])[0]
    assert len(broken_at(ax)) == 2
    xy = pd.DataFrame(lines(ax)["past-gap"].get_xydata()).dropna()
    assert xy[1].tolist() == [16, 18, 18, 20]


@pytest.mark.parametrize("freq", ["B", "MS", "W", "h"])
def test_weekends_and_months_are_no_gaps(freq: str):
    days = pd.date_range("2020-01-01", periods=60, freq=freq)
    history = pd.DataFrame({"unique_id": "a", "ds": days[:56], "y": np.arange(56.0)})
    forecast = pd.DataFrame({"unique_id": "a", "ds": days[56:], "M": 1.0})
    ax = plot.plot_forecast(history, forecast)[0]
    assert not len(broken_at(ax)) and len(lines(ax)["forecast"].get_xdata()) == 5


def test_all_panels_show_the_same_steps():
    history, forecast, _ = stocks()
    closed = (history.unique_id == "b0") & history.ds.between(DAYS[15], DAYS[21])
    axes = plot.plot_forecast(history[~closed], forecast, context=16)
    begin = {lines(ax)["past"].get_xdata()[0] for ax in axes}
    assert begin == {DAYS[10]}


@pytest.mark.parametrize("draw", [plot.plot_forecast, plot.plot_groups])
def test_nothing_is_joined_over_a_gap(draw: Any):
    history, forecast, _ = stocks()
    truth = history.assign(ds=history.ds + pd.Timedelta("4D"))
    for last, n in ((25, 5), (24, 4), (12, 4)):
        axes = draw(history[history.ds <= DAYS[last]], forecast, truth)
        for name in ("forecast", "truth"):
            assert len(lines(axes[0])[name].get_xdata()) == n
        begin = [p.vertices[:, 0].min() for c in axes[0].collections for p in c.get_paths()]
        assert all(x == axes[0].xaxis.convert_units(DAYS[30 - n]) for x in begin)


def totals(by: list[str], how: str = "sum") -> list[pd.DataFrame]:
    """A history, its truth, and what was forecast and drawn of their totals."""
    history, forecast, samples = (frame.assign(scene=7) for frame in stocks())
    forecast, samples = (
        frame.assign(sector=frame.unique_id.str[0]) for frame in (forecast, samples)
    )
    keys = ["scene", *by, "ds"]
    answer = forecast.groupby(keys, as_index=False)[["M", "M-lo-80", "M-hi-80"]].agg(how)
    draws = samples.groupby([*keys, "sample_id"], as_index=False)[["M"]].agg(how)
    return [history, history.assign(ds=history.ds + pd.Timedelta("4D")), answer, draws]


@pytest.mark.parametrize(("by", "how"), [("sector", "sum"), (["sector"], "mean"), ((), "sum")])
@in_all_libraries
def test_totals_are_drawn_with_the_sum_of_the_history(convert: Any, by: Any, how: str):
    names = [by] if by == "sector" else [*by]
    history, truth, answer, draws = totals(names, how)
    frames = [convert(frame) for frame in (history, answer, truth)]
    axes = plot.plot_forecast(*frames, by=by, how=how)
    assert [ax.get_title(loc="left") for ax in axes] == (["a", "b", "c"] if names else ["total"])
    size = 1 if how == "mean" else 2 if names else 6
    found = lines(axes[0])
    assert found["past"].get_ydata().tolist() == [size * float(i) for i in range(10, 26)]
    assert found["truth"].get_ydata()[1:].tolist() == [size * float(i) for i in range(22, 26)]
    assert found["forecast"].get_ydata()[1:] == pytest.approx(answer.M.to_numpy()[:4])
    high = max(p.vertices[:, 1].max() for c in axes[0].collections for p in c.get_paths())
    assert high == pytest.approx(answer["M-hi-80"][:4].max())
    assert axes[0].figure._supylabel.get_text() == f"{how} of y"
    axes = plot.plot_forecast(*frames[:2], samples=convert(draws), by=by, how=how, levels=[60])
    assert len(axes[0].collections) == 1
    if names:
        axes = plot.plot_forecast(*frames, by=by, ids=["c"])
        assert [ax.get_title(loc="left") for ax in axes] == ["c"]


def test_what_is_wrong_with_totals_is_said():
    history, _, answer, _ = totals(["sector"])
    single = stocks()[1].assign(scene=7)
    columns = Columns(group="sector", scene="scene")
    for draw, match in (
        (lambda: plot.plot_forecast(history, answer), r"no column 'unique_id'.*by=\.\.\."),
        (lambda: plot.plot_groups(history, answer, columns=columns), r"no column 'unique_id'.*by="),
        (lambda: plot.plot_forecast(history, single, by="sector"), r"'sector'.*predict\(by="),
        (lambda: plot.plot_forecast(history, single, by=()), r"not of by=\[\]: give what predict"),
        (lambda: plot.plot_forecast(history, answer, by="sector", how="max"), "'mean' or 'sum'"),
        (
            lambda: plot.plot_forecast(history, answer, by="sector", groups=["a"]),
            "leave them or by",
        ),
        (lambda: plot.plot_forecast(history, answer, by="sector", ids=["q"]), r"ids \['q'\]"),
        (
            lambda: plot.plot_calibration(answer),
            r"\(forecaster.report_.coverage\)$",
        ),
    ):
        with pytest.raises(DataError, match=match):
            draw()
