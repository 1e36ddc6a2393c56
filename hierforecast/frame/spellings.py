"""Time columns that are no times yet: what their values are, and the code that converts them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.digits import POLARS_QUARTER, QUARTER, WEEK, from_digits, read_digits
from hierforecast.frame.remedies import Recipe

if TYPE_CHECKING:
    from hierforecast.frame.table import Table

DATES = (
    "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%d/%m/%y",
    "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d%b%Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%y-%m-%d", "%y/%m/%d",
)  # fmt: skip
MONTHS = (
    "%Y%m", "%Y-%m", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y %b", "%m/%Y", "%Y/%m", "%Y.%m",
    "%YM%m", "%Y-M%m", "%Y M%m",
)  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
INTEGER, NUMBER = r"[+-]?\d{1,18}", r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
FROM_UTC = r"(Z|[+-]\d\d:?(?:\d\d)?)$"
OFFSET = r".*[T ]\d\d.*(?:Z|[+-]\d\d:?(?:\d\d)?)"

WHOLE = Recipe(
    "{it}.astype('int64')",
    "{it}.cast(pl.Int64)",
    "write whole numbers in the column {column}",
    "{it}.cast('int64')",
)
OBJECTS = Recipe(
    "pd.to_datetime({it})",
    "{it}.map_batches(lambda s: pl.Series(pd.to_datetime(s.to_list())), pl.Datetime('us'))",
    "write dates such as 2024-01-31 in the column {column}",
)
ISO = Recipe("pd.to_datetime({it}, format='ISO8601')", "{it}.str.to_datetime()", OBJECTS.options)
PERIODS = Recipe("{it}.dt.start_time", "{it}", OBJECTS.options)
LOCAL = Recipe(
    f"pd.to_datetime({{it}}.str.replace(r'{FROM_UTC}', '', regex=True), format='ISO8601')",
    f"{{it}}.str.replace(r'{FROM_UTC}', '').str.to_datetime()",
    "--zone with the name of their time zone, such as Europe/Berlin",
)
UTC = Recipe(
    "pd.to_datetime({it}, utc=True, format='ISO8601')",
    "{it}.str.to_datetime(time_zone='UTC')",
    "--zone UTC",
)
QUARTERS = Recipe(
    "pd.PeriodIndex({it}.str.extract(r'(\\d{{4}})')[0] + 'Q' + {it}.str.extract(r'[Qq](\\d)')[0]"
    ", freq='Q').to_timestamp()",
    POLARS_QUARTER.format(
        year="{it}.str.extract(r'(\\d{{4}})')",
        quarter="{it}.str.extract(r'[Qq](\\d)').cast(pl.Int32)",
    ),
    QUARTER,
)
WEEKS = Recipe(
    "pd.to_datetime({it}.str.replace('-', '') + '-1', format='%GW%V-%u')",
    "({it}.str.replace('-', '') + '-1').str.to_date('%GW%V-%u')",
    WEEK,
)


def no_time(table: Table, name: str) -> DataError:
    """The error for a column that is no time, with the code that makes it one if there is any."""
    series = table.frame[name]
    problem = (
        f"column {name!r} of {table.what} is no time (its type is {table.type_of(name)}): "
        "integers, dates, datetimes and durations are"
    )
    if series.dtype.is_float() or series.dtype.is_decimal():
        return _numbers(table, name, series.cast(nw.Float64()).to_numpy(), problem)
    if "pandas.period" in table.type_of(name):  # of pyarrow
        return DataError(f"{problem}; take the start of each period", table.convert(PERIODS, name))
    if series.dtype == nw.Boolean:
        return DataError(f"{problem}; name the time column with Columns(time=...)")
    try:
        values = pd.Series(pd.unique(pd.Series(series.to_list(), dtype=object)))
    except TypeError:  # of lists and the like
        return DataError(f"{problem}; convert it")
    if not all(isinstance(value, str) for value in values):
        return _objects(table, name, values, problem)
    text = values.astype(str)
    if text.str.fullmatch(NUMBER).all() and not text.str.fullmatch(INTEGER).all():
        return _numbers(table, name, text.astype(float).to_numpy(), problem)
    hint, recipe = recognize(text)
    if recipe is not None and series.dtype in (nw.Categorical, nw.Enum):
        recipe = recipe._replace(polars=recipe.polars.replace("{it}", "{it}.cast(pl.String)"))
    return DataError(problem + hint, None if recipe is None else table.convert(recipe, name))


def recognize(text: pd.Series) -> tuple[str, Recipe | None]:
    """What distinct texts (k,) of a time column are, in words to add, and what converts them."""
    if text.str.fullmatch(r"\d{4}[ -]?[Qq][1-4]|[Qq][1-4][ -/]?\d{4}").all():
        return "; these are quarters", QUARTERS
    if text.str.fullmatch(r"\d{4}-?W\d\d").all():
        return "; these are weeks", WEEKS
    formats = _formats(text)
    if formats:
        other = f", or perhaps {formats[1]!r}" if len(formats) > 1 else ""
        return f"; these are dates written as {formats[0]!r}{other}", written_as(formats[0])
    if text.str.fullmatch(INTEGER).all():
        return _whole(np.sort(text.astype("int64").to_numpy()))
    offset = text.str.fullmatch(OFFSET)
    times = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=bool(offset.any()))
    if times.isna().any():
        formats = _formats(text, ("%Y-%m-%d", "%Y/%m/%d"))  # with clocks that ISO does not have
        if formats:
            return f"; these are dates written as {formats[0]!r}", written_as(formats[0])
        bad = text[times.isna()].iloc[0]
        return f"; {bad!r} is none that could be recognized, so convert the column", None
    if not offset.any():
        return "; convert it", ISO
    if not offset.all():
        bad = text[~offset].iloc[0]
        return f"; {bad!r} has no offset from UTC and others have one: give all one, or none", None
    mixed = text.str.extract(FROM_UTC)[0].nunique() > 1
    if mixed:
        # The days of one zone have two offsets a year; hours do not repeat in UTC.
        clock = text.str.replace(FROM_UTC, "", regex=True)
        local = pd.to_datetime(clock, format="ISO8601")
        if _unevenness(local) < _unevenness(times):
            return "; their offsets from UTC differ, but not their time of day: drop them", LOCAL
        return "; their offsets from UTC differ, so name one zone", UTC
    return "; convert it", ISO._replace(polars=UTC.polars)


def written_as(form: str) -> Recipe:
    """Dates of a format of `strptime`."""
    kind = "datetime" if "%H" in form or "%I" in form else "date"
    polars, chrono = "{it}", form.replace(".%f", "%.f")
    if form in MONTHS:  # polars reads no date without a day
        polars, chrono = "({it} + ' 01')", f"{form} %d"
    return Recipe(
        f"pd.to_datetime({{it}}, format={form!r})",
        f"{polars}.str.to_{kind}('{chrono}')",
        f"--date-format '{form}'",
    )


def _unevenness(times: pd.Series) -> int:
    """How many kinds of gaps there are between times (k,)."""
    return len(np.unique(np.diff(np.sort(times.to_numpy()))))


def _formats(text: pd.Series, dates: tuple[str, ...] = (*DATES, *MONTHS)) -> list[str]:
    """Formats that read every text, those with the most even steps first."""
    sample = text.iloc[:: max(1, len(text) // 20)]
    found = []
    for date in dates:
        for clock in ("",) if date in MONTHS else CLOCKS:
            if not _read(sample, date + clock).isna().any():
                times = _read(text, date + clock)
                if not times.isna().any():
                    found.append((_unevenness(times), date + clock))
    return [form for _, form in sorted(found, key=lambda item: item[0])]


def _read(text: pd.Series, form: str) -> pd.Series:
    if form in ("%Y%m%d", "%Y%m"):  # of fewer digits they are numbers
        digits = 6 if form == "%Y%m%d" else 4
        text = text.where(text.str.fullmatch(f"(?:19|20)\\d{{{digits}}}"))
    return pd.to_datetime(text, format=form, errors="coerce")


def _objects(table: Table, name: str, values: pd.Series, problem: str) -> DataError:
    if all(isinstance(value, int | np.integer) for value in values):
        return DataError(f"{problem}; its values are whole numbers", table.convert(WHOLE, name))
    if all(isinstance(value, float | Decimal) for value in values):
        return _numbers(table, name, values.astype(float).to_numpy(), problem)
    for recipe in (OBJECTS, UTC):
        try:
            pd.to_datetime(values, utc=recipe is UTC)
        except (ValueError, TypeError):
            continue
        recipe = recipe._replace(pandas=recipe.pandas.replace(", format='ISO8601'", ""))
        return DataError(f"{problem}; its values are dates", table.convert(recipe, name))
    return DataError(f"{problem}; convert it")


def _whole(values: np.ndarray) -> tuple[str, Recipe]:
    """What integers (k,), sorted, stand for, in words to add, and what converts them."""
    found = read_digits(values)
    if found is None:
        return "; its values are whole numbers", WHOLE
    recipe = from_digits(found)
    return f"; its values are {found.name} in digits", Recipe(
        recipe.pandas.replace("{it}", WHOLE.pandas),
        recipe.polars.replace("{it}", WHOLE.polars),
        recipe.options,
    )


def _numbers(table: Table, name: str, values: np.ndarray, problem: str) -> DataError:
    """The error for numbers (n,) that are no integers."""
    if np.isnan(values).any():
        table.reject_nulls(name, np.isnan(values))
    if not np.isfinite(values).all():
        return DataError(f"{problem}; it has infinite values", table.convert("finite", name))
    distinct = np.unique(values)
    if (distinct == np.round(distinct)).all():
        hint, recipe = _whole(distinct.astype(np.int64))
        return DataError(problem + hint, table.convert(recipe, name))
    gap, from_first = spacing(distinct)
    pandas, polars, arrow = "{it}", "{it}", "{it}"
    if not table.frame[name].dtype.is_float():
        pandas, polars = "{it}.astype(float)", "{it}.cast(pl.Float64)"
        arrow = "{it}.cast('float64')"
    if from_first:
        pandas, polars = (f"({it} - {it}.min())" for it in (pandas, polars))
        arrow = f"pc.subtract({arrow}, pc.min({arrow}))"
    steps = Recipe(
        f"({pandas} / {gap!r}).round().astype('int64')",
        f"({polars} / {gap!r}).round().cast(pl.Int64)",
        f"--time-step {gap!r}",
        f"pc.cast(pc.round(pc.divide({arrow}, {gap!r})), 'int64')",
    )
    problem += f"; its values lie {gap!r} apart, so count steps of that"
    return DataError(problem, table.convert(steps, name))


def spacing(distinct: np.ndarray) -> tuple[float, bool]:
    """The usual gap of increasing numbers (k,), and whether counting must begin at the first."""
    gaps = np.diff(distinct)
    if not len(gaps):
        return abs(float(distinct[0])) or 1.0, False
    # Gaps of rounding errors alone are none.
    gaps = gaps[gaps > 1e-6 * gaps.max()]
    usual, counts = np.unique([float(f"{gap:.4g}") for gap in gaps], return_counts=True)
    rough = float(usual[counts.argmax()])
    near = gaps[np.abs(gaps / rough - 1) < 0.01]
    total = distinct[-1] - distinct[0]
    exact = total / max(round(total / near.mean()), 1)
    for near_enough in (1e-3, 0.2):  # clocks jitter
        for gap in (rough, float(f"{exact:.6g}"), float(f"{exact:.12g}")):
            for start in (0.0, distinct[0]):
                steps = (distinct - start) / gap
                if np.abs(steps - np.round(steps)).max() < near_enough:
                    return gap, start != 0
    return float(f"{gaps.min():.6g}"), True
