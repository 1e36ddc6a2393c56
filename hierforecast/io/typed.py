"""Dataclasses from files: every field must be of the type that the class says."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def typed(made: T) -> T:
    """The same dataclass, once its fields are known to hold what they are said to.

    Numbers must be finite. `Any` is a label: whatever can be looked up.

    Raises:
        TypeError: if a field does not; it is named.
    """
    hints = get_type_hints(type(made))
    for field in fields(made):  # type: ignore[arg-type]
        value = getattr(made, field.name)
        if not _fits(value, hints[field.name]):
            raise TypeError(f"{field.name}={value!r} is not of type {field.type}")
    return made


def _fits(value: Any, kind: Any) -> bool:
    if kind is Any:
        return value.__hash__ is not None
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:  # of any length, all of one kind
        return isinstance(value, tuple) and all(_fits(one, get_args(kind)[0]) for one in value)
    if is_dataclass(kind):
        return isinstance(value, kind) and typed(value) is value  # type: ignore[arg-type]
    if kind is float:
        return type(value) in (int, float) and isfinite(value)
    return type(value) is (NoneType if kind is None else kind)
