"""Surfaces: their measures, which one is meant, and the same pictures on a dark background."""

from __future__ import annotations

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text

from hierforecast import plot
from hierforecast.errors import DataError
from hierforecast.plot.courts import GROUNDS
from hierforecast.plot.lines import FIELD, IIHF, NHL, field_lines, rink_lines
from hierforecast.plot.look import DARK, LIGHT, look, look_of, luminance
from hierforecast.plot.style import BALL, group_colors
from tests.plot.plays import crowd
from tests.plot.test_golden import DRAWN, figure_of


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def upright(lines: list[np.ndarray]) -> list[float]:
    """Where lines of two points stand that have one x."""
    return sorted(line[0, 0] for line in lines if len(line) == 2 and np.ptp(line[:, 0]) == 0)


def centers(lines: list[np.ndarray], radius: float) -> set[tuple[float, float]]:
    """Of the circles of a radius."""
    whole = [line for line in lines if len(line) > 60 and np.allclose(line[0], line[-1])]
    found = [(line.max(axis=0) + line.min(axis=0)) / 2 for line in whole
             if np.isclose(np.ptp(line[:, 0]) / 2, radius, rtol=0.01)]  # fmt: skip
    return {(round(float(x), 2) + 0.0, round(float(y), 2) + 0.0) for x, y in found}


def surface(ax) -> np.ndarray | None:
    """The two corners of the surface drawn, if there is one."""
    lines = [c for c in ax.collections if c.get_gid() == "surface"]
    return None if not lines else np.concatenate(lines[0].get_segments())


def test_a_rink_of_the_nhl():
    lines = rink_lines(NHL)
    boards = np.concatenate(lines["border"])
    assert boards.min(axis=0) == pytest.approx([-100, -42.5])
    assert boards.max(axis=0) == pytest.approx([100, 42.5])
    beyond = np.abs(boards) - [100 - 28, 42.5 - 28]
    round_ones = beyond[(beyond > 0).all(axis=1)]
    assert len(round_ones) > 80 and np.hypot(*round_ones.T) == pytest.approx(28)
    assert upright(lines["blue"]) == [-25, 25] and upright(lines["red"]) == [-89, 0, 89]
    goal_line = next(line for line in lines["red"] if len(line) == 2 and line[0, 0] == 89)
    assert np.abs(goal_line[:, 1]).max() < 42.5, "it ends at the round corner"
    ends = {(x, y) for x in (-69, 69) for y in (-22, 22)}
    assert centers(lines["red"], 15) == ends and centers(lines["blue"], 15) == {(0, 0)}
    assert centers(lines["red"], 1) == ends | {(x, y) for x in (-20, 20) for y in (-22, 22)}


def test_a_rink_of_the_iihf():
    lines = rink_lines(IIHF)
    assert np.concatenate(lines["border"]).max(axis=0) == pytest.approx([30, 15])
    assert upright(lines["blue"]) == pytest.approx([-7.14, 7.14])
    assert upright(lines["red"]) == [-26, 0, 26]
    assert centers(lines["red"], 4.5) == {(x, y) for x in (-20, 20) for y in (-7, 7)}
    ax = plot.draw_rink(plt.subplots()[1], rules="iihf", color="red", floor=None)
    drawn = [one for one in ax.collections if isinstance(one, LineCollection)]
    assert {to_hex(one.get_colors()[0]) for one in drawn} == {"#ff0000"} and not ax.patches
    assert ax.get_xlim()[0] < -30 and ax.get_xlim()[1] > 30
    assert len(plot.draw_rink(plt.subplots()[1]).patches) == 1
    with pytest.raises(DataError, match="'nhl' or 'iihf'"):
        plot.draw_rink(ax, rules="khl")


