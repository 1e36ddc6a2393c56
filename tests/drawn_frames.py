"""Valid frames of every kind, drawn by hypothesis, with what a forecast of them has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import note
from hypothesis import strategies as st

from hierforecast import Columns
from tests.frames import LIBRARIES

DATES = ["D", "h", "15min", "s", "40ms", "2D", "W-SUN", "W-WED", "MS", "ME", "QS", "YS", "B"]
# Steps that a fixed number of hours makes: pandas counts these on UTC, calendars on the wall.
ZONES = [None, None, "UTC", "Europe/Berlin", "America/Santiago", "Asia/Kolkata"]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@dataclass
class Case:
    """A frame, and what a forecast of it has to say.

    Args:
        frame: of any library.
        plain: the same in pandas, with the columns `present` and `step`.
        columns: roles.
        grid: labels of the common clock, `horizon` steps longer than any scene.
        context, horizon: lengths.
        spread: typical size of a step of the values.
    """

    frame: Any
    plain: pd.DataFrame
    columns: Columns
    grid: pd.Index
    context: int
    horizon: int
    spread: float

    def last_steps(self, until: int | None = None) -> pd.DataFrame:
        """The last observed row of every series within its scene's context."""
        seen = self.plain[self.plain.present]
        last = seen.groupby("scene", observed=True).step.transform("max")
        recent = seen[seen.step > last - self.context]
        return recent.sort_values("step").groupby(["scene", "unique_id"], observed=True).tail(1)

    def expected(self) -> pd.DataFrame:
        """Scene, id, label and last value of every row of the forecast, sorted."""
        ends = self.plain[self.plain.present].groupby("scene", observed=True).step.max()
        rows = [
            (row.scene, row.unique_id, self.grid[ends[row.scene] + ahead], row.y)
            for row in self.last_steps().sort_values(["scene", "unique_id"]).itertuples()
            for ahead in range(1, self.horizon + 1)
        ]
        return pd.DataFrame(rows, columns=["scene", "unique_id", "ds", "y"])


