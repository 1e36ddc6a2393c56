"""Dates that are written as integers: 202312 and 202401 are a month apart, not 89 steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.remedies import Recipe

if TYPE_CHECKING:
    from hierforecast.frame.table import Table


class Digits(NamedTuple):
    """A way to write dates as integers.

    Args:
        form: their format, where ``%q`` is the quarter.
        name: what they count.
        part: what ends where their gaps fall.
        digits: after the year.
    """

    form: str
    name: str
    part: str
    digits: int


FORMS = (
    Digits("%Y%m%d", "days", "month", 4),
    Digits("%Y%q", "quarters", "year", 1),
    Digits("%Y0%q", "quarters", "year", 2),
    Digits("%Y%m", "months", "year", 2),
    Digits("%G%V", "weeks", "year", 2),
)
# So many integers in a row that read as the months of one year are no accident.
FEW = 6
# polars knows no quarters: year and quarter make the first day of one.
POLARS_QUARTER = (
    "({year}.cast(pl.String) + '-' + ({quarter} * 3 - 2).cast(pl.String) + '-1')"
    ".str.to_date('%Y-%m-%d')"
)
QUARTER = "write the first day of each quarter, such as 1998-01-01, in the column {column}"
WEEK = "write the first day of each week, such as 2024-01-29, in the column {column}"


def reject_digits(table: Table, name: str, values: np.ndarray) -> None:
    """Check that the integers of a time column are no dates.

    Args:
        table, name: the column.
        values: (k,) its distinct integers, sorted.

    Raises:
        DataError: if all read as dates, and their gaps fall where months or years end.
    """
    found = read_digits(values)
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
        table.convert(from_digits(found), name),
    )


def read_digits(values: np.ndarray) -> Digits | None:
    """How integers (k,), sorted and distinct, are written if they are dates, else None.

    They are if all read as dates and only the ends of months or years are gaps; days of one month
    and months of one year if there are half a dozen of them, one after another.
    """
    for form in FORMS:
        years = values // 10**form.digits
        if not 1900 <= years[0] <= years[-1] <= 2100 or not _reads_as(values, form.form):
            continue
        gaps = np.diff(values)
        part = values // (100 if form.part == "month" else 10**form.digits)
        turn = part[1:] != part[:-1]
        if turn.any() and (gaps[turn] > gaps[~turn].max(initial=0)).all():
            return form
        if not turn.any() and len(gaps) >= FEW and "m" in form.form and (gaps == 1).all():
            return form
    return None


def _reads_as(values: np.ndarray, form: str) -> bool:
    """Whether all integers are dates of this format."""
    if "%q" in form:
        return bool(np.isin(values % (100 if "0" in form else 10), (1, 2, 3, 4)).all())
    text = pd.Series(values.astype(str)) + ("1" if "%V" in form else "")
    form += "%u" if "%V" in form else ""
    return bool(pd.to_datetime(text, format=form, errors="coerce").notna().all())


def from_digits(found: Digits) -> Recipe:
    """What makes dates of such integers."""
    form = found.form
    if "%q" in form:
        year = f"{{it}} // {100 if '0' in form else 10}"
        return Recipe(
            f"pd.PeriodIndex(({year}).astype(str) + 'Q' + ({{it}} % 10).astype(str), freq='Q')"
            ".to_timestamp()",
            POLARS_QUARTER.format(year=f"({year})", quarter="({it} % 10)"),
            QUARTER,
        )
    if "%V" in form:
        text = "{it}.cast(pl.String) + '1'"
        return Recipe(
            "pd.to_datetime({it}.astype(str) + '1', format='%G%V%u')",
            f"({text}).str.to_date('%G%V%u')",
            WEEK,
        )
    text, extra = "{it}.cast(pl.String)", ""
    if form == "%Y%m":  # polars reads no date without a day
        text, extra = f"{text} + '01'", "%d"
    return Recipe(
        f"pd.to_datetime({{it}}.astype(str), format={form!r})",
        f"({text}).str.to_date('{form}{extra}')",
        f"--date-format {form}",
    )
