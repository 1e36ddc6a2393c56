from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets import stocks
from hierforecast.datasets.stocks import load_stocks
from hierforecast.errors import DataError
from hierforecast.io import fetch
from hierforecast.io.fetch import RemoteFile
from tests.datasets.scripts import script

DAYS = pd.bdate_range("2015-07-13", periods=8).strftime("%Y-%m-%d").tolist()  # 07-20 is the sixth


def bar(name: str, day: int, close: float, **changes: float) -> dict[str, object]:
    """A bar around a close; volume and range are different every day."""
    usual = {"open": close, "high": close + 1 + day / 8, "low": close - 1, "volume": 100 * 3**day}
    return {"date": DAYS[day], "close": close, "Name": name, **usual, **changes}


def tiny_bars() -> list[dict[str, object]]:
    rows = [bar("AAA", day, 100.0 + day) for day in range(8)]
    rows += [bar("HOLE", day, 100.0 + day) for day in (0, 1, 2, 5, 6, 7)]
    rows += [bar("EBAY", day, 66.0 if day < 5 else 28.0) for day in range(8)]
    rows += [bar("CHK", day, 50.0 + day) for day in range(8)]
    rows[-5].update(close=25.0)  # day 3: below the day's low
    rows += [bar("NEW", day, 10.0 + day) for day in range(4, 8)]
    rows += [bar("COPY", day, 20.0 + day) for day in range(8)]
    rows[-6] = {**rows[-1], "date": DAYS[2], "volume": rows[-1]["volume"] * 0.9}  # the future
    return rows


def write(monkeypatch, folder: Path, constant: str, name: str, text: str) -> None:
    """A made file, and the loader's constant changed so as to know it."""
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    path = folder / "stocks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    file = RemoteFile(f"stocks/{name}", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(stocks, constant, file)


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """A folder of made files in the source's layout."""
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("HIERFORECAST_DATA", raising=False)
    frame = pd.DataFrame(tiny_bars(), columns=stocks.BARS).sample(frac=1, random_state=0)
    write(monkeypatch, tmp_path, "PRICES", "prices.csv.gz", frame.to_csv(index=False))
    names = [name for name in frame["Name"].unique() if name != "CHK"]
    table = "".join(f"{name},Some Inc,Industries \n" for name in names)
    write(monkeypatch, tmp_path, "SECTORS", "sectors.csv", "Symbol,Name,Sector\n" + table)
    gone = pd.DataFrame([bar("GONE", day, 5.0 + day) for day in range(3)], columns=stocks.BARS)
    gone.loc[0, "low"] = 0.0  # a missing one
    write(monkeypatch, tmp_path, "REMOVED", "removed.csv.gz", gone.to_csv(index=False))
    lists = [
        "snapshot_date,symbol,name,sector,commit",
        "2014-01-01,GONE,Gone,Energy,c",
        "2015-01-01,GONE,Gone,Telecommunications Services ,c",
        "2016-01-01,GONE,Gone,,c",
    ]
    write(monkeypatch, tmp_path, "MEMBERSHIP", "lists.csv.gz", "\n".join(lists) + "\n")
    return tmp_path


def days_of(frame: pd.DataFrame, ticker: str) -> list[int]:
    """Which of `DAYS` a ticker has rows on."""
    dates = frame.loc[frame["unique_id"] == ticker, "ds"].dt.strftime("%Y-%m-%d")
    return [DAYS.index(date) for date in dates]


def test_returns_are_close_to_close_in_percent(tiny):
    frame = load_stocks(root=tiny)
    assert list(frame.columns) == ["ds", "unique_id", "sector", "y"]
    assert days_of(frame, "AAA") == [1, 2, 3, 4, 5, 6, 7]
    expected = 100 * np.diff(np.log(100.0 + np.arange(8)))
    np.testing.assert_allclose(frame.loc[frame["unique_id"] == "AAA", "y"], expected)
    assert frame["unique_id"].is_monotonic_increasing and not frame.isna().any().any()


def test_no_return_crosses_a_hole(tiny):
    assert days_of(load_stocks(root=tiny), "HOLE") == [1, 2, 6, 7]
    assert days_of(load_stocks(root=tiny, faults="keep"), "HOLE") == [1, 2, 6, 7]
    assert days_of(load_stocks(root=tiny, value="price"), "HOLE") == [0, 1, 2, 5, 6, 7]