@st.composite
def clocks(draw: Any, length: int) -> tuple[pd.Index, Any]:
    """Labels of a regular clock, and a frequency that states it."""
    if draw(st.booleans()):
        dtype = np.dtype(draw(st.sampled_from(INTEGERS)))
        step = draw(st.sampled_from([1, 1, 2, 5]))
        room = np.iinfo(dtype)
        highest = min(int(room.max) - length * step // 2, 2**62)
        start = draw(st.integers(max(int(room.min), -(2**62)), max(highest, 0)))
        # Exact in Python: the horizon may lie beyond what the type holds.
        return pd.Index([start + step * i for i in range(length)], dtype=object), (dtype, step)
    freq, zone = draw(st.sampled_from(DATES)), draw(st.sampled_from(ZONES))
    day = draw(st.dates(pd.Timestamp("1975-01-01").date(), pd.Timestamp("2060-01-01").date()))
    unit = draw(st.sampled_from(["ms", "us", "ns"]))
    start = pd.Timestamp(day)
    if freq not in ("h", "15min", "s", "40ms"):
        # The wall's midnight may not exist; every label is then the first moment of its day.
        naive = pd.date_range(start, periods=length, freq=freq)
        grid = naive.tz_localize(zone, nonexistent="shift_forward", ambiguous=np.ones(length, bool))
    else:
        grid = pd.date_range(start, periods=length, freq=freq, tz="UTC" if zone else None)
        grid = grid.tz_convert(zone) if zone else grid
    return grid.as_unit(unit)._with_freq(None), freq


@st.composite
def cases(draw: Any) -> Case:
    """A valid frame: every fault in the answer is ours."""
    context, horizon = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    steps = context + horizon + draw(st.integers(1, 20))
    grid, stated = draw(clocks(steps + horizon))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset = draw(st.sampled_from([0.0, 0.0, 1.0, -37.5, 1e3, 1e6, 1e8, -1e9]))
    spread = draw(st.sampled_from([1.0, 1.0, 1e-3, 1e3, 1e-6])) if abs(offset) <= 1e3 else 1.0
    missing = draw(st.sampled_from([0.0, 0.0, 0.1, 0.4]))
    rows = []
    for scene in range(draw(st.integers(1, 3))):
        end = steps if scene == 0 else draw(st.integers(context + horizon, steps))
        for number in range(draw(st.integers(1, 4))):
            kept = rng.random(end) >= missing
            if number == 0:  # one series of each scene is whole, so that the step shows
                kept[:] = True
            elif draw(st.booleans()):
                kept[: rng.integers(0, end)] = False
            elif draw(st.booleans()):
                kept[rng.integers(0, end) :] = False
            walk = offset + spread * rng.normal(size=end).cumsum()
            if draw(st.integers(0, 5)) == 0:
                walk[:] = offset
            rows += [(scene, number, t, walk[t], kept[t]) for t in range(end)]
    plain = pd.DataFrame(rows, columns=["scene", "unique_id", "step", "y", "present"])
    # A missing cell is NaN, or its row is not there.
    plain = plain[plain.present | (rng.random(len(plain)) < 0.5)].reset_index(drop=True)
    plain.loc[~plain.present, "y"] = np.nan
    freq = None
    if draw(st.booleans()):
        freq = stated[1] if isinstance(stated, tuple) else stated
    return _dress(draw, plain, grid, stated, freq, rng, (context, horizon), spread)


def _dress(draw, plain, grid, stated, freq, rng, lengths, spread) -> Case:
    """The same rows as a user may have them: types, order, library."""
    names = draw(st.sampled_from([["a", "b", "c", "d"], ["10", "9", "x|y", "Ω"], [3, 7, 11, 20]]))
    plain["unique_id"] = np.array(names, dtype=object)[plain.unique_id]
    if isinstance(names[0], int):
        plain["unique_id"] = plain.unique_id.astype("int64")
    elif draw(st.integers(0, 2)) == 0:
        plain["unique_id"] = plain.unique_id.astype(pd.CategoricalDtype([*sorted(names), "zzz"]))
    plain["ds"] = grid[plain.step]
    if isinstance(stated, tuple):
        try:
            plain["ds"] = plain.ds.astype(stated[0])
        except OverflowError:  # the history itself must fit
            plain["ds"] = plain.ds.astype("int64")
    kinds = draw(st.sampled_from([None, "group"]))
    plain["group"] = plain.unique_id.astype(str).map(lambda name: "AB"[len(name) % 2])
    order = rng.permutation(len(plain)) if draw(st.booleans()) else np.arange(len(plain))
    plain = plain.iloc[order].reset_index(drop=True)
    if draw(st.booleans()):
        plain.index = rng.integers(0, 5, len(plain))
    plain["shelf"] = plain.unique_id.astype(str).map(len)
    shown = plain.drop(columns=["present", "step"])
    if plain.present.all() and draw(st.booleans()) and spread >= 1:
        shown["y"] = shown.y.astype(draw(st.sampled_from(["float32", "Float64"])))
        plain["y"] = shown.y.astype("float64")
    plain["z"] = shown["z"] = 1 - plain.y
    several = draw(st.integers(0, 3)) == 0
    library = draw(st.sampled_from([*LIBRARIES]))
    frame = LIBRARIES[library](shown)
    scene = "scene" if plain.scene.nunique() > 1 or draw(st.booleans()) else None
    columns = Columns(
        id=["unique_id", "shelf"] if draw(st.integers(0, 3)) == 0 else "unique_id",
        target=["y", "z"] if several else "y",
        group=["shelf", "group"] if kinds and draw(st.booleans()) else kinds,
        scene=scene,
        freq=freq,
    )
    note(f"{library} {stated} freq={freq} {columns}\n{shown.head(60)}")
    return Case(frame, plain, columns, grid, *lengths, spread)