@pytest.mark.parametrize(
    ("low", "high", "n", "court", "name", "corner"),
    [
        ((-98, -41), (98, 41), 13, "auto", "ice", (-100, -42.5)),
        ((26, -41), (98, 41), 13, "auto", "ice", (-100, -42.5)),  # one zone
        ((-98, -41), (98, 41), 23, "auto", None, None),  # too many for a game on ice
        ((2, 2), (198, 83), 13, "auto", None, None),
        ((2, 2), (198, 83), 13, "ice", "ice", (0, 0)),
        ((-28, -14), (28, 14), 13, "auto", "soccer", (-52.5, -34)),  # as ever
        ((-28, -14), (28, 14), 13, "ice-iihf", "ice-iihf", (-30, -15)),
        ((2, 1), (58, 29), 13, "ice-iihf", "ice-iihf", (0, 0)),
        ((30, 14), (46, 48), 23, "auto", "nfl", (0, 0)),  # before the snap
        ((30, 14), (41, 48), 23, "auto", None, None),
        ((-8, -4), (15, 13), 13, "ice", "ice", (-100, -42.5)),
    ],
)
def test_which_rink_is_meant(low, high, n, court, name, corner):
    ax = plot.plot_rollout(crowd(low, high, leavers=0, n=n), court=court, labels=None)
    lines = [one for one in ax.collections if one.get_gid() == "surface"]
    assert bool(lines) == (name is not None)
    if name is None:
        return
    ground = next(g for g in GROUNDS if g.name == name and g.corner == corner)
    sizes = [text.get_text() for text in ax.texts if text.get_gid() == "size"]
    assert sizes == [f"{ground.size[0]:.0f} × {ground.size[1]:.3g} {ground.unit}"]
    if name != "soccer":
        points = np.concatenate([segment for one in lines for segment in one.get_segments()])
        assert points.min(axis=0) == pytest.approx(corner)
        assert np.ptp(points, axis=0) == pytest.approx(ground.size)


@pytest.mark.parametrize(
    ("low", "high", "cell"),
    [((0, 0), (15, 14), 2), ((-0.4, 0.1), (0.5, 0.3), 0.1), ((5.3e6, 0), (5.3e6 + 900, 80), 100)],
)
def test_neutral_ground_holds_all_that_is_drawn(low, high, cell):
    frame = crowd(low, high, leavers=0)
    ax = plot.plot_rollout(frame, court="grid", unit="m", labels=None)
    text = next(text.get_text() for text in ax.texts if text.get_gid() == "size")
    assert text == f"squares of {cell:g} m"
    (grid,) = (one for one in ax.collections if one.get_gid() == "surface")
    points = np.concatenate(grid.get_segments())
    assert (points / cell).round(6) % 1 == pytest.approx(0)
    shown = frame[["x", "y"]].to_numpy()[-80:]
    assert (points.min(axis=0) <= shown.min(axis=0)).all()
    assert (points.max(axis=0) >= shown.max(axis=0)).all()
    one = plot.plot_rollout(frame[(frame.unique_id == 0) & (frame.ds == 0)], court="grid")
    assert next(t.get_text() for t in one.texts if t.get_gid() == "size").endswith(" units")


@pytest.mark.parametrize(("court", "lines"), [("ice", 3), ("grid", 1), ("soccer", 1)])
def test_a_page_has_the_surface_in_two_shades(court, lines):
    frame = crowd((-30, -14), (30, 14), leavers=0)
    html = plot.rollout_page(frame, court=court, unit="ft").html
    found = json.loads(re.search(r'type="application/json">(.*?)</script>', html, re.S)[1])
    ground = found["ground"]
    assert len(ground["lines"]) == lines and len(ground["floor"]) == 2
    for (light, dark), points in ground["lines"]:
        assert luminance(light) > 0.3 > luminance(dark) and len(points[0][0]) == 2
    (x0, y0), (x1, y1) = np.min(ground["border"], axis=0), np.max(ground["border"], axis=0)
    assert [x0, y0, x1, y1] == pytest.approx(ground["box"], abs=0.01)
    assert ground["measure"].endswith("ft")


# Courts


