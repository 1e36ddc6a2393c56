"""Time columns that are no times yet: what their values are, and the code that converts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.remedies import Recipe

if TYPE_CHECKING:
    from hierforecast.frame.table import Table

DATES = (
    "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%d/%m/%y",
    "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d%b%Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
)  # fmt: skip
MONTHS = (
    "%Y%m", "%Y-%m", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y %b", "%m/%Y", "%Y/%m", "%Y.%m",
    "%YM%m", "%Y-M%m", "%Y M%m",
)  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
# Dates that are written as integers: their format, the digits after the year, where gaps fall.
DATES_IN_DIGITS = (
    ("%Y%m%d", "days", "month", 4),
    ("%Y%q", "quarters", "year", 1),
    ("%Y0%q", "quarters", "year", 2),
    ("%Y%m", "months", "year", 2),
    ("%G%V", "weeks", "year", 2),
)
INTEGER, NUMBER = r"[+-]?\d{1,18}", r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
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
UTC = Recipe(
    "pd.to_datetime({it}, utc=True, format='ISO8601')",
    "{it}.str.to_datetime(time_zone='UTC')",
    "--zone UTC",
)
# polars knows no quarters: year and quarter make the first day of one.
POLARS_QUARTER = (
    "({year}.cast(pl.String) + '-' + ({quarter} * 3 - 2).cast(pl.String) + '-1')"
    ".str.to_date('%Y-%m-%d')"
)
QUARTERS = Recipe(
    "pd.PeriodIndex({it}.str.extract(r'(\\d{{4}})')[0] + 'Q' + {it}.str.extract(r'[Qq](\\d)')[0]"
    ", freq='Q').to_timestamp()",
    POLARS_QUARTER.format(
        year="{it}.str.extract(r'(\\d{{4}})')",
        quarter="{it}.str.extract(r'[Qq](\\d)').cast(pl.Int32)",
    ),
    "write the first day of each quarter, such as 1998-01-01, in the column {column}",
)
WEEKS = Recipe(
    "pd.to_datetime({it}.str.replace('-', '') + '-1', format='%GW%V-%u')",
    "({it}.str.replace('-', '') + '-1').str.to_date('%GW%V-%u')",
    "write the first day of each week, such as 2024-01-29, in the column {column}",
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
    if series.dtype == nw.Boolean:
        return DataError(f"{problem}; name the time column with Columns(time=...)")
    values = pd.Series(pd.unique(pd.Series(series.to_list(), dtype=object)))
    if not all(isinstance(value, str) for value in values):
        return _objects(table, name, values, problem)
    text = values.astype(str)
    if text.str.fullmatch(NUMBER).all() and not text.str.fullmatch(INTEGER).all():
        return DataError(f"{problem}; convert its numbers first", table.convert("numbers", name))
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
        return "; these are whole numbers", WHOLE
    offset = text.str.fullmatch(OFFSET)
    times = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=bool(offset.any()))
    if times.isna().any():
        bad = text[times.isna()].iloc[0]
        return f"; {bad!r} is none that could be recognized, so convert the column", None
    if not offset.any():
        return "; convert it", ISO
    if not offset.all():
        bad = text[~offset].iloc[0]
        return f"; {bad!r} has no offset from UTC and others have one: give all one, or none", None
    mixed = text.str.extract(r"(Z|[+-]\d\d:?(?:\d\d)?)$")[0].nunique() > 1
    if mixed:
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


def _formats(text: pd.Series) -> list[str]:
    """Formats that read every text, those with the most even steps first."""
    sample = text.iloc[:: max(1, len(text) // 20)]
    found = []
    for date in (*DATES, *MONTHS):
        for clock in CLOCKS if date in DATES else ("",):
            if not _read(sample, date + clock).isna().any():
                times = _read(text, date + clock)
                if not times.isna().any():
                    found.append((len(np.unique(np.diff(np.sort(times)))), date + clock))
    return [form for _, form in sorted(found, key=lambda item: item[0])]


def _read(text: pd.Series, form: str) -> pd.Series:
    if form in ("%Y%m%d", "%Y%m"):  # of fewer digits they are numbers
        digits = 6 if form == "%Y%m%d" else 4
        text = text.where(text.str.fullmatch(f"(?:19|20)\\d{{{digits}}}"))
    return pd.to_datetime(text, format=form, errors="coerce")


def _objects(table: Table, name: str, values: pd.Series, problem: str) -> DataError:
    if all(isinstance(value, int | np.integer) for value in values):
        return DataError(f"{problem}; its values are whole numbers", table.convert(WHOLE, name))
    try:
        pd.to_datetime(values)
    except (ValueError, TypeError):
        return DataError(f"{problem}; convert it")
    return DataError(f"{problem}; its values are dates", table.convert(OBJECTS, name))


def _numbers(table: Table, name: str, values: np.ndarray, problem: str) -> DataError:
    if np.isnan(values).any():
        table.reject_nulls(name, np.isnan(values))
    if not np.isfinite(values).all():
        return DataError(f"{problem}; it has infinite values", table.convert("finite", name))
    distinct = np.unique(values)
    if (distinct == np.round(distinct)).all():
        return DataError(f"{problem}; its values are whole numbers", table.convert(WHOLE, name))
    gap, from_first = spacing(distinct)
    away = "({it} - {it}.min())" if from_first else "{it}"
    arrow = "pc.subtract({it}, pc.min({it}))" if from_first else "{it}"
    steps = Recipe(
        f"({away} / {gap!r}).round().astype('int64')",
        f"({away} / {gap!r}).round().cast(pl.Int64)",
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


def reject_digits(table: Table, name: str, values: np.ndarray) -> None:
    """Check that the integers of a time column are no dates, such as 202312 and 202401.

    Args:
        table, name: the column.
        values: (k,) its distinct integers, sorted.

    Raises:
        DataError: if all read as dates, and their gaps fall where months or years end.
    """
    for form, kind, where, digits in DATES_IN_DIGITS:
        years = values // 10**digits
        if not 1900 <= years[0] <= years[-1] <= 2100 or not _reads_as(values, form):
            continue
        gaps, part = np.diff(values), values // (100 if where == "month" else 10**digits)
        turn = part[1:] != part[:-1]
        if not turn.any() or not (gaps[turn] > gaps[~turn].max(initial=0)).all():
            continue
        at = int(np.argmax(turn))
        raise DataError(
            f"the integers of column {name!r} read as {kind}: they go from {values[at]} to "
            f"{values[at + 1]} at the {where}'s end, which would be {gaps[at] - 1} missing steps; "
            "convert them, or say that they count steps with Columns(freq=1)",
            table.convert(_from_digits(form), name),
        )


def _reads_as(values: np.ndarray, form: str) -> bool:
    """Whether all integers are dates of this format."""
    if "%q" in form:
        return bool(np.isin(values % (100 if "0" in form else 10), (1, 2, 3, 4)).all())
    text = pd.Series(values.astype(str)) + ("1" if "%V" in form else "")
    form += "%u" if "%V" in form else ""
    return bool(pd.to_datetime(text, format=form, errors="coerce").notna().all())


def _from_digits(form: str) -> Recipe:
    if "%q" in form:
        year = f"{{it}} // {100 if '0' in form else 10}"
        return Recipe(
            f"pd.PeriodIndex(({year}).astype(str) + 'Q' + ({{it}} % 10).astype(str), freq='Q')"
            ".to_timestamp()",
            POLARS_QUARTER.format(year=f"({year})", quarter="({it} % 10)"),
            QUARTERS.options,
        )
    if "%V" in form:
        text = "{it}.cast(pl.String) + '1'"
        return Recipe(
            "pd.to_datetime({it}.astype(str) + '1', format='%G%V%u')",
            f"({text}).str.to_date('%G%V%u')",
            WEEKS.options,
        )
    text, extra = "{it}.cast(pl.String)", ""
    if form == "%Y%m":  # polars reads no date without a day
        text, extra = f"{text} + '01'", "%d"
    return Recipe(
        f"pd.to_datetime({{it}}.astype(str), format={form!r})",
        f"({text}).str.to_date('{form}{extra}')",
        f"--date-format {form}",
    )
