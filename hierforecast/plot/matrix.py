"""Maps between series: how forecasts move together, and who attends to whom."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from hierforecast.errors import DataError
from hierforecast.plot.columns import Frame, columns_for, names_of, say
from hierforecast.plot.frames import Reader
from hierforecast.plot.labels import choose, key_of
from hierforecast.plot.maps import Groups, draw_map

if TYPE_CHECKING:
    from hierforecast.frame import Columns


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
    members: bool | None = None,
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
        members: True for a cell per pair of series; False for the mean over all pairs of two
            groups, or within one; None takes groups above 40 series, where single cells are noise.
        title: set in bold at the top left.

    Raises:
        DataError: for a missing column, a matrix that is not square, or labels that do not fit.
    """
    if isinstance(samples, np.ndarray):
        matrix = _square(samples)
        names = _names(labels, len(matrix))
    else:
        columns = columns_for(columns, samples if history is None else history)
        reader = Reader(columns, model)
        if columns.scenes and set(columns.scenes) <= set(names_of(samples)):
            reader = reader.within(samples, scene, "samples")
        names, draws = _draws(reader, samples, labels)
        matrix = correlation_of(draws if step == "mean" else draws[:, :, [int(step)]])
        if groups is None and history is not None and columns.levels:
            groups = reader.groups(history, "history")
    matrix = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    return draw_map(ax, matrix, names, groups, "diverging", "correlation", members, title)


def plot_attention(
    weights: np.ndarray,
    labels: Sequence[Hashable] | None = None,
    groups: Groups | None = None,
    ax: Axes | None = None,
    *,
    members: bool | None = None,
    title: str | None = None,
) -> Axes:
    """Who attends to whom: a row per query, a column per key.

    Args:
        weights: attention (N, N), or (..., N, N), then averaged over the leading axes (heads,
            steps).
        labels: names of the series.
        groups: group of each series (mapping, or in the order of `labels`); orders the map.
        ax: axes to draw on; None makes a new figure.
        members: as for `plot_correlation`.
        title: set in bold at the top left.

    Raises:
        DataError: for weights that are not square, or labels that do not fit.
    """
    weights = np.asarray(weights, dtype=float)
    matrix = _square(weights.reshape(-1, *weights.shape[-2:]).mean(axis=0))
    names = _names(labels, len(matrix))
    return draw_map(ax, matrix, names, groups, "sequential", "attention", members, title)


def correlation_of(draws: np.ndarray) -> np.ndarray:
    """Correlation (N, N) of series over joint draws (N, K, H, D), pooled over steps and targets.

    For D targets it is sum_d cov(a_d, b_d) / sqrt(sum_d var(a_d) * sum_d var(b_d)): between -1
    and 1, and the same however the coordinates are turned. Each step is centered by itself.
    """
    centered = draws - draws.mean(axis=1, keepdims=True)
    # Steps of equal weight: a late step would drown the early ones, its scale is larger.
    scale = np.sqrt((centered**2).mean(axis=1, keepdims=True).sum(axis=-1, keepdims=True))
    scaled = np.divide(centered, scale, out=np.zeros_like(centered), where=scale > 0)
    flat = scaled.reshape(len(draws), -1)
    return flat @ flat.T / (draws.shape[1] * draws.shape[2])


def _draws(
    reader: Reader, samples: Frame, labels: Sequence[Hashable] | None
) -> tuple[list[Hashable], np.ndarray]:
    """Series names and their draws (N, K, H, D).

    Raises:
        DataError: if a draw is incomplete, or a label is no series.
    """
    draws = reader.draws(samples)
    n, k, h, _ = draws.values.shape
    if not draws.joint:
        raise DataError(
            f"samples are not joint: {n} series, {k} values of 'sample_id' and {h} of "
            f"{reader.columns.time!r} need {n * k * h} rows, and not all are there: give the "
            "frame that Forecaster.sample returned, of one scene"
        )
    if labels is None:
        return draws.series, draws.values
    where = f"column {say(reader.columns.ids)} of the samples"
    wanted = choose(labels, draws.series, "labels", where)
    return wanted, np.stack([draws.of(label) for label in wanted])


def _names(labels: Sequence[Hashable] | None, size: int) -> list[Hashable]:
    return [*range(size)] if labels is None else [key_of(label) for label in labels]


def _square(matrix: np.ndarray) -> np.ndarray:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"expected a square matrix (N, N), got shape {matrix.shape}")
    return matrix.astype(float)
