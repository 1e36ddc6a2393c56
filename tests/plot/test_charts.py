"""Fan charts, maps of correlations and errors: which series and groups are shown, and how."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from hierforecast import plot
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.plot.horizon import error_table
from hierforecast.plot.matrix import correlation_of
from tests.plot.plays import (
    T,
    _close,  # noqa: F401 (a fixture)
    forecast_of,
    in_all_libraries,
    play,
    save,
    stocks,
    story,
)


def band_width(ax) -> float:
    heights = [np.ptp(path.vertices[:, 1]) for c in ax.collections for path in c.get_paths()]
    return float(max(heights, default=0.0))


def test_group_fans_use_the_joint_samples(tmp_path):
    history, forecast, samples = stocks()
    axes = plot.plot_groups(history, forecast, samples=samples, title="Sectors")
    widths = [band_width(ax) for ax in axes]
    assert widths[0] < 1e-6  # two series that cancel: their mean is certain
    assert widths[1] > 1.25 * widths[2] > 1  # two that move as one against two that do not
    assert [band_width(ax) for ax in plot.plot_groups(history, forecast)] == [0, 0, 0]
    total = plot.plot_groups(history, samples=samples, aggregate="sum")
    assert band_width(total[2]) == pytest.approx(2 * widths[2], rel=0.01)
    line = next(a for a in total[0].lines if a.get_gid() == "past")
    assert line.get_ydata()[-1] == 50
    save(axes[0], tmp_path / "groups.png")


def test_fan_charts_choose_series_and_levels(tmp_path):
    history, forecast, samples = stocks()
    axes = plot.plot_forecast(history, forecast, groups=["b", "c"], max_series=3)
    assert [ax.get_title(loc="left") for ax in axes] == ["b0", "b1", "c0"]
    axes = plot.plot_forecast(history, forecast, ids=["c1", "a0"], context=5, levels=[80])
    assert [ax.get_title(loc="left") for ax in axes] == ["c1", "a0"]
    lines = {a.get_gid(): a for a in axes[0].lines}
    assert len(lines["past"].get_xdata()) == 5
    assert len(lines["forecast"].get_xdata()) == 4 + 1
    assert band_width(axes[0]) == pytest.approx(3)
    words = [text.get_text() for text in axes[0].get_figure().legends[0].get_texts()]
    assert words == ["history", "forecast", "80 %"]
    axes = plot.plot_forecast(history, forecast, samples=samples, levels=[50, 90])
    assert len(axes) == 6 and len(axes[0].collections) == 2
    save(axes[0], tmp_path / "fan.png")


def test_correlation_of_known_samples(tmp_path):
    history, _, samples = stocks()
    ax = plot.plot_correlation(samples, history=history)
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert np.isnan(np.diag(drawn)).all()
    assert drawn[0, 1] == pytest.approx(-1) and drawn[2, 3] == pytest.approx(1)
    assert abs(drawn[4, 5]) < 0.2
    assert ax.images[0].get_clim() == (-1, 1)
    assert {"a", "b", "c"} <= {text.get_text() for text in ax.texts}
    mixed = plot.plot_correlation(samples, ["c0", "a0", "b0", "a1"], list("caba"))
    assert [t.get_text() for t in mixed.get_yticklabels()] == ["a0", "a1", "b0", "c0"]
    matrix = np.corrcoef(np.random.default_rng(0).normal(size=(60, 90)))
    wide = plot.plot_correlation(matrix, groups=["g"] * 60, title="Sixty")
    assert not wide.get_yticklabels()
    save(ax, tmp_path / "correlation.png")


def test_correlation_does_not_depend_on_the_direction_of_the_axes():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(3, 50, 4, 2)) + rng.normal(size=(1, 50, 4, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert correlation_of(draws @ turn) == pytest.approx(correlation_of(draws))
    assert np.diag(correlation_of(draws)) == pytest.approx(1)
    single = draws[:, :, :1, :1]
    assert correlation_of(single) == pytest.approx(np.corrcoef(single[:, :, 0, 0]))


def test_attention_averages_heads():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 3))
    ax = plot.plot_attention(weights, ["a", "b", "c"], {"a": "u", "b": "v", "c": "u"})
    order = [0, 2, 1]
    assert np.asarray(ax.images[0].get_array()) == pytest.approx(
        weights.mean(axis=0)[np.ix_(order, order)]
    )


def test_errors_by_step_and_by_group(tmp_path):
    full = play(2)
    history = full[full.ds < T]
    table = forecast_of(history).drop(columns=["M_x-lo-90", "M_x-hi-90"])
    table = table.merge(full.drop(columns="team")).assign(cutoff=T - 1)
    table["Far_x"], table["Far_y"] = table.x + 3, table.y + 4
    table.loc[table.index[0], ["x", "y"]] = np.nan  # a cell without truth does not count
    errors = error_table(table)
    assert list(errors.columns) == ["M", "Far"] and list(errors.index) == [1, 2, 3, 4]
    assert errors["M"].is_monotonic_increasing
    assert errors["Far"].to_numpy() == pytest.approx(5)
    ax = plot.plot_errors(table, unit="ft")
    assert [text.get_text().split()[0] for text in ax.texts] == ["M", "Far"]
    assert "ft" in ax.get_ylabel()
    ax = plot.plot_errors(table, by="team", history=full)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["away", "ball", "home"]
    save(ax, tmp_path / "errors.png")


# P4: maps of many series


def cut_off(figure) -> list[str]:
    """Texts that reach beyond the figure, as it is saved first."""
    figure.savefig(io.BytesIO(), dpi=figure.dpi)
    renderer, (right, top) = figure.canvas.get_renderer(), figure.bbox.max
    found = []
    for text in figure.findobj(Text):
        box = text.get_window_extent(renderer)
        inside = min(box.x0, box.y0) >= -1 and box.x1 <= right + 1 and box.y1 <= top + 1
        found += [text.get_text()] if text.get_visible() and text.get_text() and not inside else []
    return found


@pytest.mark.parametrize(
    ("n", "n_groups", "title"),
    [(6, 1, "A title"), (12, 4, None), (30, 3, "A title"), (304, 11, None)],
)
def test_no_name_of_a_map_is_cut_on_the_first_drawing(n, n_groups, title):
    names = [f"A rather long name of {i}" for i in range(n)]
    groups = [f"Consumer Discretionary {i % n_groups}" for i in range(n)]
    matrix = np.corrcoef(np.random.default_rng(0).normal(size=(n, 20)))
    ax = plot.plot_correlation(matrix, names, groups, title=title)
    assert cut_off(ax.figure) == []
    _, own = plt.subplots(figsize=(9, 6.75), layout="constrained")
    assert cut_off(plot.plot_correlation(matrix, names, groups, own, title=title).figure) == []


def test_of_many_series_the_groups_are_shown():
    rng = np.random.default_rng(0)
    n, group = 304, np.sort(rng.choice([*"abcdefghij", "a tiny one"], 304))
    group[group == "a tiny one"] = "a"
    group[100] = "a tiny one"
    matrix = np.corrcoef(
        rng.normal(size=(n, 50))
        + rng.normal(size=(11, 50))[group.astype("S").view("u1").reshape(n, -1)[:, 0] % 11]
    )
    ax = plot.plot_correlation(matrix, [f"series {i}" for i in range(n)], list(group))
    assert {t.get_text() for t in ax.texts} == set(group) and len(set(group)) == 11
    assert not ax.get_xticklabels() and not ax.get_yticklabels()
    assert ax.get_xlabel() == "304 series in 11 groups"
    assert len(ax.lines) == 2 * 10  # separators
    shown = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    places = np.sort(group)
    a, b = np.flatnonzero(places == "b"), np.flatnonzero(places == "c")
    order = np.argsort(group, kind="stable")
    pairs = matrix[np.ix_(order[a], order[b])]
    assert shown[np.ix_(a, b)] == pytest.approx(pairs.mean())
    inner = matrix[np.ix_(order[a], order[a])]
    mean = (inner.sum() - np.trace(inner)) / (inner.size - len(inner))
    assert shown[np.ix_(a, a)] == pytest.approx(mean)
    single = plot.plot_correlation(matrix, groups=list(group), members=True).images[0].get_array()
    assert len(np.unique(np.asarray(single))) > 1000
    few = plot.plot_correlation(matrix[:6, :6], groups=list("aabbcc"), members=False)
    assert len(np.unique(np.asarray(few.images[0].get_array()).round(9))) == 6


# P8: groups of any level, and what is drawn


@in_all_libraries
def test_groups_of_every_level_choose_series(convert):
    history, forecast, _ = stocks()
    history["industry"] = history.unique_id.map(
        {"a0": "R", "a1": "S", "b0": "R", "b1": "T", "c0": "T", "c1": "c"}
    )
    columns = Columns(group=["sector", "industry"])
    given = {"history": convert(history), "forecast": convert(forecast), "columns": columns}
    for groups, wanted in (
        (["R"], ["a0", "b0"]),
        (["a", "T"], ["a0", "a1", "b1", "c0"]),
        ("c", ["c0", "c1"]),
    ):
        axes = plot.plot_forecast(**given, groups=groups)
        assert [ax.get_title(loc="left") for ax in axes] == wanted
        assert axes[0].figure._supylabel is None
    with pytest.raises(DataError, match=r"groups \['Q'\] are not in column 'sector' or 'industry'"):
        plot.plot_forecast(**given, groups=["R", "Q"])


def test_a_fan_chart_names_the_target_that_it_shows():
    history, forecast, _ = story()
    side = lambda axes: axes[0].figure._supylabel.get_text()  # noqa: E731
    assert side(plot.plot_forecast(history, forecast)) == "x"
    axes = plot.plot_forecast(history, forecast, target="y", unit="ft", ids=["home_0"])
    assert side(axes) == "y (ft)"
    line = next(a for a in axes[0].lines if a.get_gid() == "past")
    assert line.get_ydata() == pytest.approx(history[history.unique_id == "home_0"].y.to_numpy())
    assert side(plot.plot_groups(history, forecast, target="y")) == "mean of y"
