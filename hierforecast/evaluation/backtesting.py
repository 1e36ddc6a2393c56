"""Backtests: which windows of a frame are forecast, and by which fit.

A *cutoff* is the last time that a forecast may see, as in the ``cutoff`` column of the answer; the
forecast begins one step later. Series of ten days, ``prediction_length=2``::

    n_windows=2                    cutoffs at day 6 and day 8: days 7 8, 9 10
    n_windows=2, stride=1          cutoffs at day 7 and day 8: days 8 9, 9 10
    start="day 6"                  cutoffs at day 5 and day 7: days 6 7, 8 9
    start="day 6", n_windows=1     cutoff at day 5: days 6 7
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast._options import show, whole
from hierforecast._progress import progress
from hierforecast.errors import DataError, NothingToForecastError
from hierforecast.frame import Panel, read_frame
from hierforecast.frame.table import Table
from hierforecast.frame.table import show as show_time
from hierforecast.frame.times import Times
from hierforecast.inference import Forecast, Forecasts
from hierforecast.inference.draws import Draws
from hierforecast.windows import WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of, observed_before

Forecaster = Any  # of hierforecast.forecaster, which imports this module


@dataclass(frozen=True)
class Rolling:
    """Which windows of a frame to forecast, and how often to fit anew.

    Args:
        n_windows: the last so many of each scene; with `start` the first so many (or fewer, where
            the scene ends). None: all.
        start: first time that may be forecast, of the time column's kind: a whole number, a date, a
            datetime or their text. Cutoffs count forward from it; without it they count back from
            each scene's end.
        stride: steps between cutoffs; None: the prediction length, so that no step counts twice.
        refit: True fits anew at every cutoff, a number at every so many, False never.
        strict: whether some scene must have `n_windows`; of a part of a frame others may.
    """

    n_windows: int | None = None
    start: Any = None
    stride: int | None = None
    refit: bool | int = False
    strict: bool = True

    def __post_init__(self) -> None:
        if self.n_windows is not None:
            object.__setattr__(self, "n_windows", whole("n_windows", self.n_windows))
        if self.stride is not None:
            object.__setattr__(self, "stride", whole("stride", self.stride))
        refit = self.refit
        if not isinstance(refit, (bool, np.bool_)):
            try:
                whole("refit", refit)
            except DataError as error:
                raise DataError(str(error).replace("be a", "be True, False or a")) from None
        object.__setattr__(self, "refit", int(refit))

    def cutoffs(self, panel: Panel, context: int, horizon: int, fits: bool = False) -> np.ndarray:
        """The windows: (W, 2) pairs (scene, step at which the horizon starts), sorted.

        Args:
            panel: the frame.
            context, horizon: steps that a window sees, and forecasts.
            fits: whether something is fitted on what lies before a cutoff: those with too little
                before them are left out.

        Raises:
            DataError: if there is no such window, or fewer than `n_windows`.
        """
        stride = horizon if self.stride is None else self.stride
        pairs = cutoffs_of(panel, context, horizon, stride)
        if self.start is not None:
            pairs = self._from_start(panel, cutoffs_of(panel, context, horizon), stride)
        if fits:
            pairs = self._after_something(pairs, panel, context, horizon)
        return pairs if self.n_windows is None else self._few(pairs, panel, stride)

    def fit_once(self) -> Rolling:
        """The same with one fit, at the first cutoff."""
        return replace(self, refit=sys.maxsize)

    def _from_start(self, panel: Panel, every: np.ndarray, stride: int) -> np.ndarray:
        """Of all possible windows (W, 2) those that count forward from the start."""
        scenes, at = np.unique(every[:, 0], return_index=True)
        first = first_steps(panel, self.start, every)
        first[scenes] = np.maximum(first[scenes], every[at, 1])
        away = every[:, 1] - first[every[:, 0]]
        return every[(away >= 0) & (away % stride == 0)]

    def _after_something(
        self, pairs: np.ndarray, panel: Panel, context: int, horizon: int
    ) -> np.ndarray:
        """The windows before which there is one to learn from; with a `start` all must be such."""
        first = _learnable(panel, context + horizon)
        kept = panel.times(pairs[:, 0], pairs[:, 1] - 1) >= first
        if not kept.any() or (self.start is not None and not kept.all()):
            where = "each cutoff" if self.start is None else f"start={show(self.start)}"
            raise DataError(
                f"nothing to fit on: before {where} lie fewer than context_length + "
                f"prediction_length = {context} + {horizon} steps; give a longer history, a later "
                "start or a shorter context"
            )
        return pairs[kept]

    def _few(self, pairs: np.ndarray, panel: Panel, stride: int) -> np.ndarray:
        """The first or last `n_windows` of each scene."""
        count = np.bincount(pairs[:, 0], minlength=len(panel.length))
        rank = np.arange(len(pairs)) - (np.cumsum(count) - count)[pairs[:, 0]]
        if self.start is not None:
            return pairs[rank < self.n_windows]
        if self.strict and count.max() < int(self.n_windows or 0):
            raise DataError(
                f"n_windows={self.n_windows} is more than there are: no scene has room for more "
                f"than {count.max()} windows {stride} steps apart; lower n_windows or stride, or "
                "give a longer history"
            )
        return pairs[rank >= count[pairs[:, 0]] - self.n_windows]


def first_steps(panel: Panel, start: Any, every: np.ndarray) -> np.ndarray:
    """Each scene's first step at or after a time, (S,) int64.

    Args:
        panel: the frame.
        start: the time.
        every: (W, 2) all possible windows.

    Raises:
        DataError: if `start` is no time of the frame's kind, or too late for any window.
    """
    last = panel.times(every[:, 0], every[:, 1]).max()
    moment = _read_time(panel, start, last)
    scene, step = _all_steps(panel)
    before = panel.times(scene, step) < moment
    if moment > last:
        raise NothingToForecastError(
            f"start={show(start)} is too late: a whole horizon must follow; the last possible "
            f"start is {show_time(last)}"
        )
    return np.bincount(scene, weights=before, minlength=len(panel.length)).astype(np.int64)


def _all_steps(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Scene and number of every step of every scene."""
    length = panel.length
    scene = np.repeat(np.arange(len(length)), length)
    return scene, np.arange(len(scene)) - (np.cumsum(length) - length)[scene]