@pytest.mark.parametrize(
    ("low", "high", "n", "name"),
    [
        ((2, 2), (92, 48), 11, "basketball"),
        ((50, 3), (93, 47), 11, "basketball"),  # one half
        ((-50, -33), (50, 33), 23, "soccer"),
        ((2, 1), (103, 67), 23, "soccer"),
        ((20, 4), (115, 50), 23, "nfl"),
        ((0, 0), (15, 14), 11, None),  # pedestrians, metres
        ((-8, -4), (15, 13), 11, None),
        ((0, 0), (28, 15), 11, None),  # a court in metres
        ((0, 0), (1, 1), 11, None),
        ((0, 0), (1920, 1080), 11, None),
        ((-122.5, 37.7), (-122.4, 37.8), 11, None),
        ((5.3e6, 4.5e5), (5.3e6 + 90, 4.5e5 + 45), 11, None),
        ((2, 2), (92, 48), 40, "nfl"),  # too many for basketball
        ((2, 2), (92, 48), 60, None),
    ],
)
def test_a_court_is_drawn_where_positions_fit_one(low, high, n, name):
    frame = crowd(low, high, leavers=0, n=n)
    ax = plot.plot_rollout(frame, labels=None)
    lines, ground = surface(ax), next((g for g in GROUNDS if g.name == name), None)
    assert (lines is None) == (ground is None)
    sizes = [text.get_text() for text in ax.texts if text.get_gid() == "size"]
    if ground is None or lines is None:
        assert ax.axison and (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y") and not sizes
        return
    goals = [2 * 2.0, 0] if name == "soccer" else [0, 0]  # the nets stand behind the lines
    assert np.ptp(lines, axis=0) == pytest.approx(np.array(ground.size) + goals)
    xy = frame[["x", "y"]].to_numpy()
    assert (lines.min(axis=0) <= xy.min(axis=0)).all() and (
        lines.max(axis=0) >= xy.max(axis=0)
    ).all()
    assert sizes == [f"{ground.size[0]:.0f} × {ground.size[1]:.3g} {ground.unit}"]
    assert surface(plot.plot_rollout(frame, court=None)) is None


def test_lines_of_a_field():
    lines = np.concatenate(field_lines())
    assert lines.min(axis=0) == pytest.approx([0, 0]) and lines.max(axis=0) == pytest.approx(FIELD)
    across = {line[0, 0] for line in field_lines() if np.ptp(line[:, 1]) > 50 and len(line) == 2}
    assert across == set(range(10, 111, 5))
    ax = plot.draw_field(plt.subplots()[1])
    assert ax.get_xlim() == (-3, 123)


# Dark


def contrast(one: object, other: object) -> float:
    """Of two colors, 1 to 21 (WCAG 2.1)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def pictures() -> list[str]:
    return [name for name in DRAWN if name != "surfaces"]


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("name", pictures())
def test_every_text_of_every_picture_can_be_read(name, style):
    with plt.style.context(style):
        figure = figure_of(DRAWN[name]())
        figure.canvas.draw()
        paper = to_rgb(figure.get_facecolor())
        assert (luminance(paper) < 0.1) == (style == "dark_background")
        for text in figure.findobj(Text):
            inside = str(text.get_gid()).startswith("label/")  # of a dot, or beside it
            if text.get_text() and text.get_visible() and not inside:
                assert contrast(text.get_color(), paper) > 2.9, text.get_text()


def test_lines_that_are_ink_on_paper_are_light_on_dark():
    lines = {}
    for style in ("default", "dark_background"):
        with plt.style.context(style):
            ax = DRAWN["all"]()
            found = {one.get_gid(): one for one in ax.lines if one.get_gid()}
            lines[style] = found
            dots = [one for gid, one in found.items() if gid.startswith("now/home")]
            labels = {t.get_gid().split("/")[1]: t for t in ax.texts if "label" in str(t.get_gid())}
            for dot in dots:
                label = labels[dot.get_gid().split("/")[1]]
                assert contrast(label.get_color(), dot.get_markerfacecolor()) > 4.5
    light, dark = lines["default"], lines["dark_background"]
    assert light.keys() == dark.keys()
    assert light["truth/home_0"].get_color() == LIGHT.truth
    assert dark["truth/home_0"].get_color() == DARK.truth
    assert to_rgb(dark["truth-end/home_0"].get_markerfacecolor()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("paper", "axes", "dark"),
    [
        ("white", "white", False),
        ("#EAEAF2", "white", False),  # seaborn's
        ("black", "black", True),
        ("#1E2430", "none", True),
        ("white", "#101418", True),
        ("none", "none", False),
    ],
)
def test_what_is_behind_decides(paper, axes, dark):
    ax = plt.subplots(facecolor=paper)[1]
    ax.set_facecolor(axes)
    assert (look_of(ax).ink == DARK.ink) == dark
    behind = axes if axes != "none" else paper
    assert not dark or to_rgb(look_of(ax).paper) == to_rgb(behind)
    if paper == axes == "none":
        with plt.style.context("dark_background"):
            assert look_of(ax).ink == DARK.ink, "texts are light"
    plot.draw_court(ax)
    assert to_hex(ax.patches[0].get_facecolor()) == to_hex((DARK if dark else LIGHT).floors["wood"])
    assert look() is LIGHT, "only while it is drawn"


def test_a_failing_picture_leaves_the_look_as_it_was():
    with plt.style.context("dark_background"):
        ax = plt.subplots()[1]
        with pytest.raises(DataError):
            plot.plot_rollout(pd.DataFrame({"a": [1]}), ax=ax)
    assert look() is LIGHT


def test_a_puck_has_the_color_of_a_ball():
    assert group_colors(["home", "puck", "away"])["puck"] == BALL
