"""How times are written: dates in many formats, dates in digits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

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

QUARTER = r"(?P<year>\d{4})[ -]?[Qq](?P<quarter>[1-4])"
QUARTER_FIRST = r"[Qq][1-4][ -/]?\d{4}"
WEEK = r"\d{4}-?W\d\d"
ISO = ("%Y-%m-%d", "%Y/%m/%d")
# Numbers with marks, and the marks; of several that fit, the first.
MARKS = {
    r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?|[-+]?\d{1,3}(\.\d+)?": {"thousands": ","},
    r"[-+]?\d*,\d+|[-+]?\d+": {"decimal": ","},
    r"[-+]?[\d.]*,\d+|[-+]?\d+": {"decimal": ",", "thousands": "."},
}


def marks_of(text: pd.Series) -> dict[str, str] | None:
    """The marks within texts (k,) that are numbers but for these, or None."""
    fits = (marks for pattern, marks in MARKS.items() if text.str.fullmatch(pattern).all())
    return next(fits, None)


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


DIGITS = (
    Digits("%Y%m%d", "days", "month", 4),
    Digits("%Y%q", "quarters", "year", 1),
    Digits("%Y0%q", "quarters", "year", 2),
    Digits("%Y%m", "months", "year", 2),
    Digits("%G%V", "weeks", "year", 2),
)
# So many integers in a row that read as the months of one year are no accident.
FEW = 6


def read_digits(values: np.ndarray) -> Digits | None:
    """How integers (k,), sorted and distinct, are written if they are dates, else None.

    They are if all read as dates and only the ends of months or years are gaps; days of one month
    and months of one year if there are half a dozen of them, one after another.
    """
    for form in DIGITS:
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


def unevenness(times: pd.Series) -> int:
    """How many kinds of gaps there are between times (k,)."""
    return len(np.unique(np.diff(np.sort(times.to_numpy()))))


def formats_of(text: pd.Series, dates: tuple[str, ...] = (*DATES, *MONTHS)) -> list[str]:
    """Formats that read every text, those with the most even steps first."""
    sample = text.iloc[:: max(1, len(text) // 20)]
    found = []
    for date in dates:
        for clock in ("",) if date in MONTHS else CLOCKS:
            if not _read(sample, date + clock).isna().any():
                times = _read(text, date + clock)
                if not times.isna().any():
                    found.append((unevenness(times), date + clock))
    return [form for _, form in sorted(found, key=lambda item: item[0])]


def _read(text: pd.Series, form: str) -> pd.Series:
    if form in ("%Y%m%d", "%Y%m"):  # of fewer digits they are numbers
        digits = 6 if form == "%Y%m%d" else 4
        text = text.where(text.str.fullmatch(f"(?:19|20)\\d{{{digits}}}"))
    return pd.to_datetime(text, format=form, errors="coerce")
