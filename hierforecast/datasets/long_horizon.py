"""The long-horizon sets ETTh1, ETTh2 and exchange: few series, many steps, for a sanity row.

What the files are: ``datasets/long_horizon/README.md``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hierforecast.datasets._loader import long_of, with_columns
from hierforecast.errors import DataError
from hierforecast.io.fetch import RemoteFile, locate

_ETT = (
    "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/"
    "1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/"
)
FILES = {
    "ETTh1": RemoteFile(
        "ett/ETTh1.csv",
        "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
        f"{_ETT}ETTh1.csv",
        2_589_657,
    ),
    "ETTh2": RemoteFile(
        "ett/ETTh2.csv",
        "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b",
        f"{_ETT}ETTh2.csv",
        2_417_960,
    ),
    "exchange": RemoteFile(
        "ett/exchange_rate.txt.gz",
        "6a4fbb561dcdee43f071a83badbeec9223a335552278348656738b556f1c2e9d",
        "https://raw.githubusercontent.com/laiguokun/multivariate-time-series-data/"
        "7f402f185cc2435b5e66aed13a3b560ed142e023/exchange_rate/exchange_rate.txt.gz",
        177_142,
    ),
}
N_STEPS = {"ETTh1": 17_420, "ETTh2": 17_420, "exchange": 7_588}
N_SERIES = {"ETTh1": 7, "ETTh2": 7, "exchange": 8}
# Steps to train, to validate and to test, from the first: 12, 4 and 4 months of 30 days for ETT,
# whose later steps the literature leaves out; 7 : 1 : 2 for exchange.
SPLITS = {
    "ETTh1": (8_640, 2_880, 2_880),
    "ETTh2": (8_640, 2_880, 2_880),
    "exchange": (5_311, 760, 1_517),
}


@with_columns(group=None)
def load_long_horizon(name: str, *, root: Path | str | None = None) -> pd.DataFrame:
    """Hourly electricity transformers (ETTh1, ETTh2) or daily exchange rates of 8 currencies.

    ETT: six loads (high, middle and low voltage; useful and useless) and ``OT``, the temperature of
    the oil in degrees Celsius, 2016-07-01 to 2018-06-26; the two are two transformers. Exchange:
    rates against the US dollar, 1990 to 2016; the file has neither dates nor names, so ``ds`` is
    the number of the day and the series are ``currency_0`` to ``currency_7``.

    Args:
        name: ``"ETTh1"``, ``"ETTh2"`` or ``"exchange"``.
        root: folder with ``ett/`` (or the files themselves), looked in first.

    Returns:
        Columns ``ds``, ``unique_id``, ``y`` (float64), sorted by series as in the file, then ds.
        `SPLITS` says how many steps train, validate and test.

    Raises:
        ValueError: for an unknown `name`.
        FileNotFoundError: if the file is not found and cannot be downloaded.
        DataError: if the file is damaged or not a table of numbers.
    """
    if name not in FILES:
        raise ValueError(f"name={name!r} is not one of {list(FILES)}")
    path = locate(FILES[name], root=root)
    if name == "exchange":
        wide = pd.read_csv(path, header=None)
        wide.columns = [f"currency_{i}" for i in range(wide.shape[1])]
        wide.index.name = "ds"
    else:
        wide = pd.read_csv(path, index_col="date", parse_dates=True).rename_axis("ds")
    odd = [c for c in wide if not pd.api.types.is_numeric_dtype(wide[c])]
    if odd or wide.isna().any(axis=None):
        raise DataError(
            f"'{path}' holds what is no number{f' in {odd}' if odd else ''}: delete it and get it "
            f"again from {FILES[name].url}"
        )
    return long_of(wide)
