"""What loaders share: which column plays which role, and wide tables made long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, cast

import numpy as np
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


def long_of(wide: pd.DataFrame, labels: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per series and time, sorted by series as in the columns of a wide table.

    Args:
        wide: a row per time, which the index holds, a column per series.
        labels: a row per series, in the order of the columns; each column becomes one.
    """
    steps, n = wide.shape
    named = {} if labels is None else {name: labels[name].to_numpy(str) for name in labels}
    named = {"unique_id": np.array(wide.columns, dtype=str), **named}
    columns = {name: np.repeat(values, steps) for name, values in named.items()}
    values = wide.to_numpy(np.float64).T.reshape(-1)
    return pd.DataFrame({"ds": np.tile(wide.index.to_numpy(), n), **columns, "y": values})
