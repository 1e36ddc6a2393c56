"""One scene that is forecast from many cutoffs: a worker gets the rows that some of them need.

A scene goes to one worker whole, and a frame without a scene column is one scene. Its backtest is
cut all the same, between cutoffs: a forecast needs its context and its horizon, and no row besides.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np

from hierforecast.engines.homes import name_of
from hierforecast.engines.job import Job, rolling_of
from hierforecast.engines.scenes import rows_by_scene, take
from hierforecast.evaluation.backtesting import Rolling
from hierforecast.evaluation.measuring import frame_like, metric_table
from hierforecast.frame import Columns, Panel, read_frame
from hierforecast.frame.absent import require
from hierforecast.frame.table import Table
from hierforecast.frame.times import Times

# Parts at most, and how often a row travels at most, on average.
PARTS, COPIES = 64, 4
# Columns that are added: the part of a row, whether a static column has gaps, and what is planned.
PART, GAP, PLANNED = "hierforecast_part", "hierforecast_gap", "hierforecast_parts"
# Times, as whole numbers, before and after all others.
BEFORE, AFTER = np.iinfo(np.int64).min + 1, np.iinfo(np.int64).max


class Part(NamedTuple):
    """Some cutoffs, and between which times the rows lie that their forecasts need.

    Attributes:
        cutoffs: (W,) the last time that each forecast may see, sorted.
        start, stop: the first time and the last.
    """

    cutoffs: np.ndarray
    start: Any
    stop: Any


def by_cutoff(job: Job, frame: Any, home: ModuleType) -> tuple[Any, Any]:
    """What to run of a job on an engine's frame: itself, or its parts if this is one scene.

    To find the cutoffs takes a pass over the targets, now.

    Raises:
        DataError: if there are none, as the verb itself does; engines wrap it in errors of theirs.
    """
    many = job.verb in ("backtest", "evaluate") and not job.columns.scenes
    if not many or name_of(frame) == "shards":  # this process goes through those alone
        return job, frame
    planned = home.run(Cutting(job), home.run(Observed(job.columns), frame))
    tables = (nw.from_native(table, eager_only=True) for table in home.collect(planned))
    texts = [text for table in tables for text in table[PLANNED].to_list()]
    if not texts:  # nothing is observed
        return job, frame
    kind, *parts = json.loads(texts[0])
    parts = tuple(Part(*(np.array(x, dtype=np.int64).view(kind) for x in part)) for part in parts)
    return Parts(job, parts), home.run(Spread(job.columns, parts), frame)


@dataclass(frozen=True)
class Observed:
    """The times of rows at which anything is observed, and whether a static column has gaps."""

    columns: Columns
    keys = None

    def __call__(self, frame: Any) -> Any:
        """Each time once."""
        if not len(frame):
            return self.empty(frame)
        table = Table.open(frame, self.columns)
        require(table, self.columns.roles())
        seen = [~np.isnan(table.numbers(name)) for name in self.columns.targets]
        gap = any(_has_gap(table.frame[name]) for name in self.columns.static)
        return self._of(take(frame, np.flatnonzero(np.all(seen, axis=0))), gap)

    def empty(self, frame: Any) -> Any:
        """No times."""
        return self._of(take(frame, []), False)

    def _of(self, frame: Any, gap: bool) -> Any:
        times = nw.from_native(frame, eager_only=True).select(self.columns.time).unique()
        times = nw.maybe_reset_index(times)
        gaps = np.full(len(times), gap)
        column = nw.new_series(GAP, gaps, backend=nw.get_native_namespace(times))
        return times.with_columns(column).to_native()


@dataclass(frozen=True)
class Cutting:
    """The parts of a scene, from the times at which anything is observed in it."""

    job: Job
    keys = ()

    def __call__(self, frame: Any) -> Any:
        """One cell of text: the type of the times, and each part."""
        table = nw.from_native(frame, eager_only=True)
        if not len(table):
            return self.empty(frame)
        forecaster = self.job.load()
        context, horizon = forecaster.context_length, forecaster.prediction_length
        # A series that is observed whenever any is has the windows of them all.
        alone = Columns(id=PART, time=self.job.columns.time, target=GAP, group=None)
        zero = nw.lit(0.0)
        times = table.select(alone.time).unique().with_columns(zero.alias(PART), zero.alias(GAP))
        panel = read_frame(times.to_native(), alone, step=forecaster.step_, context=context)
        cutoffs = rolling_of(self.job.options).cutoffs(panel, context, horizon)[:, 1]
        first, last = cutoffs - context, cutoffs + horizon
        gap = bool(table[GAP].any())  # which any other row of the series may fill
        if gap or self._looks_back(forecaster):
            first = np.full_like(first, -1)
        if gap:
            last = np.full_like(last, panel.length[0] + 1)
        # Up to the next observed times, so that the windows lie within the rows.
        seen, moments = np.flatnonzero(panel.present), Times.read(Table(times, alone), alone.time)
        ends = np.concatenate([[BEFORE], np.unique(moments.values), [AFTER]])
        start = ends[np.searchsorted(seen, first, side="right")]
        stop = ends[np.searchsorted(seen, last - 1) + 1]
        label = _times(panel, cutoffs - 1).view(np.int64)
        parts = [
            (label[some].tolist(), int(start[some[0]]), int(stop[some[-1]]))
            for some in _split(first, last, int(panel.length[0]))
        ]
        text = json.dumps([str(moments.as_numpy().dtype), *parts])
        return frame_like(frame, [{PLANNED: text}])

    def empty(self, frame: Any) -> Any:
        """No parts."""
        return take(frame_like(frame, [{PLANNED: ""}]), [])

    def _looks_back(self, forecaster: Any) -> bool:
        """Whether anything looks at what was before the context: smoothing, or a metric."""
        asked = self.job.verb == "evaluate"
        needs = metric_table(self.job.options.get("metrics"), self.job.columns).needs
        return forecaster.model_.origin == "history" or (asked and "scale" in needs)


@dataclass(frozen=True)
class Spread:
    """Rows of a scene, each once for every part that needs it, with the part's number."""

    columns: Columns
    parts: tuple[Part, ...]
    keys = None

    def __call__(self, frame: Any) -> Any:
        """The columns that have a role, and the number."""
        if not len(frame):
            return self.empty(frame)
        table = Table(nw.from_native(frame, eager_only=True), self.columns)
        times = Times.read(table, self.columns.time).as_numpy()
        rows = [np.flatnonzero((part.start <= times) & (times <= part.stop)) for part in self.parts]
        numbers = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
        return self._of(take(frame, np.concatenate(rows)), numbers)

    def empty(self, frame: Any) -> Any:
        """No rows."""
        return self._of(take(frame, []), np.zeros(0, dtype=np.int64))

    def _of(self, frame: Any, numbers: np.ndarray) -> Any:
        names = dict.fromkeys(name for _, name in self.columns.roles())
        table = nw.maybe_reset_index(nw.from_native(frame, eager_only=True).select(*names))
        column = nw.new_series(PART, numbers, nw.Int64(), backend=nw.get_native_namespace(table))
        return table.with_columns(column).to_native()