def _learnable(panel: Panel, need: int) -> Any:
    """The first time by which a scene has so many steps, from an observed one to an observed one.

    Without any it is the last of all times, which no cutoff reaches.
    """
    scene, step = _all_steps(panel)
    observed, offset = observed_before(panel)
    at = offset[scene] + step
    enough = (observed[at + 1] > observed[at]) & (step + 1 - panel.begin[scene] >= need)
    if not enough.any():
        return panel.times(scene, step).max()
    return panel.times(scene[enough], step[enough]).min()


def _read_time(panel: Panel, value: Any, example: Any) -> Any:
    """A time as the panel's clock counts it: a whole number, a timedelta64, a datetime64 in UTC."""
    clock, name = panel.clock, panel.columns.time
    given = value.as_py() if hasattr(value, "as_py") else value  # a scalar of pyarrow
    given = given.start_time if isinstance(given, pd.Period) else given
    number = isinstance(given, Integral) and not isinstance(given, (bool, np.timedelta64))
    wanted = "whole steps" if clock.unit is None else "durations" if clock.duration else "dates"
    try:
        if clock.unit is None and (number or isinstance(given, str)):
            return int(given)
        if clock.unit is None or number or isinstance(given, (bool, float)):
            raise TypeError("of another kind")
        moment: Any = pd.Timedelta(given) if clock.duration else pd.Timestamp(given)
        if pd.isna(moment):
            raise TypeError("missing")
    except (TypeError, ValueError) as error:
        raise DataError(
            f"start={show(value)} is no time of column {name!r}, which holds {wanted}: give one of "
            f"them, e.g. {show_time(example)}"
        ) from error
    if clock.duration:
        return moment.to_timedelta64()
    if clock.zone is None and moment.tz is not None:
        raise DataError(
            f"start={show(value)} has a time zone but the times of column {name!r} have none: "
            f"leave it out, e.g. {show_time(example)}"
        )
    if clock.zone is not None:
        if moment.tz is None:
            moment = moment.tz_localize(clock.zone, ambiguous=True, nonexistent="shift_forward")
        moment = moment.tz_convert("UTC").tz_localize(None)
    return moment.to_datetime64()


