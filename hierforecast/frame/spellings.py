"""Time columns that are no times yet: what their values are, and the code that converts them."""

from __future__ import annotations

from decimal import Decimal

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame import formats
from hierforecast.frame.even import FIRST, SCENE, Even, Sequences, even_clock
from hierforecast.frame.remedies import Recipe
from hierforecast.frame.table import Table

COLUMN = Recipe("{it}", "{it}", "")
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
DATES = Recipe("pd.to_datetime({it}, format='ISO8601')", "{it}.str.to_datetime()", OBJECTS.options)
PERIODS = Recipe("{it}.dt.start_time", "{it}", OBJECTS.options)
LOCAL = Recipe(
    f"pd.to_datetime({{it}}.str.replace(r'{formats.FROM_UTC}', '', regex=True), format='ISO8601')",
    f"{{it}}.str.replace(r'{formats.FROM_UTC}', '').str.to_datetime()",
    "--zone with the name of their time zone, such as Europe/Berlin",
)
UTC = Recipe(
    "pd.to_datetime({it}, utc=True, format='ISO8601')",
    "{it}.str.to_datetime(time_zone='UTC')",
    "--zone UTC",
)


def reject_digits(table: Table, name: str, values: np.ndarray) -> None:
    """Check that the integers of a time column are no dates.

    Args:
        table, name: the column.
        values: (k,) its distinct integers, sorted.

    Raises:
        DataError: if all read as dates, and their gaps fall where months or years end.
    """
    found = formats.read_digits(values)
    if found is None:
        return
    gaps = np.diff(values)
    at = int(np.argmax(gaps))
    ends = f"to {values[-1]}"
    if gaps[at] > 1:
        ends = (
            f"from {values[at]} to {values[at + 1]} at the {found.part}'s end, which would be "
            f"{gaps[at] - 1} missing steps"
        )
    raise DataError(
        f"the integers of column {name!r} read as {found.name}: they go {ends}; convert them, or "
        "say that they count steps with Columns(freq=1)",
        table.convert(_from_digits(found), name),
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
    if text.str.fullmatch(formats.NUMBER).all() and not text.str.fullmatch(formats.INTEGER).all():
        return _numbers(table, name, np.array(series.to_list(), dtype=float), problem)
    hint, recipe = recognize(text)
    if recipe is not None and series.dtype in (nw.Categorical, nw.Enum):
        recipe = recipe._replace(polars=recipe.polars.replace("{it}", "{it}.cast(pl.String)"))
    return DataError(problem + hint, None if recipe is None else table.convert(recipe, name))


def recognize(text: pd.Series) -> tuple[str, Recipe | None]:
    """What distinct texts (k,) of a time column are, in words to add, and what converts them."""
    if text.str.fullmatch(f"{formats.QUARTER}|{formats.QUARTER_FIRST}").all():
        return "; these are quarters", _quarters(r"[Qq](\d)")
    if text.str.fullmatch(formats.WEEK).all():
        return "; these are weeks", _weeks("%GW%V")
    fits = formats.formats_of(text)
    if fits:
        other = f", or perhaps {fits[1]!r}" if len(fits) > 1 else ""
        return f"; these are dates written as {fits[0]!r}{other}", written_as(fits[0])
    if text.str.fullmatch(formats.INTEGER).all():
        return _whole(np.sort(text.astype("int64").to_numpy()))
    offset = text.str.fullmatch(formats.OFFSET)
    times = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=bool(offset.any()))
    if times.isna().any():
        fits = formats.formats_of(text, formats.ISO)  # with clocks that ISO 8601 does not have
        if fits:
            return f"; these are dates written as {fits[0]!r}", written_as(fits[0])
        bad = text[times.isna()].iloc[0]
        return f"; {bad!r} is none that could be recognized, so convert the column", None
    if not offset.any():
        return "; convert it", DATES
    if not offset.all():
        bad = text[~offset].iloc[0]
        return f"; {bad!r} has no offset from UTC and others have one: give all one, or none", None
    mixed = text.str.extract(formats.FROM_UTC)[0].nunique() > 1
    if mixed:
        # The days of one zone have two offsets a year; hours do not repeat in UTC.
        clock = text.str.replace(formats.FROM_UTC, "", regex=True)
        local = pd.to_datetime(clock, format="ISO8601")
        if formats.unevenness(local) < formats.unevenness(times):
            return "; their offsets from UTC differ, but not their time of day: drop them", LOCAL
        return "; their offsets from UTC differ, so name one zone", UTC
    return "; convert it", DATES._replace(polars=UTC.polars)


def _quarters(quarter: str) -> Recipe:
    """Texts with a year, and with a quarter where the pattern finds its digit."""
    year, quarter = (f".str.extract(r'{p}')" for p in (r"(\d{{4}})", quarter))
    return Recipe(
        f"pd.PeriodIndex({{it}}{year}[0] + 'Q' + {{it}}{quarter}[0], freq='Q').to_timestamp()",
        # polars knows no quarters: year and quarter make the first day of one.
        f"({{it}}{year} + '-' + ({{it}}{quarter}.cast(pl.Int32) * 3 - 2).cast(pl.String) + '-1')"
        ".str.to_date('%Y-%m-%d')",
        "write the first day of each quarter, such as 1998-01-01, in the column {column}",
    )


