"""A matrix of series as a map, in blocks of groups."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from hierforecast.errors import DataError
from hierforecast.plot.labels import key_of, legible, text_of
from hierforecast.plot.look import look
from hierforecast.plot.style import FONT, move_apart, opened, scale_of, settle, size_of, write_title

Groups = Mapping[Any, Hashable] | Sequence[Hashable]
Block = tuple[Hashable | None, int, int]  # a group, and where it starts and stops
SQUARE = (9.0, 6.75)  # inches: a slide high; a square map would leave the rest of its width empty
MAX_LABELS = 40  # above this many series only the groups are named
LONGEST = 32  # characters of a name; longer ones would leave no room for the map


def draw_map(
    ax: Axes | None,
    matrix: np.ndarray,
    names: list[Hashable],
    groups: Groups | None,
    colors: Literal["diverging", "sequential"],
    label: str,
    members: bool | None,
    title: str | None,
) -> Axes:
    """Draw a matrix (N, N) of series, those of one group side by side.

    Args:
        ax: to draw on; None makes a new figure.
        matrix: NaN cells stay gray.
        names: of the series.
        groups: of the series.
        colors: of the look; of those that diverge 0 is in the middle.
        label: of the colors.
        members: as for `plot_correlation`.
        title: in bold.

    Raises:
        DataError: if names or groups do not fit the matrix.
    """
    if len(names) != len(matrix):
        raise DataError(f"{len(names)} labels do not fit a matrix of {len(matrix)} series")
    order, blocks = _blocks(names, groups)
    matrix, names = matrix[np.ix_(order, order)], [names[i] for i in order]
    if len(blocks) > 1 and (len(names) > MAX_LABELS if members is None else not members):
        matrix = _block_means(matrix, blocks)
    with opened(ax, SQUARE, layout="compressed") as drawn:
        scale = scale_of(drawn)
        low, high = _limits(matrix, symmetric=colors == "diverging")
        shades = getattr(look(), colors).with_extremes(bad=look().missing)
        image = drawn.imshow(matrix, cmap=shades, vmin=low, vmax=high, interpolation="nearest")
        for _, start, _ in blocks[1:]:
            for line in (drawn.axhline, drawn.axvline):
                line(start - 0.5, color=look().paper, linewidth=1.0 + 60 / (len(names) + 20))
        _ticks(drawn, names, len(blocks), scale)
        _name_blocks(drawn, blocks, len(names), scale)
        color_bar(drawn, image, label, scale)
        write_title(drawn, title)
        legible(drawn)
        if ax is not None:
            settle(drawn)
    return drawn


def _limits(matrix: np.ndarray, *, symmetric: bool) -> tuple[float, float]:
    """Of the colors: a tenth that holds every value on both sides of 0, or 0 to the largest."""
    if not symmetric:
        return 0.0, float(np.nanmax(matrix, initial=1e-9))
    limit = float(np.ceil(np.nanmax(np.abs(matrix), initial=0.1) * 10 - 1e-9) / 10)
    return -min(limit, 1.0), min(limit, 1.0)


def _block_means(matrix: np.ndarray, blocks: Sequence[Block]) -> np.ndarray:
    """The matrix (N, N) with the mean over each pair of blocks in all its cells, NaN left out."""
    out = np.full_like(matrix, np.nan)
    for _, top, bottom in blocks:
        for _, left, right in blocks:
            part = matrix[top:bottom, left:right]
            known = part[np.isfinite(part)]
            out[top:bottom, left:right] = known.mean() if len(known) else np.nan
    return out


def _name_blocks(ax: Axes, blocks: Sequence[Block], n: int, scale: float) -> None:
    """Group names on the right, moved apart where blocks are thin; the largest ones are named."""
    size = max(FONT["label"] * scale, 9) * (1 if len(blocks) < 8 else 0.85)
    line = 1.25 * size / (72 * size_of(ax)[1])
    named = sorted(blocks, key=lambda b: b[1] - b[2])[: max(int(1 / line), 1)]
    named = sorted((block for block in named if block[0] is not None), key=lambda b: b[1])
    centers = [1 - (start + stop) / 2 / n for _, start, stop in named]
    leader = {
        "arrowstyle": "-",
        "color": look().faint,
        "linewidth": 0.8,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    # From the bottom up, as `move_apart` keeps the order of what it moves.
    for (name, _, _), at, place in zip(named, centers, move_apart(centers, line), strict=True):
        ax.annotate(
            short(name), (1.0, at), xytext=(1.025, place), xycoords=ax.transAxes,
            textcoords=ax.transAxes, fontsize=size, fontweight="bold", color=look().ink,
            va="center", annotation_clip=False, arrowprops=leader,
        )  # fmt: skip


def short(name: Any) -> str:
    """A label that leaves room for the map."""
    text = text_of(name)
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def color_bar(ax: Axes, image: AxesImage, label: str, scale: float) -> None:
    """What the colors of an image are, beside it."""
    figure = ax.get_figure(root=True)
    assert figure is not None  # axes on show belong to one
    bar = figure.colorbar(image, ax=ax, shrink=0.5, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=FONT["tick"] * scale, labelcolor=look().muted)
    bar.set_label(label, color=look().muted, fontsize=FONT["label"] * scale)


def _blocks(names: list[Hashable], groups: Groups | None) -> tuple[list[int], list[Block]]:
    """Order that puts groups side by side, and where each group starts and stops."""
    if groups is None:
        return list(range(len(names))), [(None, 0, len(names))]
    if isinstance(groups, Mapping):
        known = {key_of(name): group for name, group in groups.items()}
        group = [known.get(name, "other") for name in names]
    else:
        group = list(groups)
    if len(group) != len(names):
        raise DataError(f"{len(group)} groups do not fit {len(names)} series")
    order = sorted(range(len(names)), key=lambda i: str(group[i]))
    blocks, start = [], 0
    for name, members in groupby(group[i] for i in order):
        stop = start + len(list(members))
        blocks.append((name, start, stop))
        start = stop
    return order, blocks


def _ticks(ax: Axes, names: list[Hashable], n_blocks: int, scale: float) -> None:
    ax.tick_params(length=0, labelcolor=look().muted)
    for side in ax.spines.values():
        side.set_visible(False)
    if len(names) > MAX_LABELS:
        ax.set_xticks([])
        ax.set_yticks([])
        text = f"{len(names)} series" + (f" in {n_blocks} groups" if n_blocks > 1 else "")
        ax.set_xlabel(text, color=look().muted, fontsize=FONT["tick"] * scale)
        return
    size = FONT["tick"] * scale * min(1.0, 0.55 + 8 / len(names))
    places = range(len(names))
    texts = [short(name) for name in names]
    ax.set_xticks(places, texts, rotation=90, fontsize=size)
    ax.set_yticks(places, texts, fontsize=size)
    if len(names) <= 25:
        ax.set_xticks(np.arange(len(names)) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(names)) - 0.5, minor=True)
        ax.grid(which="minor", color=look().faint, linewidth=0.4, alpha=0.5)
        ax.tick_params(which="minor", length=0)
