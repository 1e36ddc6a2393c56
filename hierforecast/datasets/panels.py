"""Three small panels of demand with covariates, one a question: weeks, hours, days of counts.

What the files are, with every wart: ``datasets/panels/README.md``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hierforecast.datasets._loader import with_columns
from hierforecast.io.fetch import RemoteFile, locate

_NIXTLA = (
    "https://raw.githubusercontent.com/Nixtla/transfer-learning-time-series/"
    "7e1222dc771e5c1c89aafb052d723200362c45a0/datasets/"
)
FILES = {
    "walmart": RemoteFile(
        "panels/walmart.csv",
        "629ffc98a0e3b145458197530fec39ef7f0679e4bb178ee558deb7ff42d7c4cc",
        "https://raw.githubusercontent.com/Shree-77/Sales-Forecasting-using-SARIMA/"
        "83f1c9911bd000c362800867834595ad50f00e51/Walmart.csv",
        350_862,
    ),
    "pjm": RemoteFile(
        "panels/pjm_in_zone.csv",
        "dd88c315140a5c26aacdcbcfabfd2bf1a0d9123a5baad6c0ff14aec88c249fc9",
        f"{_NIXTLA}pjm_in_zone.csv",
        1_849_136,
    ),
    "m5": RemoteFile(
        "panels/m5_sales_exog_small.csv",
        "c0d257cffbe17aa56863ba8a936b91abf5fc4c243a99d0861013139131833d21",
        f"{_NIXTLA}m5_sales_exog_small.csv",
        594_612,
    ),
}
N_SERIES = {"walmart": 45, "pjm": 4, "m5": 8}
N_STEPS = {"walmart": 143, "pjm": 8_784, "m5": 1_969}
N_ROWS = {"walmart": 6_435, "pjm": 35_136, "m5": 14_695}

TOTAL = "RTO-RTO"  # of PJM, all zones and not these four alone
EVENTS = tuple(f"event_type_{kind}" for kind in ("Cultural", "National", "Religious", "Sporting"))


@with_columns(
    group=None,
    known_covariates=["Holiday_Flag"],
    past_covariates=["Temperature", "Fuel_Price", "CPI", "Unemployment"],
    freq="W-FRI",
)
def load_walmart(*, root: Path | str | None = None) -> pd.DataFrame:
    """Weekly sales of 45 stores, dollars, 2010-02-05 to 2012-10-26.

    For a model: ``load_walmart.columns``. Holidays are known ahead, the rest is not.

    Args:
        root: folder with ``panels/`` (or the file itself), looked in first.

    Returns:
        Columns ``unique_id`` ("store_01", ...), ``ds`` (the week's Friday), ``y``, and the file's
        ``Holiday_Flag`` (0, 1), ``Temperature`` (degrees Fahrenheit), ``Fuel_Price`` (dollars a
        gallon), ``CPI`` (index), ``Unemployment`` (percent), sorted by series, then ds.

    Raises:
        FileNotFoundError: if the file is not found and cannot be downloaded.
        DataError: if the file is damaged.
    """
    frame = pd.read_csv(locate(FILES["walmart"], root=root))
    frame = frame.rename(columns={"Store": "unique_id", "Date": "ds", "Weekly_Sales": "y"})
    frame["unique_id"] = frame["unique_id"].map("store_{:02d}".format)
    frame["ds"] = pd.to_datetime(frame["ds"], format="%d/%m/%y")
    return _sorted(frame)


@with_columns(group=None, freq="h")
def load_pjm(*, root: Path | str | None = None) -> pd.DataFrame:
    """Hourly load of four zones of the grid operator PJM, MW, from October 2023 for a year.

    For a model: ``load_pjm.columns``. The total of all of PJM's zones, which the file holds too,
    is left out: it is no series beside them.

    Args:
        root: folder with ``panels/`` (or the file itself), looked in first.

    Returns:
        Columns ``unique_id`` ("AP-AP", "DOM-DOM", "JC-JC", "PN-PN"), ``ds`` (hours in UTC, no gap;
        local time is America/New_York), ``y``, sorted by series, then ds.

    Raises:
        FileNotFoundError: if the file is not found and cannot be downloaded.
        DataError: if the file is damaged.
    """
    frame = pd.read_csv(locate(FILES["pjm"], root=root))
    frame = frame[frame["unique_id"] != TOTAL]
    return _sorted(frame.assign(ds=pd.to_datetime(frame["ds"], utc=True)))


@with_columns(group=None, known_covariates=["sell_price", *EVENTS], freq="D")
def load_m5_sample(*, root: Path | str | None = None) -> pd.DataFrame:
    """Daily units sold of eight products of M5 in one store: counts with many zeros, 2011 to 2016.

    For a model: ``load_m5_sample.columns``. A product has no rows before it is first offered: the
    file has zeros there, and no price.

    Args:
        root: folder with ``panels/`` (or the file itself), looked in first.

    Returns:
        Columns ``unique_id`` ("FOODS_1_001", ...), ``ds`` (days), ``y``, ``sell_price`` (dollars)
        and ``event_type_Cultural``, ``_National``, ``_Religious``, ``_Sporting`` (0, 1), all known
        ahead, sorted by series, then ds.

    Raises:
        FileNotFoundError: if the file is not found and cannot be downloaded.
        DataError: if the file is damaged.
    """
    frame = pd.read_csv(locate(FILES["m5"], root=root), parse_dates=["ds"])
    return _sorted(frame[frame["sell_price"].notna()])


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.astype({"unique_id": str, "y": float})
    first = frame[["unique_id", "ds", "y"]]
    frame = pd.concat([first, frame.drop(columns=first.columns)], axis=1)
    return frame.sort_values(["unique_id", "ds"], ignore_index=True)
