"""Joint forecasts of grouped time series, equivariant to every permutation the groups allow.

Names are imported when they are first asked for: neither ``import hierforecast`` nor
``hierforecast --help`` loads torch and pandas.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hierforecast.comparison import compare
    from hierforecast.errors import DataError, MissingExtraError, NotFittedError
    from hierforecast.forecaster import Forecaster
    from hierforecast.frame import Columns
    from hierforecast.frame.resampling import resample
    from hierforecast.io.reading import read_table
    from hierforecast.models import ConstantVelocity, HiPerformer, LastValue, Ridge, SeasonalNaive
    from hierforecast.shards import Shards, shard
    from hierforecast.weights import pretrained

__version__ = version("hierforecast")

__all__ = [
    "Columns",
    "ConstantVelocity",
    "DataError",
    "Forecaster",
    "HiPerformer",
    "LastValue",
    "MissingExtraError",
    "NotFittedError",
    "Ridge",
    "SeasonalNaive",
    "Shards",
    "compare",
    "pretrained",
    "read_table",
    "resample",
    "shard",
]

# Where each of them is defined.
_HOMES = {
    "Columns": "frame",
    "ConstantVelocity": "models",
    "DataError": "errors",
    "Forecaster": "forecaster",
    "HiPerformer": "models",
    "LastValue": "models",
    "MissingExtraError": "errors",
    "NotFittedError": "errors",
    "Ridge": "models",
    "SeasonalNaive": "models",
    "Shards": "shards",
    "compare": "comparison",
    "pretrained": "weights",
    "read_table": "io.reading",
    "resample": "frame.resampling",
    "shard": "shards",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker would take every misspelled name for one of these

    def __getattr__(name: str) -> object:
        """A public name, or a module of the package, at its first use."""
        if name in _HOMES:
            value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
            globals()[name] = value
            return value
        module = f"{__name__}.{name}"
        if not name.startswith("_"):
            try:
                return import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