def test_a_spin_off_is_no_loss(tiny):
    frame = load_stocks(root=tiny)
    assert DAYS[5] == "2015-07-20"
    assert days_of(frame, "EBAY") == [1, 2, 3, 4, 6, 7]
    assert (frame.loc[frame["unique_id"] == "EBAY", "y"] == 0).all()
    kept = load_stocks(root=tiny, faults="keep")
    assert kept.loc[kept["unique_id"] == "EBAY", "y"].min() < -80
    prices = load_stocks(root=tiny, value="price")
    assert prices.loc[prices["unique_id"] == "EBAY", "y"].tolist() == [66.0] * 5 + [28.0] * 3


@pytest.mark.parametrize(("ticker", "day"), [("CHK", 3), ("COPY", 2)])
def test_a_close_that_is_not_of_its_day_takes_both_returns(tiny, ticker, day):
    rest = [i for i in range(1, 8) if i not in (day, day + 1)]
    assert days_of(load_stocks(root=tiny), ticker) == rest
    prices = load_stocks(root=tiny, value="price")
    assert days_of(prices, ticker) == [i for i in range(8) if i != day]
    assert days_of(load_stocks(root=tiny, faults="keep"), ticker) == list(range(1, 8))


def test_the_earlier_of_two_equal_bars_is_the_false_one():
    frame = pd.DataFrame(tiny_bars(), columns=stocks.BARS).sort_values(["Name", "date"])
    copies = frame[stocks.is_copy_of_later(frame)]
    assert copies[["Name", "date"]].to_numpy().tolist() == [["COPY", DAYS[2]]]
    frame["volume"] = np.arange(1, len(frame) + 1) ** 3  # equal prices with other trade: chance
    assert not stocks.is_copy_of_later(frame).any()


def test_entries_exits_and_removed_tickers(tiny):
    frame = load_stocks(root=tiny)
    assert days_of(frame, "NEW") == [5, 6, 7]
    assert "GONE" not in set(frame["unique_id"])
    more = load_stocks(root=tiny, include_removed=True)
    assert days_of(more, "GONE") == [2]  # day 0 has no low, so no return from it either
    assert more.loc[more["unique_id"] == "GONE", "sector"].item() == "Telecommunication Services"
    same = more[more["unique_id"] != "GONE"].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, frame)


def test_sectors_are_cleaned_and_completed(tiny):
    sectors = load_stocks(root=tiny).groupby("unique_id")["sector"].first()
    assert sectors["AAA"] == "Industrials" and sectors["CHK"] == "Energy"


def test_dates_and_sessions(tiny):
    frame = load_stocks(root=tiny, start=DAYS[3], end=DAYS[5])
    assert days_of(frame, "AAA") == [3, 4, 5]  # the first return uses the close before
    numbered = load_stocks(root=tiny, start=DAYS[3], business_days=False)
    assert list(numbered.columns) == ["ds", "unique_id", "sector", "y", "date"]
    assert numbered.loc[numbered["unique_id"] == "AAA", "ds"].tolist() == [3, 4, 5, 6, 7]


def test_bad_options_and_files(tiny, monkeypatch):
    with pytest.raises(ValueError, match="value='returns'"):
        load_stocks(value="returns", root=tiny)
    with pytest.raises(ValueError, match="the data run from 2015-07-14 to 2015-07-22"):
        load_stocks(start="2020-01-01", root=tiny)
    with pytest.raises(FileNotFoundError, match=r"prices\.csv\.gz"):
        load_stocks(root=tiny / "elsewhere")
    bars = pd.DataFrame(tiny_bars(), columns=stocks.BARS)
    bars.loc[0, "Name"] = "QQQ"
    write(monkeypatch, tiny, "PRICES", "prices.csv.gz", bars.to_csv(index=False))
    with pytest.raises(DataError, match=r"No sector is known for \['QQQ'\]"):
        load_stocks(value="price", root=tiny)
    doubled = pd.concat([bars, bars.tail(1)]).to_csv(index=False)
    write(monkeypatch, tiny, "PRICES", "prices.csv.gz", doubled)
    with pytest.raises(DataError, match=f"two rows of COPY on {DAYS[7]}"):
        load_stocks(root=tiny)
    bare = bars.drop(columns="low").to_csv(index=False)
    write(monkeypatch, tiny, "PRICES", "prices.csv.gz", bare)
    with pytest.raises(DataError, match=r"no column \['low'\]"):
        load_stocks(root=tiny)


