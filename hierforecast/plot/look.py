"""Colors that depend on what is behind a picture: the same picture is drawn on white and on black.

Groups keep their hue on both; see `style`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgb, to_rgba

DARKEST = 0.25  # luminance of a background; below it pictures are light on dark


@dataclass(frozen=True)
class Look:
    """Colors on a background.

    Args:
        ink, muted, faint: of texts and lines, from strong to weak.
        paper: the background, of which hollow marks and edges of dots are.
        truth: of what happened.
        between: of lines that join dots.
        missing: of cells of a map that hold nothing.
        tones: of groups, where the usual one would be too dark.
        strength: of tints; 1 mixes as much of the paper in as is asked for.
        floors: of surfaces, by material; None for none.
        pens: of the lines on surfaces, by material or by a name of their own.
        diverging, sequential: of maps, from the negative or the small to the positive or large.
    """

    ink: str
    muted: str
    faint: str
    paper: str
    truth: str
    between: str
    missing: str
    tones: Mapping[str, str]
    strength: float
    floors: Mapping[str, str | None]
    pens: Mapping[str, str]
    diverging: Colormap
    sequential: Colormap


def _colormap(name: str, *colors: str) -> Colormap:
    return LinearSegmentedColormap.from_list(name, colors)


# Of each color, on white and on black.
_COLORS: dict[str, tuple[Any, Any]] = {
    "ink": ("#1F2630", "#E6E9EF"),
    "muted": ("#6B7280", "#9AA3B2"),
    "faint": ("#D5D9E0", "#39404C"),
    "paper": ("white", "#14181F"),
    "truth": ("#4A5360", "#C3CAD6"),
    "between": ("#C9CED6", "#4A5261"),
    "missing": ("#E6E8EC", "#2A303A"),
    "tones": ({}, {"#0072B2": "#3E9CDD", "#B0528F": "#CC79A7", "#7A5C3E": "#B08D6A"}),
    "strength": (1.0, 0.75),
    "diverging": (
        _colormap(
            "vermilion_blue",
            *("#003E66", "#0072B2", "#9CC7E3", "#F7F7F5", "#F6B88C", "#D55E00", "#7A3400"),
        ),
        _colormap(
            "vermilion_blue_dark",
            *("#BFE3F7", "#56B4E9", "#0B5C8E", "#1D222A", "#9A4A0C", "#F08A3C", "#FFD9B8"),
        ),
    ),
    "sequential": (
        _colormap("blues", "#F7F9FB", "#9CC7E3", "#0072B2", "#00294A"),
        _colormap("blues_dark", "#1D222A", "#0B5C8E", "#56B4E9", "#E3F3FC"),
    ),
}
_FLOORS = {
    "wood": ("#FBF8F3", "#231E17"),
    "grass": ("#F4F8F3", "#14201A"),
    "ice": ("#F5FAFD", "#141F28"),
    "paper": (None, None),
}
_PENS = {
    "wood": ("#D8CFC0", "#554936"),
    "grass": ("#BFD0C1", "#375042"),
    "ice": ("#BACAD6", "#3F5363"),
    "paper": ("#D9DDE4", "#39414E"),
    "red": ("#E5B5AE", "#7C3F38"),
    "blue": ("#AEC4E4", "#3A5A8C"),
}
LIGHT, DARK = (
    Look(
        **{name: colors[side] for name, colors in _COLORS.items()},
        floors={name: colors[side] for name, colors in _FLOORS.items()},
        pens={name: colors[side] for name, colors in _PENS.items()},
    )
    for side in (0, 1)
)
_now: ContextVar[Look] = ContextVar("look", default=LIGHT)


def look() -> Look:
    """The colors of the picture that is being drawn."""
    return _now.get()


@contextmanager
def looking(ax: Axes) -> Iterator[None]:
    """Draw in the colors that suit what is behind these axes."""
    before = _now.set(look_of(ax))
    try:
        yield
    finally:
        _now.reset(before)


def look_of(ax: Axes) -> Look:
    """Light on dark for axes on a dark background, else dark on light.

    Where neither the axes nor the figure have a color, matplotlib's color of texts tells.
    """
    figure = ax.get_figure()
    for patch in (ax.patch, None if figure is None else figure.patch):
        if patch is not None and to_rgba(patch.get_facecolor())[3] > 0.5:
            behind = to_rgb(patch.get_facecolor()[:3])
            return replace(DARK, paper=to_hex(behind)) if luminance(behind) < DARKEST else LIGHT
    return DARK if luminance(mpl.rcParams["text.color"]) > 1 - DARKEST else LIGHT


def tone(color: str) -> str:
    """A color of `style` as it is on the background of the picture that is being drawn."""
    return look().tones.get(color, color)


def luminance(color: Any) -> float:
    """Relative luminance, 0 for black and 1 for white (WCAG 2.1)."""
    part = np.array(to_rgb(color))
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
