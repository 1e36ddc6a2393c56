from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from hierforecast.datasets import load_m5_sample, load_pjm, load_walmart, panels
from hierforecast.errors import DataError
from hierforecast.io import fetch
from hierforecast.io.fetch import RemoteFile
from tests.datasets.scripts import script

WALMART = """Store,Date,Weekly_Sales,Holiday_Flag,Temperature,Fuel_Price,CPI,Unemployment
10,05/02/10,300.5,0,42.3,2.5,211.1,8.1
2,12/02/10,200,1,38.5,2.5,211.2,8.1
2,05/02/10,100,0,40.1,2.5,210.7,8.3
"""
PJM = """unique_id,ds,y
B,2023-11-05 06:00:00+00:00,3
B,2023-11-05 05:00:00+00:00,2
RTO-RTO,2023-11-05 05:00:00+00:00,90
A,2023-11-05 05:00:00+00:00,1
"""
EVENTS = ",".join(panels.EVENTS)
M5 = f"""unique_id,ds,y,sell_price,{EVENTS}
A,2011-01-29,0,,0,0,0,0
A,2011-01-30,2,1.5,1,0,0,0
"""
LOADERS = {"walmart": load_walmart, "pjm": load_pjm, "m5": load_m5_sample}
TEXTS = {"walmart": WALMART, "pjm": PJM, "m5": M5}


@pytest.fixture
def made(tmp_path, monkeypatch) -> Path:
    """A folder of made files that the loaders know."""
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("HIERFORECAST_DATA", raising=False)
    (tmp_path / "panels").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "panels" / f"{name}.csv").write_text(text)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        known = RemoteFile(f"panels/{name}.csv", sha256, size=len(text))
        monkeypatch.setitem(panels.FILES, name, known)
    return tmp_path


def test_weeks_have_the_day_first_and_stores_are_in_order(made):
    frame = load_walmart(root=made)
    assert frame["unique_id"].tolist() == ["store_02", "store_02", "store_10"]
    assert frame["ds"].dt.strftime("%F").tolist() == ["2010-02-05", "2010-02-12", "2010-02-05"]
    assert frame["y"].tolist() == [100, 200, 300.5] and frame["Holiday_Flag"].tolist() == [0, 1, 0]


def test_hours_are_utc_and_the_total_is_no_series(made):
    frame = load_pjm(root=made)
    assert frame["unique_id"].tolist() == ["A", "B", "B"] and frame["y"].tolist() == [1, 2, 3]
    hours = pd.date_range("2023-11-05 05:00", periods=2, freq="h", tz="UTC")
    assert frame["ds"].tolist() == [hours[0], *hours]


def test_products_begin_when_they_are_offered(made):
    frame = load_m5_sample(root=made)
    assert frame["ds"].tolist() == [pd.Timestamp("2011-01-30")]
    assert frame[["y", "sell_price", "event_type_Cultural"]].to_numpy().tolist() == [[2, 1.5, 1]]


@pytest.mark.parametrize("name", list(LOADERS))
def test_columns_are_those_of_the_frame(made, name):
    load = LOADERS[name]
    frame = load(root=made)
    assert list(frame.columns[:3]) == ["unique_id", "ds", "y"]
    assert {column for _, column in load.columns.roles()} == set(frame.columns)


@pytest.mark.parametrize("name", list(LOADERS))
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"unique_id", "is truncated"), (None, "was not found")],
)
def test_damaged_files_are_refused_by_name(made, name, content, words):
    path = made / "panels" / f"{name}.csv"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises((DataError, FileNotFoundError), match=rf"{name}\.csv' {words}"):
        LOADERS[name](root=made)


@pytest.mark.parametrize("name", list(LOADERS))
def test_the_real_panels_have_the_counts_of_the_card(shared_data, tmp_path, name):
    if not (shared_data / "panels").is_dir():
        pytest.skip(f"the panels are not in {shared_data}")
    pytest.importorskip("pyarrow")
    assert script("panels").prepare(name, shared_data, tmp_path) == panels.N_ROWS[name]
    frame = LOADERS[name](root=shared_data)
    every = pd.date_range(frame.ds.min(), frame.ds.max(), freq=LOADERS[name].columns.freq)
    assert set(every) == set(frame.ds), "no gap, at the rate of the columns"
