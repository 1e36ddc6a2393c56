"""A verb that can travel: from a frame of whole scenes to the answer, on any machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import narwhals as nw
import torch

from hierforecast._options import levels, quantiles
from hierforecast.engines.homes import name_of
from hierforecast.engines.scenes import Beside, name_of_scene, rows_by_scene, take
from hierforecast.errors import DataError, NothingToForecastError
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.evaluation.measuring import frame_like, measure, metric_table, tidy
from hierforecast.frame import Columns
from hierforecast.inference.conformal import Conformal, check_conformal
from hierforecast.inference.forecasts import point_columns, suffixes

Forecaster = Any  # of hierforecast.forecaster, whose verbs come here
# Columns of what `evaluate` gives for a part of a frame.
SUMS = {"model": "", "part": "", "metric": "", "numerator": 0.0, "weight": 0.0}
# Forecasters that a process keeps.
KEPT = 4

_loaded: dict[str, Forecaster] = {}
_loading = threading.Lock()


@dataclass(frozen=True)
class Job:
    """A verb of a fitted forecaster with its options; it can be pickled.

    Called with a frame of whole scenes (pandas, polars or pyarrow), it gives the answer in the same
    library: rows of `Forecaster.predict` and so on. Of `evaluate` it gives sums, a few rows, which
    `merge` adds up to the answer. The answers of parts, one after another, are the answer of the
    whole, up to the order of rows: no scene's answer depends on the scenes beside it.

    Args:
        verb: ``predict``, ``sample``, ``futures``, ``backtest``, ``evaluate`` or ``impute``.
        options: arguments of the verb by name, without the frame.
        columns: the forecaster's.
        files: the saved forecaster: file name -> content.
        digest: of the files; a process loads them once.
        kind: class that loads them.
        model: class of a model of the user's own; None for those of this package.
        threads: of torch, while the job runs.
        bar: whether whoever runs it shows how far it is.
    """

    verb: str
    options: Mapping[str, Any]
    columns: Columns
    files: Mapping[str, bytes]
    digest: str
    kind: Any
    model: Any = None
    threads: int = 1
    bar: bool = True

    @classmethod
    def of(cls, forecaster: Forecaster, verb: str, options: Mapping[str, Any]) -> Job:
        """Make a job.

        Raises:
            NotFittedError: if the forecaster is not fitted.
            DataError: for options that cannot travel.
        """
        with TemporaryDirectory() as folder:
            forecaster.save(Path(folder, "saved"))
            files = {file.name: file.read_bytes() for file in Path(folder, "saved").iterdir()}
        digest = hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()
        model = type(forecaster.model)
        own = None if model.__module__.startswith("hierforecast.models") else model
        bar = bool((forecaster.trainer or {}).get("enable_progress_bar", True))
        options, kind = _portable(forecaster, options), type(forecaster)
        return cls(verb, options, forecaster.columns, files, digest, kind, own, bar=bar)

    def __call__(self, frame: Any) -> Any:
        """The answer for a frame of whole scenes; without rows if they hold nothing to forecast.

        Raises:
            DataError: if the frame cannot be used; it names the scene.
        """
        if not len(frame):
            return self.empty(frame)
        with _threads(self.threads):
            try:
                return self._ask(frame)
            except NothingToForecastError:
                return self.empty(frame)
            except DataError as error:
                raise self._named(frame, error) from error

    def empty(self, frame: Any) -> Any:
        """The answer without rows: its columns and their types, by those of a frame."""
        if self.verb == "evaluate":
            return take(frame_like(frame, [SUMS]), _NO_ROWS)
        asked, columns = self.options, self.columns
        table = nw.from_native(take(frame, _NO_ROWS), eager_only=True)
        keys = (*columns.scenes, *columns.ids)
        if asked.get("by") is not None:
            by = asked["by"]
            keys = (*columns.scenes, *((by,) if isinstance(by, str) else by))
        found: dict[str, Any] = {n: nw.col(n) for n in dict.fromkeys((*keys, columns.time))}
        # No literals: before 2.28 narwhals makes a row of them, even beside columns without rows.
        empty = partial(nw.new_series, "", [], backend=table.implementation)
        number, count = empty(dtype=nw.Float64), empty(dtype=nw.Int64)
        if self.verb == "futures":
            found |= {"future_id": count, "share": number}
        if self.verb == "sample" or (asked.get("n") is not None and self.verb == "impute"):
            found["sample_id"] = count
        if self.verb == "backtest":
            found["cutoff"] = nw.col(columns.time)
            found |= dict.fromkeys(columns.targets, number)
        ends = suffixes(levels(asked.get("level")), quantiles(asked.get("quantiles")))
        for point in point_columns(self.load().model_, columns.targets):
            found |= {point + end: number for end in ends}
        return table.select(**found).to_native()

    def merge(self, answers: Iterable[Any]) -> list[dict[str, Any]]:
        """The tidy rows of `evaluate` from the sums of all parts of a frame.

        Raises:
            DataError: if no part had anything to measure.
        """
        table, names = metric_table(self.options.get("metrics"), self.columns), set[str]()
        for answer in answers:
            rows = nw.from_native(answer, eager_only=True).rows(named=True)
            table.merge(rows)
            names |= {row["model"] for row in rows}
        if not names:
            raise NothingToForecastError(
                "no scene has a window to measure: give scenes with a step of context and "
                "prediction_length steps after it, with something observed in both"
            )
        return tidy(names.pop(), table, self.load().vocabulary_.types)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns of whose rows those that agree must come together; () for all of them."""
        return self.columns.scenes

    def load(self) -> Forecaster:
        """The forecaster, which a process loads once."""
        with _loading:
            if self.digest not in _loaded:
                while len(_loaded) >= KEPT:
                    del _loaded[next(iter(_loaded))]
                _loaded[self.digest] = self._unpacked()
            return _loaded[self.digest]

    def _unpacked(self) -> Forecaster:
        with TemporaryDirectory() as folder:
            for name, content in self.files.items():
                Path(folder, name).write_bytes(content)
            found = self.kind.load(folder, self.model)
        alone = {"enable_progress_bar": False, "devices": 1}  # an engine has processes enough
        return found.set_params(trainer={**(found.trainer or {}), **alone})

    def _ask(self, frame: Any) -> Any:
        """The answer of the forecaster; of a backtest what a part of a frame has of it."""
        forecaster, options = self.load(), dict(self.options)
        for name, value in options.items():
            if isinstance(value, Beside):
                options[name] = value.of(frame)
        if self.verb not in ("backtest", "evaluate"):
            return getattr(forecaster, self.verb)(frame, **options)
        # Of several scenes others may have the windows that these lack.
        strict = not self.columns.scenes
        rolling = options.pop("rolling", None) or rolling_of(options, strict)
        for name in ("n_windows", "start", "stride", "refit"):
            options.pop(name, None)
        forecasts = forecasts_of(forecaster, frame, rolling)
        if self.verb == "backtest":
            return forecasts.to_frame(**options, truth=True)
        rows = measure(forecasts, **options).sums()
        return frame_like(frame, [{"model": forecasts.name, **row} for row in rows])

    def _named(self, frame: Any, error: DataError) -> DataError:
        """The same error, with the name of the first scene that has it by itself."""
        for key, rows in rows_by_scene(frame, self.columns).items():
            try:
                self._ask(take(frame, rows))
            except NothingToForecastError:
                continue
            except DataError as own:
                scene = name_of_scene(key, self.columns)
                return own if scene in str(own) else DataError(f"{scene}: {own}")
        return error


