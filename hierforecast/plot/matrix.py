"""Maps between series: how forecasts move together, and who attends to whom."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.image import AxesImage

from hierforecast.errors import DataError
from hierforecast.plot.frames import (
    Frame,
    choose_scene,
    model_columns,
    names_of,
    need,
    pick,
    roles_of,
    where_in,
)
from hierforecast.plot.style import (
    DIVERGING,
    FAINT,
    FONT,
    INK,
    MUTED,
    SEQUENTIAL,
    new_axes,
    scale_of,
)

if TYPE_CHECKING:
    from hierforecast.frame import Columns

Groups = Mapping[Any, Hashable] | Sequence[Hashable]
SQUARE = (9.0, 6.75)  # inches: a slide high; a square map would leave the rest of its width empty
MAX_LABELS = 40  # above this many series only the groups are named


def plot_correlation(
    samples: Frame | np.ndarray,
    labels: Sequence[Hashable] | None = None,
    groups: Groups | None = None,
    ax: Axes | None = None,
    *,
    history: Frame | None = None,
    step: int | str = "mean",
    scene: Hashable | None = None,
    columns: Columns | None = None,
    model: str | None = None,
    title: str | None = None,
) -> Axes:
    """How the series of a joint forecast move together.

    Args:
        samples: a frame of joint draws (`Forecaster.sample`), or a correlation matrix (N, N).
        labels: names of the rows of a matrix; of a frame, which series to show.
        groups: group of each series (mapping by name, or in the order of `labels`); orders the map.
        ax: axes to draw on; None makes a new figure.
        history: frame with the group column, instead of `groups`.
        step: forecast step from 0 (-1 is the last), or `"mean"`: pooled over all steps.
        scene, columns, model: as for `plot_rollout`.
        title: set in bold at the top left.

    Raises:
        DataError: for a missing column, a matrix that is not square, or labels that do not fit.
    """
    if isinstance(samples, np.ndarray):
        matrix = _square(samples)
        names = _names(labels, len(matrix))
        where = None
    else:
        roles = roles_of(columns, samples if history is None else history)
        where = choose_scene(samples, roles, scene, "samples") if roles.scene else None
        points = model_columns(samples, roles, model, "samples")
        wanted = [roles.id, roles.time, "sample_id", *points]
        table = pick(samples, wanted, "samples", where_in(samples, where))
        names, draws = _draws(table, roles.id, roles.time, points, labels)
        matrix = correlation_of(draws if step == "mean" else draws[:, :, [int(step)]])
    if groups is None and history is not None:
        group = roles_of(columns, history).group
        need(names_of(history), [group or "group"], "history")
        found = pick(history, [roles_of(columns, history).id, str(group)], "history").dropna()
        groups = dict(zip(found.iloc[:, 0], found.iloc[:, 1], strict=True))
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    limit = float(np.clip(np.ceil(np.nanmax(np.abs(off), initial=0.1) * 10) / 10, 0.1, 1.0))
    matrix = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    return _draw_map(ax, matrix, names, groups, DIVERGING, (-limit, limit), "correlation", title)


def plot_attention(
    weights: np.ndarray,
    labels: Sequence[Hashable] | None = None,
    groups: Groups | None = None,
    ax: Axes | None = None,
    *,
    title: str | None = None,
) -> Axes:
    """Who attends to whom: a row per query, a column per key.

    Args:
        weights: attention (N, N), or (..., N, N), then averaged over the leading axes (heads,
            steps).
        labels: names of the series.
        groups: group of each series (mapping, or in the order of `labels`); orders the map.
        ax: axes to draw on; None makes a new figure.
        title: set in bold at the top left.

    Raises:
        DataError: for weights that are not square, or labels that do not fit.
    """
    weights = np.asarray(weights, dtype=float)
    matrix = _square(weights.reshape(-1, *weights.shape[-2:]).mean(axis=0))
    names = _names(labels, len(matrix))
    limits = (0.0, float(np.nanmax(matrix, initial=1e-9)))
    return _draw_map(ax, matrix, names, groups, SEQUENTIAL, limits, "attention", title)


def correlation_of(draws: np.ndarray) -> np.ndarray:
    """Correlation (N, N) of series over joint draws (N, K, H, D), pooled over steps and targets.

    For D targets it is sum_d cov(a_d, b_d) / sqrt(sum_d var(a_d) * sum_d var(b_d)): between -1
    and 1, and the same however the coordinates are turned. Each step is centred by itself.
    """
    centred = draws - draws.mean(axis=1, keepdims=True)
    # Steps of equal weight: a late step would drown the early ones, its spread is larger.
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True).sum(axis=-1, keepdims=True))
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    flat = scaled.reshape(len(draws), -1)
    return flat @ flat.T / (draws.shape[1] * draws.shape[2])


def _draws(
    table: Any, id_: str, time: str, points: list[str], labels: Sequence[Hashable] | None
) -> tuple[list[Hashable], np.ndarray]:
    """Series names and their draws (N, K, H, D)."""
    ordered = table.sort_values([id_, "sample_id", time], kind="stable")
    names = list(dict.fromkeys(ordered[id_]))
    k, h = ordered["sample_id"].nunique(), ordered[time].nunique()
    if len(ordered) != len(names) * k * h:
        raise DataError(
            f"samples are not joint: {len(names)} series, {k} values of 'sample_id' and {h} of "
            f"{time!r} need {len(names) * k * h} rows, there are {len(ordered)}: give the frame "
            "that Forecaster.sample returned, of one scene"
        )
    draws = ordered[points].to_numpy(dtype=float).reshape(len(names), k, h, len(points))
    if labels is None:
        return names, draws
    unknown = [label for label in labels if label not in names]
    if unknown:
        raise DataError(f"labels {unknown[:5]!r} are not in column {id_!r} of the samples")
    return list(labels), draws[[names.index(label) for label in labels]]


def _names(labels: Sequence[Hashable] | None, size: int) -> list[Hashable]:
    return [*range(size)] if labels is None else list(labels)


def _square(matrix: np.ndarray) -> np.ndarray:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"expected a square matrix (N, N), got shape {matrix.shape}")
    return matrix.astype(float)


def _draw_map(
    ax: Axes | None,
    matrix: np.ndarray,
    names: list[Hashable],
    groups: Groups | None,
    colors: Colormap,
    limits: tuple[float, float],
    label: str,
    title: str | None,
) -> Axes:
    if len(names) != len(matrix):
        raise DataError(f"{len(names)} labels do not fit a matrix of {len(matrix)} series")
    order, blocks = _blocks(names, groups)
    matrix, names = matrix[np.ix_(order, order)], [names[i] for i in order]
    ax = new_axes(SQUARE) if ax is None else ax
    scale = scale_of(ax)
    image = ax.imshow(
        matrix,
        cmap=colors.with_extremes(bad="#E6E8EC"),
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    for name, start, stop in blocks:
        if start:
            for line in (ax.axhline, ax.axvline):
                line(start - 0.5, color="white", linewidth=1.0 + 60 / (len(names) + 20))
        if name is not None and (stop - start) * 34 >= len(names):
            ax.text(
                1.012, 1 - (start + stop) / 2 / len(names), str(name), transform=ax.transAxes,
                fontsize=max(FONT["label"] * scale, 9) * (1 if len(blocks) < 8 else 0.85),
                fontweight="bold", color=INK, va="center",
            )  # fmt: skip
    _ticks(ax, names, scale)
    _color_bar(ax, image, label, scale)
    if title is not None:
        size = FONT["title"] * scale
        ax.set_title(title, loc="left", fontsize=size, fontweight="bold", color=INK, pad=10)
    return ax


def _color_bar(ax: Axes, image: AxesImage, label: str, scale: float) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None  # axes on show belong to one
    bar = figure.colorbar(image, ax=ax, shrink=0.5, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=FONT["tick"] * scale, labelcolor=MUTED)
    bar.set_label(label, color=MUTED, fontsize=FONT["label"] * scale)


def _blocks(
    names: list[Hashable], groups: Groups | None
) -> tuple[list[int], list[tuple[Hashable | None, int, int]]]:
    """Order that puts groups side by side, and where each group starts and stops."""
    if groups is None:
        return list(range(len(names))), [(None, 0, len(names))]
    if isinstance(groups, Mapping):
        group = [groups.get(name, "other") for name in names]
    else:
        group = list(groups)
    if len(group) != len(names):
        raise DataError(f"{len(group)} groups do not fit {len(names)} series")
    order = sorted(range(len(names)), key=lambda i: str(group[i]))
    blocks: list[tuple[Hashable | None, int, int]] = []
    for place, i in enumerate(order):
        if blocks and blocks[-1][0] == group[i]:
            blocks[-1] = (group[i], blocks[-1][1], place + 1)
        else:
            blocks.append((group[i], place, place + 1))
    return order, blocks


def _ticks(ax: Axes, names: list[Hashable], scale: float) -> None:
    ax.tick_params(length=0, labelcolor=MUTED)
    for side in ax.spines.values():
        side.set_visible(False)
    if len(names) > MAX_LABELS:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel(f"{len(names)} series", color=MUTED, fontsize=FONT["tick"] * scale)
        return
    size = FONT["tick"] * scale * min(1.0, 0.55 + 8 / len(names))
    places = range(len(names))
    ax.set_xticks(places, [str(name) for name in names], rotation=90, fontsize=size)
    ax.set_yticks(places, [str(name) for name in names], fontsize=size)
    if len(names) <= 25:
        ax.set_xticks(np.arange(len(names)) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(names)) - 0.5, minor=True)
        ax.grid(which="minor", color=FAINT, linewidth=0.4, alpha=0.5)
        ax.tick_params(which="minor", length=0)
