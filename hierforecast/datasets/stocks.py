"""Daily closes of the S&P 500's companies, 2013-02-08 to 2018-02-07, in 11 GICS sectors.

What the files are, with counts and every fault found in them: ``datasets/stocks/README.md``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from hierforecast.datasets._loader import with_columns
from hierforecast.errors import DataError
from hierforecast.io.fetch import DataFileNotFoundError, RemoteFile, locate

N_TICKERS, N_SESSIONS, N_ROWS, N_RETURNS, N_REMOVED = 505, 1_259, 619_040, 616_381, 47
N_NOT_OF_DAY, N_COPIES = 17, 1_060  # closes that `faults="missing"` leaves out
SECTOR_SIZES = {
    "Consumer Discretionary": 84,
    "Consumer Staples": 34,
    "Energy": 32,
    "Financials": 68,
    "Health Care": 61,
    "Industrials": 67,
    "Information Technology": 70,
    "Materials": 25,
    "Real Estate": 33,
    "Telecommunication Services": 3,
    "Utilities": 28,
}

PRICES = RemoteFile(
    "stocks/all_stocks_5yr.csv.gz",
    "7c7b1b62d6d80c4be62a8f1fd94cd8d0d243883e6715148641006a159fc108ce",
    size=9_981_793,
)
# The same bytes unpacked: what `datasets/stocks/prepare.py --collect` makes from the public files.
PRICES_UNPACKED = RemoteFile(
    "stocks/all_stocks_5yr.csv",
    "6aea253cd19de60b568143991aaf1fa482456565c389205658d236e595e716cf",
    size=29_580_549,
)
SECTORS = RemoteFile(
    "stocks/constituents_2018-04-02.csv",
    "188659fc8b5d8bed325ee906dab17e53df357789707baa97e89f612172f2269d",
    "https://raw.githubusercontent.com/datasets/s-and-p-500-companies/"
    "5dfdfbc3b9f52802f89e72da6e050b5cafdec4a6/data/constituents.csv",
    18_656,
)
MEMBERSHIP = RemoteFile(
    "stocks/sp500_membership_snapshots.csv.gz",
    "49081b5c69777e697acd8dbf3a2e88188825adfd262c5c88722ef64258be24c4",
    size=46_300,
)
REMOVED = RemoteFile(
    "stocks/sp500_removed_google.csv.gz",
    "4a87afa358b20c4d08a321313b6a45cd960fd04d69a20a4342e8086fd394d514",
    size=884_484,
)

# In the prices but no longer in the list of 2018-04-02; the list of 2017-03-08 has them so.
LATER_GONE = {
    "CBG": "Real Estate",
    "CHK": "Energy",
    "HCN": "Real Estate",
    "PCLN": "Consumer Discretionary",
    "PDCO": "Health Care",
    "SIG": "Consumer Discretionary",
    "SNI": "Consumer Discretionary",
}
# Labels of earlier lists, as they are called in the list of 2018-04-02.
RELABEL = {
    "Industries": "Industrials",
    "Telecommunications Services": "Telecommunication Services",
}

# Closes are adjusted for splits but not for what shareholders received on these mornings
# (a spun-off company, a class of shares, a special dividend): the return is no gain or loss.
UNADJUSTED = (
    ("A", "2014-11-03"),  # Keysight
    ("ARNC", "2016-11-01"),  # Alcoa
    ("BAX", "2015-07-01"),  # Baxalta
    ("BHGE", "2017-07-05"),  # 17.50 USD a share on the merger
    ("CAG", "2016-11-10"),  # Lamb Weston
    ("CTXS", "2017-02-01"),  # GoTo
    ("DHR", "2016-07-05"),  # Fortive
    ("DISCA", "2014-08-07"),  # class C shares
    ("DISCK", "2014-08-07"),
    ("DOV", "2014-03-03"),  # Knowles
    ("EBAY", "2015-07-20"),  # PayPal
    ("HPE", "2017-04-03"),  # DXC
    ("HPE", "2017-09-01"),  # Micro Focus
    ("IR", "2013-12-02"),  # Allegion
    ("KLAC", "2014-11-26"),  # 16.50 USD a share
    ("NI", "2015-07-02"),  # Columbia Pipeline
    ("VNO", "2017-07-18"),  # JBG Smith
    ("XRX", "2017-01-03"),  # Conduent
    ("YUM", "2016-11-01"),  # Yum China
    # of the removed tickers
    ("DF", "2013-05-24"),  # WhiteWave
    ("DF", "2013-08-26"),  # one day on the scale from before the reverse split: in
    ("DF", "2013-08-27"),  # and out of it
    ("GHC", "2015-07-01"),  # Cable One
    ("RRD", "2016-10-03"),  # LSC, Donnelley Financial
    ("SLM", "2014-05-01"),  # Navient
    ("TGNA", "2017-06-01"),  # Cars.com
)
BARS = ["date", "open", "high", "low", "close", "volume", "Name"]
OHLC = ["open", "high", "low", "close"]
SAME_VOLUME = 0.3  # a copied bar's volume is its original's, or an early count of it


@with_columns(group="sector")
def load_stocks(
    *,
    value: Literal["log_return", "price"] = "log_return",
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
    faults: Literal["missing", "keep"] = "missing",
    business_days: bool = True,
    include_removed: bool = False,
    root: Path | str | None = None,
) -> pd.DataFrame:
    """Daily log returns or closes of 505 tickers in 11 sectors; what is not known is not there.

    **Survivorship bias.** The tickers are the index's members of early 2018, followed back: firms
    that failed or were bought are absent, winners are followed from before they joined. Measured
    gains are too good. ``include_removed`` adds 47 that left. Sectors are those of 2018-04-02
    at every date. 29 tickers begin later than the first session (listings); none ends early but
    the removed ones.

    A log return is close to close of *consecutive sessions*: over a hole (six tickers have one)
    none is computed. Prices are adjusted for splits, not for dividends.

    Args:
        value: "log_return" in percent, 100 log(close / previous close); "price": the close in USD
            as it stands in the file (so with a step on each date of `UNADJUSTED`).
        start: first date kept; its return may use the close before it.
        end: last date kept.
        faults: "missing" leaves out closes that are not that day's: outside the day's own low and
            high (17 bars), or a bar that occurs again on a *later* date, which shows the
            future (1,060 bars, most on 2014-07-17, 2014-08-01, 2014-10-29/30, 2017-08-01,
            2017-09-14). Both returns at such a close, and the returns of `UNADJUSTED`, are left
            out. "keep" takes the file as it is: for comparing with others' figures only.
        business_days: True: ``ds`` is the trading date; on the grid of weekdays the exchange's 45
            holidays are steps at which everything is missing. False: ``ds`` is the number of the
            session (0 = 2013-02-08), without such steps, and a column ``date`` is added.
        include_removed: add tickers that left the index (prices of another source, to 2017-12-11,
            going on after the removal; sectors as last listed).
        root: folder with ``stocks/`` (or the files themselves), looked in first.

    Returns:
        Columns ``ds``, ``unique_id`` (ticker), ``sector``, ``y`` (float64), sorted by ticker, ds.

    Raises:
        ValueError: for an unknown ``value`` or ``faults``, or if no row lies in the dates.
        FileNotFoundError: if a file is not found and cannot be downloaded.
        DataError: if a file is damaged or does not have the columns it should.
    """
    if value not in ("log_return", "price") or faults not in ("missing", "keep"):
        raise ValueError(
            f"value={value!r}, faults={faults!r}: value is 'log_return' or 'price', "
            "faults is 'missing' or 'keep'"
        )
    bars, sectors = _read_bars(_prices_path(root)), _read_sectors(root)
    if include_removed:
        removed = _read_bars(locate(REMOVED, root=root))
        bars = pd.concat([bars, removed], ignore_index=True).sort_values(["Name", "date"])
        sectors = {**_last_sectors(root), **sectors}
    frame = _values(bars.reset_index(drop=True), value, faults)
    frame["sector"] = frame["unique_id"].map(sectors)
    unknown = sorted(frame.loc[frame["sector"].isna(), "unique_id"].unique())
    if unknown:
        raise DataError(f"No sector is known for {unknown}: add them to '{SECTORS.name}'.")
    inside = frame["date"].between(
        pd.Timestamp(start or frame["date"].min()), pd.Timestamp(end or frame["date"].max())
    )
    if not inside.any():
        raise ValueError(
            f"No row lies between start={start} and end={end}: the data run from "
            f"{frame['date'].min():%Y-%m-%d} to {frame['date'].max():%Y-%m-%d}."
        )
    frame["ds"] = frame["date"] if business_days else frame["session"]
    columns = ["ds", "unique_id", "sector", "y", *([] if business_days else ["date"])]
    return frame.loc[inside, columns].reset_index(drop=True)


def _prices_path(root: Path | str | None) -> Path:
    """The packed prices, or the same unpacked; the error speaks of the packed ones."""
    try:
        return locate(PRICES, root=root)
    except DataFileNotFoundError as error:
        with suppress(DataFileNotFoundError):
            return locate(PRICES_UNPACKED, root=root)
        raise error


def _read_bars(path: Path) -> pd.DataFrame:
    """Daily bars sorted by ticker and date; a price of 0 is a missing one."""
    # keep_default_na would read a ticker "NA" as missing; an empty cell is still NaN in a number.
    table = pd.read_csv(
        path, dtype={"Name": str}, keep_default_na=False, na_values=dict.fromkeys(OHLC, "")
    )
    missing = [column for column in BARS if column not in table]
    if missing:
        raise DataError(f"'{path}' has no column {missing}; expected {BARS}. Get it again.")
    table["date"] = pd.to_datetime(table["date"], format="%Y-%m-%d")
    doubled = table[table.duplicated(["Name", "date"])]
    if len(doubled):
        name, date = doubled.iloc[0][["Name", "date"]]
        raise DataError(f"'{path}' has two rows of {name} on {date:%Y-%m-%d}: keep one.")
    table[OHLC] = table[OHLC].where(table[OHLC] > 0)
    return table.sort_values(["Name", "date"], ignore_index=True)


def _read_sectors(root: Path | str | None) -> dict[str, str]:
    """Ticker -> GICS sector of 2018-04-02, the seven that were gone by then included."""
    table = pd.read_csv(locate(SECTORS, root=root), dtype=str, keep_default_na=False)
    return {**LATER_GONE, **dict(zip(table["Symbol"], table["Sector"].map(_label), strict=True))}


def _last_sectors(root: Path | str | None) -> dict[str, str]:
    """Ticker -> the last sector that any dated list gives it."""
    table = pd.read_csv(locate(MEMBERSHIP, root=root), dtype=str, keep_default_na=False)
    table["sector"] = table["sector"].map(_label)
    table = table[table["sector"] != ""].sort_values("snapshot_date", kind="stable")
    return dict(zip(table["symbol"], table["sector"], strict=True))


def _label(sector: str) -> str:
    return RELABEL.get(sector.strip(), sector.strip())


def _values(bars: pd.DataFrame, value: str, faults: str) -> pd.DataFrame:
    """Sorted bars to rows of ``date, session, unique_id, y``; rows without a value are dropped."""
    sessions = np.unique(bars["date"].to_numpy())
    frame = pd.DataFrame({"date": bars["date"], "unique_id": bars["Name"], "y": bars["close"]})
    frame["session"] = np.searchsorted(sessions, bars["date"].to_numpy())
    if faults == "missing":
        frame["y"] = frame["y"].mask(is_not_of_its_day(bars) | is_copy_of_later(bars))
    if value == "log_return":
        by_ticker = frame.groupby("unique_id", sort=False)
        # A hole makes the step larger than one session: no return over it.
        consecutive = by_ticker["session"].diff() == 1
        frame["y"] = 100 * np.log(frame["y"] / by_ticker["y"].shift()).where(consecutive)
        if faults == "missing":
            keys = pd.MultiIndex.from_arrays([bars["Name"], bars["date"]])
            events = [(name, pd.Timestamp(date)) for name, date in UNADJUSTED]
            frame["y"] = frame["y"].mask(keys.isin(events))
    return frame.dropna(subset=["y"])


def is_not_of_its_day(bars: pd.DataFrame) -> pd.Series:
    """Where the close lies outside the day's low and high, or these are unknown."""
    return ~bars["close"].between(bars["low"], bars["high"])


def is_copy_of_later(bars: pd.DataFrame) -> pd.Series:
    """Where all four prices of a bar return on a later date of the ticker with (nearly) its volume.

    Whole days of the file hold another, later day's bars: with them a forecast would see the
    future. That the *earlier* bar is the false one shows in its neighbors (at lags above a
    session, 5.1 % of movement around it against 1.6 % around the later). A bar without a
    range (high = low) proves nothing and is left alone.

    Args:
        bars: sorted by ticker and date, columns `BARS`.
    """
    twice = bars[bars.duplicated(["Name", *OHLC], keep=False) & (bars["high"] > bars["low"])]
    later = twice.groupby(["Name", *OHLC], sort=False)["volume"].shift(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(np.log(twice["volume"] / later))
    return (ratio < SAME_VOLUME).reindex(bars.index, fill_value=False)