def forecasts_of(
    forecaster: Forecaster,
    frame: Any,
    rolling: Rolling,
    context: int | None = None,
    fits: bool = False,
) -> Forecasts:
    """The forecasts of a backtest; they are made when they are iterated over.

    Args:
        forecaster: is not changed; must be fitted unless it is fitted anew.
        frame: scenes with their outcome.
        rolling: which windows.
        context: steps that each cutoff must have before it; None: the forecaster's.
        fits: whether each cutoff must have something to learn from before it, too.

    Raises:
        NotFittedError: if there is no fit to use.
        DataError: if the frame cannot be used so.
    """
    sizes = context or forecaster.context_length, forecaster.prediction_length
    if not rolling.refit:
        panel = forecaster._read(frame)
        return forecaster._forecasts(panel, rolling.cutoffs(panel, *sizes, fits))
    panel = read_frame(frame, forecaster.columns, dtype=forecaster._plan().dtype)
    if panel.clock.unit is None and len(panel.length) > 1:
        raise DataError(
            f"a refit learns from all that happened before a cutoff, but column "
            f"{forecaster.columns.time!r} counts steps, which need not mean the same time in "
            f"each of {len(panel.length)} scenes: give dates, or one scene, or fit once on other "
            "scenes and leave refit out"
        )
    cutoffs = rolling.cutoffs(panel, *sizes, fits=True)
    # A list of windows only, for what they hold is read again after each fit.
    windows = WindowDataset(panel, cutoffs, forecaster.context_length, sizes[1], origin="zero")
    size, draws = forecaster._plan().batch, Draws(forecaster.seed)
    return Refitted(forecaster.model, windows, size, draws, forecaster, frame, rolling.refit)


@dataclass
class Refitted(Forecasts):
    """Forecasts of a copy of a forecaster that is fitted anew as time goes on.

    Args:
        forecaster: the plan; it is not changed.
        frame: the user's.
        every: cutoffs from one fit to the next; cutoffs of one time count once.
    """

    forecaster: Forecaster
    frame: Any
    every: int

    def __iter__(self) -> Iterator[Forecast]:
        scene, cutoff = self.windows.cutoffs.T
        times, when = np.unique(self.windows.panel.times(scene, cutoff - 1), return_inverse=True)
        fits = times[:: self.every]
        bar = (self.forecaster.trainer or {}).get("enable_progress_bar", True)
        for number, time in enumerate(progress(fits, "refit", len(fits), bar)):
            copy = _unfitted_copy(self.forecaster)
            try:
                copy.fit(_until(self.frame, copy, time))
                panel = copy._read(self.frame)
            except DataError as error:
                raise DataError(f"the fit at cutoff {show_time(time)} failed: {error}") from error
            chosen = self.windows.cutoffs[when.reshape(-1) // self.every == number]
            yield from replace(copy._forecasts(panel, chosen), random=self.random)


def _unfitted_copy(forecaster: Forecaster) -> Forecaster:
    """The same options; its fits show no bar of their own and leave the user's folders alone."""
    trainer = {**(forecaster.trainer or {}), "enable_progress_bar": False}
    trainer.pop("default_root_dir", None)
    if "callbacks" in trainer:  # they remember the fit that they were in
        trainer["callbacks"] = deepcopy(trainer["callbacks"])
    return type(forecaster)(**{**forecaster.get_params(deep=False), "trainer": trainer})


def _until(frame: Any, forecaster: Forecaster, time: Any) -> Any:
    """The rows of a frame up to a time, in its own library."""
    table = Table.open(frame, forecaster.columns)
    times = Times.read(table, forecaster.columns.time)
    kept = times.as_numpy() <= time
    return nw.from_native(frame, eager_only=True)[np.flatnonzero(kept)].to_native()
