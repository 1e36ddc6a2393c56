"""S&P 500 closes -> one parquet table of log returns, with the counts checked.

python datasets/stocks/prepare.py [--root FOLDER] [--out FILE]
python datasets/stocks/prepare.py --collect FOLDER [--root FOLDER]   # from the 505 public files
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hierforecast.datasets import stocks
from hierforecast.io.fetch import sha256_of


def prepare(root: Path | None, out: Path) -> int:
    """Write the table and return its number of rows."""
    prices = stocks.load_stocks(value="price", faults="keep", root=root)
    assert len(prices) == stocks.N_ROWS, f"{len(prices)} rows, expected {stocks.N_ROWS}"
    assert prices["unique_id"].nunique() == stocks.N_TICKERS
    assert prices["ds"].nunique() == stocks.N_SESSIONS
    sizes = prices.groupby("sector")["unique_id"].nunique().to_dict()
    assert sizes == stocks.SECTOR_SIZES, f"tickers per sector: {sizes}"
    returns = stocks.load_stocks(root=root)
    assert len(returns) == stocks.N_RETURNS, f"{len(returns)} rows, expected {stocks.N_RETURNS}"
    out.parent.mkdir(parents=True, exist_ok=True)
    returns.to_parquet(out, index=False)
    return len(returns)


def collect(folder: Path, out: Path) -> Path:
    """Lay the files ``<ticker>_data.csv`` end to end, in the order of names, under one header."""
    files = sorted(folder.glob("*_data.csv"), key=lambda path: path.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as stream:
        for i, file in enumerate(files):
            with file.open(newline="") as source:
                header = source.readline()
                if i == 0:
                    stream.write(header)
                stream.writelines(source)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="folder with stocks/")
    parser.add_argument("--out", type=Path, default=Path("stocks.parquet"))
    parser.add_argument("--collect", type=Path, help="folder of the 505 files, one a ticker")
    options = parser.parse_args()
    if options.collect:
        made = collect(options.collect, (options.root or Path()) / stocks.PRICES_UNPACKED.name)
        same = sha256_of(made) == stocks.PRICES_UNPACKED.sha256
        raise SystemExit(0 if same else f"{made} is not what it should be: delete it, try again")
    print(f"{options.out}: {prepare(options.root, options.out):,} rows")
