"""Loaders that say which column of their frames plays which role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, cast

import pandas as pd

from hierforecast.frame import Columns

P = ParamSpec("P")


class Loader(Protocol[P]):
    """A function that loads a frame; its `columns` are for `Forecaster`."""

    columns: Columns
    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> pd.DataFrame:
        """Load a frame."""
        ...


def with_columns(**roles: Any) -> Callable[[Callable[P, pd.DataFrame]], Loader[P]]:
    """Give a loader its `columns`."""

    def decorate(load: Callable[P, pd.DataFrame]) -> Loader[P]:
        loader = cast(Loader[P], load)
        loader.columns = Columns(**roles)
        return loader

    return decorate


# Players and a ball, in feet or meters: what all sources of tracks have.
with_tracks = with_columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
