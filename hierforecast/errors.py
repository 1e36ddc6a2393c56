"""Errors that name what is wrong and what to do about it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class DataError(ValueError):
    """A frame, file or archive that cannot be used as it is; the message says how to mend it."""


class NotFittedError(RuntimeError):
    """A forecaster was asked for a forecast before `fit` or `load`."""


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
