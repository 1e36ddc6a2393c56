"""Forecasters that are fitted already, and come with the package: a first forecast in seconds."""

from __future__ import annotations

from pathlib import Path

from hierforecast.errors import DataError
from hierforecast.forecaster import Forecaster

HOME = Path(__file__).parent


def pretrained(name: str = "basketball") -> Forecaster:
    """A fitted forecaster that comes with the package.

    - ``"basketball"``: ten players and a ball as `hierforecast.datasets.simulate_basketball` makes
      them, 40 steps of 0.16 s -> 10. What it learned from and how good it is stand beside it, in
      ``hierforecast/weights/README.md``.

    Args:
        name: which one.

    Returns:
        The forecaster, as `Forecaster.load` gives it: it forecasts, and its ``fit`` with
        ``warm_start=True`` goes on with it on data of the same columns and step.

    Raises:
        DataError: if there is none of that name.
    """
    there = sorted(path.parent.name for path in HOME.glob("*/forecaster.json"))
    if name not in there:
        raise DataError(f"no pretrained forecaster is called {name!r}: there is {', '.join(there)}")
    return Forecaster.load(HOME / name)