def _weeks(form: str) -> Recipe:
    """Texts with a year and a week."""
    text = "{it}.str.replace('-', '') + '-1'"
    return Recipe(
        f"pd.to_datetime({text}, format='{form}-%u')",
        f"({text}).str.to_date('{form}-%u')",
        "write the first day of each week, such as 2024-01-29, in the column {column}",
    )


def _from_digits(found: formats.Digits, numbers: Recipe = COLUMN) -> Recipe:
    """Dates of integers that `numbers` makes of the column."""
    options = f"--date-format {found.form}"
    if found.name == "quarters":
        recipe = _quarters(r"(\d)$")
        options = recipe.options
    elif found.name == "weeks":
        recipe = _weeks(found.form)
        options = recipe.options
    else:
        recipe = written_as(found.form)
    return Recipe(
        recipe.pandas.replace("{it}", f"{numbers.pandas}.astype(str)"),
        recipe.polars.replace("{it}", f"{numbers.polars}.cast(pl.String)"),
        options,
    )


def written_as(form: str) -> Recipe:
    """Dates of a format of `strptime`."""
    kind = "datetime" if "%H" in form or "%I" in form else "date"
    polars, chrono = "{it}", form.replace(".%f", "%.f")
    if form in formats.MONTHS:  # polars reads no date without a day
        polars, chrono = "({it} + ' 01')", f"{form} %d"
    return Recipe(
        f"pd.to_datetime({{it}}, format={form!r})",
        f"{polars}.str.to_{kind}('{chrono}')",
        f"--date-format '{form}'",
    )


def _objects(table: Table, name: str, values: pd.Series, problem: str) -> DataError:
    if all(isinstance(value, int | np.integer) for value in values):
        return DataError(f"{problem}; its values are whole numbers", table.convert(WHOLE, name))
    if all(isinstance(value, float | Decimal) for value in values):
        numbers = np.array(table.frame[name].to_list(), dtype=float)
        return _numbers(table, name, numbers, problem)
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
    found = formats.read_digits(values)
    if found is None:
        return "; its values are whole numbers", WHOLE
    return f"; its values are {found.name} in digits", _from_digits(found, WHOLE)


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
    return _counts(table, name, values, problem)


def _counts(table: Table, name: str, values: np.ndarray, problem: str) -> DataError:
    """The error for fractions (n,): steps of an even clock, or the number of each frame."""
    columns = table.columns
    scenes, ids = (
        [n for n in names if n in table.frame.columns] for names in (columns.scenes, columns.ids)
    )
    scene = table.keys(scenes)[0] if scenes else np.zeros(len(table), dtype=np.int32)
    series = table.keys([*scenes, *ids])[0] if scenes or ids else scene
    clock = even_clock(values, series, scene)
    if clock is None:
        gaps = Sequences.of(values, series, scene).gaps
        text = (
            f"{problem}; no even clock counts its values, which lie between {gaps.min():.4g} and "
            f"{gaps.max():.4g} apart: interpolate each series at even times, or, if no frame is "
            "missing, number its frames"
        )
        whole = gaps.max() <= 2.5 * np.median(gaps)  # else numbers would close real gaps
        ranks = table.convert(_ranks(table, [*scenes, *ids]), name) if whole else None
        return DataError(text, ranks)
    steps = _steps(table, name, clock, scenes)
    about = "" if clock.exact else "about "
    problem += f"; its values lie {about}{clock.period!r} apart, so count steps of that"
    return DataError(problem, table.convert(steps, name))


def _steps(table: Table, name: str, clock: Even, scenes: list[str]) -> Recipe:
    """The count of steps of an even clock."""
    gap, pandas, polars, arrow = clock.period, "{it}", "{it}", "{it}"
    if not table.frame[name].dtype.is_float():
        pandas, polars = "{it}.astype(float)", "{it}.cast(pl.Float64)"
        arrow = "{it}.cast('float64')"
    if clock.origin == SCENE:
        by = _pandas_keys(table, scenes)
        pandas = f"({pandas} - {pandas}.groupby({by}, observed=True).transform('min'))"
        polars = f"({polars} - {polars}.min().over({_braced(scenes)}))"
    elif clock.origin == FIRST:
        pandas, polars = (f"({it} - {it}.min())" for it in (pandas, polars))
        arrow = f"pc.subtract({arrow}, pc.min({arrow}))"
    return Recipe(
        f"({pandas} / {gap!r}).round().astype('int64')",
        f"({polars} / {gap!r}).round().cast(pl.Int64)",
        f"--time-step {gap!r}",
        None
        if clock.origin == SCENE
        else f"pc.cast(pc.round(pc.divide({arrow}, {gap!r})), 'int64')",
    )


def _ranks(table: Table, keys: list[str]) -> Recipe:
    """The number of each row within its series."""
    by = _pandas_keys(table, keys)
    return Recipe(
        f"{{it}}.groupby({by}, observed=True).rank('dense').astype('int64')",
        f"{{it}}.rank('dense').over({_braced(keys)}).cast(pl.Int64)",
        "write the number of each frame in the column {column}",
    )


def _pandas_keys(table: Table, names: list[str]) -> str:
    """Code of pandas columns to group by."""
    end = ".to_pandas()" if table.frame.implementation.is_pyarrow() else ""
    return f"[{', '.join(f'{table.variable}[{_braced(n)}]{end}' for n in names)}]"


def _braced(name: str | list[str]) -> str:
    """A name as code within a recipe, which is filled in by `str.format`."""
    return repr(name).replace("{", "{{").replace("}", "}}")
