"""Joint forecasts of grouped time series, equivariant to every permutation the groups allow."""

from importlib.metadata import version

from hierforecast.comparison import compare
from hierforecast.errors import DataError, MissingExtraError, NotFittedError
from hierforecast.forecaster import Forecaster
from hierforecast.frame import Columns
from hierforecast.frame.resampling import resample
from hierforecast.io.reading import read_table
from hierforecast.models import ConstantVelocity, HiPerformer, LastValue, Ridge, SeasonalNaive

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
    "compare",
    "read_table",
    "resample",
]