@dataclass(frozen=True)
class At(Rolling):
    """A backtest of a single scene from the cutoffs of a part."""

    part: Part | None = None

    def cutoffs(self, panel: Panel, context: int, horizon: int, fits: bool = False) -> np.ndarray:
        """See `Rolling`."""
        assert self.part is not None
        found = _times(panel, np.arange(panel.length[0]))
        steps = np.searchsorted(found, self.part.cutoffs) + 1
        return np.stack([np.zeros_like(steps), steps], axis=1)


@dataclass(frozen=True)
class Parts:
    """A job whose parts come one or several at a time, see `Spread`."""

    job: Job
    parts: tuple[Part, ...]
    keys = (PART,)

    def __call__(self, frame: Any) -> Any:
        """The answers of all parts, one after another."""
        if not len(frame):
            return self.empty(frame)
        answers = []
        for (number,), rows in rows_by_scene(frame, replace(self.job.columns, scene=PART)).items():
            options = {**self.job.options, "rolling": At(part=self.parts[number])}
            answer = replace(self.job, options=options)(take(frame, rows))
            answers.append(nw.from_native(answer, eager_only=True))
        return nw.concat(answers).to_native()

    def empty(self, frame: Any) -> Any:
        """The answer without rows."""
        return self.job.empty(frame)


def _times(panel: Panel, steps: np.ndarray) -> np.ndarray:
    """Times (m,) of steps (m,) of a single scene."""
    return panel.times(np.zeros_like(steps), steps)


def _split(first: np.ndarray, last: np.ndarray, steps: int) -> list[np.ndarray]:
    """Windows (W,) in parts, as many as may be if rows are not to travel too often.

    Args:
        first, last: step at which each begins, and the one after its last.
        steps: of the scene.
    """
    for count in range(min(PARTS, len(first)), 0, -1):
        parts = np.array_split(np.arange(len(first)), count)
        travel = sum(last[some[-1]] - max(first[some[0]], 0) for some in parts)
        if travel <= COPIES * steps:
            break
    return parts


def _has_gap(column: nw.Series[Any]) -> bool:
    missing = column.null_count() > 0
    return missing or (column.dtype.is_float() and bool(column.is_nan().any()))