_NO_ROWS: list[int] = []


def rolling_of(options: Mapping[str, Any], strict: bool = True) -> Rolling:
    """The windows that the options of a backtest ask for."""
    asked: dict[str, Any] = {name: options.get(name) for name in ("n_windows", "start", "stride")}
    return Rolling(**asked, strict=strict)


def _portable(forecaster: Forecaster, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that a job can take along.

    Raises:
        DataError: for a refit, and for frames of an engine beside the first one.
    """
    found = dict(options)
    if found.get("refit"):
        raise DataError(
            "refit= fits anew at each cutoff on all scenes, which do not lie on one machine here: "
            "leave it out, or bring the scenes into memory first (Spark: .toPandas(), Ray: "
            ".to_pandas(), Dask: .compute())"
        )
    for name in ("known", "given", "conformal"):
        if name_of(found.get(name)) is not None:
            raise DataError(
                f"{name}= is a frame of an engine too: give one of pandas, polars or pyarrow "
                "(Spark: .toPandas(), Ray: .to_pandas(), Dask: .compute()), which travels along"
            )
    for name in ("known", "given"):
        if found.get(name) is not None:
            found[name] = Beside(found[name], forecaster.columns)
    if found.get("conformal") is not None:
        check_conformal(found["level"], found["given"], found["by"], bool(found.get("newcomers")))
        found["conformal"] = Conformal.of(forecasts_of(forecaster, found["conformal"], Rolling()))
    return found


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads of torch for a while: an engine fills the cores by itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
