"""Totals for pictures: several series added up, and the answers of which each row is one total."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import narwhals as nw
import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.plot.columns import Frame, need
from hierforecast.plot.frames import Track, Tracks

# Column and label of the one total of `by=()`; no user's column has such a name.
TOTAL, WHOLE = "*total", "total"
OTHERS = (
    "rename it, say which column it is with columns=Columns(...), or, if these are totals, draw "
    "them with plot_forecast(history, totals, by=...), as predict or sample had it"
)
NO_TOTALS = "give what predict(by=...) or sample(by=...) returned for the same by="


def add_up(tracks: Tracks, members: Sequence[Hashable], how: str, like: np.ndarray) -> Track:
    """The mean or sum of several series, at each time over those that have a value there.

    Args:
        tracks: of one target.
        members: those to add up; some may have no track.
        how: ``"mean"`` or ``"sum"``.
        like: times, of whose type those of the total are.
    """
    own = [tracks[series] for series in members if series in tracks]
    times = np.unique(np.concatenate([like[:0], *(track.times for track in own)]))
    table = np.full((len(own), len(times), 1), np.nan)
    for row, track in zip(table, own, strict=True):
        row[np.searchsorted(times, track.times)] = track.values
    return Track(times, aggregate(table, how))


def aggregate(values: np.ndarray, how: str) -> np.ndarray:
    """The mean or sum over the first axis of the values that are there; NaN where none is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(count > 0, np.where(known, values, 0.0).sum(axis=0), np.nan)
    return total / np.maximum(count, 1) if how == "mean" else total


def check_how(option: str, how: str) -> None:
    """Refuse what is neither a mean nor a sum."""
    if how not in ("mean", "sum"):
        raise DataError(f"{option}={how!r} is not known: choose 'mean' or 'sum'")


def columns_of_totals(columns: Columns, by: tuple[str, ...]) -> Columns:
    """The roles in an answer that was asked for with `by`: its labels are the ids."""
    scene = columns.scenes or None
    return Columns(
        id=by or TOTAL, time=columns.time, target=columns.targets, scene=scene, group=None
    )


def read_totals(frame: Frame, by: tuple[str, ...], what: str) -> Frame:
    """An answer of totals, with a label where `by` names none.

    Raises:
        DataError: if it has no labels of `by`.
    """
    need(frame, by, what, NO_TOTALS)
    if by:
        return frame
    table = nw.from_native(frame, eager_only=True)
    return table.with_columns(nw.lit(WHOLE).alias(TOTAL)).to_native()


def check_totals(tracks: Tracks, by: tuple[str, ...]) -> None:
    """Refuse a forecast that has a total twice at one time, as one of its series has."""
    for label, track in tracks.items():
        if (track.times[1:] == track.times[:-1]).any():
            raise DataError(
                f"the forecast frame has several rows of the total {label!r} at one time, so it is "
                f"not of by={list(by)}: {NO_TOTALS}"
            )
