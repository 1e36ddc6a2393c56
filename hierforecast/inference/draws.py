"""Joint draws of windows: each window's own, whatever windows are beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from numbers import Integral, Real
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import torch

from hierforecast._random import seeded
from hierforecast.frame import Panel


@dataclass(frozen=True)
class Draws:
    """Where the draws of windows come from: of the seed, its scene's label and its cutoff's time.

    So a scene is drawn alike alone and in a batch, in a part of a frame and in the whole of it, on
    one machine and on several.

    Args:
        seed: of them all.
        more: what else tells draws of one window apart.
    """

    seed: int
    more: tuple[int, ...] = ()

    def also(self, *more: int) -> Draws:
        """Others of the same windows."""
        return replace(self, more=more)

    def generators(self, panel: Panel, windows: np.ndarray) -> list[torch.Generator]:
        """One generator for each of the windows (W, 2): scene and first step forecast."""
        scene, cutoff = windows.T
        names = [(0,)] * len(scene)
        if panel.labels.scene:
            columns = (plain(column[scene]) for column in panel.labels.scene)
            names = list(zip(*columns, strict=True))
        times = plain(nw.new_series("", panel.times(scene, cutoff - 1), backend="pandas"))
        return [self._generator(*key) for key in zip(names, times, strict=True)]

    def _generator(self, name: tuple[Any, ...], time: Any) -> torch.Generator:
        key = repr((self.seed, *self.more, name, time)).encode()
        return seeded(int.from_bytes(blake2b(key, digest_size=8).digest()))


def plain(column: nw.Series[Any]) -> list[Any]:
    """Labels as text or numbers of Python's own, the same whatever type and unit hold them."""
    if column.dtype.is_temporal():
        return [_moment(each) for each in column.to_list()]
    return [_number(each) for each in column.to_list()]


def _number(label: Any) -> Any:
    if isinstance(label, Integral):
        return int(label)
    if isinstance(label, Real):
        number = float(label)
        return int(number) if number.is_integer() else number
    return _moment(label) if hasattr(label, "isoformat") else str(label)


def _moment(label: Any) -> str:
    """A date, a time in UTC, or a duration."""
    if hasattr(label, "total_seconds"):
        return str(pd.Timedelta(label))
    moment = pd.Timestamp(label)
    return (moment if moment.tz is None else moment.tz_convert("UTC").tz_localize(None)).isoformat()