def test_the_unpacked_prices_will_do(tiny, monkeypatch):
    packed = load_stocks(root=tiny)
    path = tiny / stocks.PRICES.name
    text = gzip.decompress(path.read_bytes()).decode()
    path.unlink()
    write(monkeypatch, tiny, "PRICES_UNPACKED", "prices.csv", text)
    pd.testing.assert_frame_equal(load_stocks(root=tiny), packed)


def test_collecting_the_files_of_single_tickers(tmp_path):
    for ticker in ("AAP", "AAPL", "A"):
        (tmp_path / f"{ticker}_data.csv").write_text(f"date,Name\n1,{ticker}\n2,{ticker}\n")
    made = script("stocks").collect(tmp_path, tmp_path / "new" / "all.csv")
    names = [line.split(",")[1] for line in made.read_text().splitlines()]
    assert names == ["Name", "AAPL", "AAPL", "AAP", "AAP", "A", "A"]


@pytest.fixture(scope="module")
def bars(shared_data) -> pd.DataFrame:
    if not (shared_data / "stocks").is_dir():
        pytest.skip(f"the stock files are not in {shared_data}")
    return stocks._read_bars(stocks._prices_path(shared_data))


def test_the_real_file_has_the_counts_of_the_card(bars):
    assert len(bars) == stocks.N_ROWS
    assert bars["Name"].nunique() == stocks.N_TICKERS
    sessions = bars["date"].drop_duplicates()
    assert len(sessions) == stocks.N_SESSIONS
    assert len(pd.bdate_range(sessions.min(), sessions.max()).difference(sessions)) == 45
    assert stocks.is_not_of_its_day(bars).sum() == stocks.N_NOT_OF_DAY
    copies = stocks.is_copy_of_later(bars)
    assert copies.sum() == stocks.N_COPIES
    assert bars.loc[copies, "date"].value_counts().head(2).tolist() == [269, 218]
    assert bars.groupby("date").size().loc["2013-04-25":"2013-04-29"].tolist() == [476, 472, 476]


def test_the_real_references(bars, shared_data):
    """Zero as the forecast of the next day's return, every cutoff from 2017-01-03."""
    returns = load_stocks(root=shared_data)
    assert len(returns) == stocks.N_RETURNS
    sizes = returns.groupby("sector")["unique_id"].nunique().to_dict()
    assert sizes == stocks.SECTOR_SIZES
    assert returns["y"].abs().max() < 50
    keys = pd.MultiIndex.from_frame(returns[["unique_id", "ds"]])
    events = [(name, pd.Timestamp(date)) for name, date in stocks.UNADJUSTED]
    halved = [("LNT", pd.Timestamp("2016-05-19")), ("LNT", pd.Timestamp("2016-05-20"))]
    assert not keys.isin(events + halved).any()
    clean = returns.loc[returns["ds"] > "2017-01-03", "y"]
    as_it_is = stocks._values(bars, "log_return", "keep").query("date > '2017-01-03'")["y"]
    for y, mae, rmse in ((as_it_is, 0.946, 1.486), (clean, 0.940, 1.447)):
        assert y.abs().mean() == pytest.approx(mae, abs=0.001)
        assert np.sqrt((y**2).mean()) == pytest.approx(rmse, abs=0.001)
        assert (y[y != 0] > 0).mean() == pytest.approx(0.532, abs=0.001)


def test_later_gone_is_what_the_dated_lists_say(bars, shared_data):
    listed = stocks._last_sectors(shared_data)
    assert {name: listed[name] for name in stocks.LATER_GONE} == stocks.LATER_GONE
    removed = stocks._read_bars(shared_data / stocks.REMOVED.name)
    names = set(removed["Name"])
    assert len(names) == stocks.N_REMOVED and not names & set(bars["Name"])
    assert {listed[name] for name in names} <= set(stocks.SECTOR_SIZES)
