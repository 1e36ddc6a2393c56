"""Errors that name what is wrong and what to do about it."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import NamedTuple


class Remedy(NamedTuple):
    """What mends the data.

    Args:
        code: Python in the words of the caller's library: run where `frame` (or `known`, `val`) and
            `columns` are those that caused the error, it replaces them.
        options: the same for the command line: options, or what to change in the table.
    """

    code: str
    options: str

    def then(self, other: Remedy) -> Remedy:
        """This remedy, then another one."""
        return Remedy(f"{self.code}; {other.code}", f"{self.options}, {other.options}")


class DataError(ValueError):
    """A frame, file or archive that cannot be used as it is; the message says how to mend it.

    Args:
        problem: what is wrong, in words that fit Python and the command line.
        remedy: what mends it; the message ends with its code.
        on_command_line: the whole message there, where the problem itself is worded otherwise.

    Attributes:
        remedy: code that can be run, or None where nothing but other data helps.
    """

    def __init__(
        self, problem: str, remedy: Remedy | None = None, on_command_line: str | None = None
    ) -> None:
        super().__init__(problem if remedy is None else f"{problem}: {remedy.code}")
        self.remedy = None if remedy is None else remedy.code
        message = problem if remedy is None else f"{problem}: {remedy.options}"
        self._on_command_line = on_command_line or message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (type(self), str(self), self.__dict__)

    def on_command_line(self) -> str:
        """The message in the words of the command line."""
        return self._on_command_line


def _rebuilt(kind: type[DataError], message: str, state: dict[str, object]) -> DataError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class NothingToForecastError(DataError):
    """Scenes that are sound but hold no window; beside others they would be left out."""


class FrameTypeError(DataError, TypeError):
    """Something that is no frame of pandas, polars or pyarrow."""


class SeriesDroppedWarning(UserWarning):
    """Series that get no forecast, because nothing of them is observed within the context."""


class CoarseSeriesWarning(UserWarning):
    """Series that step by far more than the grid on which they are forecast."""


class UnknownLabelsWarning(UserWarning):
    """A covariate none of whose labels was there in training."""


class NoReturnsWarning(UserWarning):
    """A target that is a level, such as a price, given to a model of returns."""


def warn_user(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and point at the line outside this package that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("hierforecast"):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


class Interrupted(KeyboardInterrupt):
    """A training that was interrupted after a step; what it learned until then is kept."""


class NotFittedError(RuntimeError):
    """A forecaster was asked before `fit` or `load`, or its fit is one of other options."""


class MissingExtraError(ImportError):
    """An optional dependency is missing; the message names the extra that brings it."""


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency late, or say which extra installs it.

    Args:
        module: name of the module, e.g. ``"py7zr"``.
        extra: the extra of this package that brings it, e.g. ``"sports"``.
        purpose: what it is needed for, e.g. ``"to read .7z archives"``.

    Raises:
        MissingExtraError: if the module is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"'{module}' is needed {purpose}: pip install 'hierforecast[{extra}]'"
        ) from error
