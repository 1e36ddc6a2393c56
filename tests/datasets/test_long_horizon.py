from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets import load_long_horizon, long_horizon
from hierforecast.errors import DataError
from hierforecast.io import fetch
from hierforecast.io.fetch import RemoteFile
from tests.datasets.scripts import script


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a made file and has the loader know it."""
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("HIERFORECAST_DATA", raising=False)

    def file(name: str, text: str) -> Path:
        packed = name == "exchange"
        content = gzip.compress(text.encode()) if packed else text.encode()
        path = tmp_path / "ett" / (f"{name}.txt.gz" if packed else f"{name}.csv")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        known = RemoteFile(f"ett/{path.name}", hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(long_horizon.FILES, name, known)
        return tmp_path

    return file


ETT = "date,HUFL,OT\n2016-07-01 00:00:00,1.0,30\n2016-07-01 01:00:00,2.0,31\n"


def test_ett_is_long_with_its_hours(write):
    frame = load_long_horizon("ETTh1", root=write("ETTh1", ETT))
    assert list(frame.columns) == ["ds", "unique_id", "y"]
    assert frame["unique_id"].tolist() == ["HUFL", "HUFL", "OT", "OT"]
    assert frame["y"].tolist() == [1.0, 2.0, 30.0, 31.0]
    assert frame["ds"].iloc[1] == pd.Timestamp("2016-07-01 01:00")


def test_exchange_has_numbers_for_dates_and_names(write):
    frame = load_long_horizon("exchange", root=write("exchange", "0.5,1\n0.6,2\n0.7,3\n"))
    assert frame["ds"].tolist() == [0, 1, 2, 0, 1, 2]
    assert frame["unique_id"].unique().tolist() == ["currency_0", "currency_1"]
    assert frame["y"].tolist() == [0.5, 0.6, 0.7, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("cell", ["", "much"])
def test_what_is_no_number_is_refused(write, cell):
    root = write("ETTh2", ETT.replace("31", cell))
    with pytest.raises(DataError, match="no number"):
        load_long_horizon("ETTh2", root=root)


def test_a_wrong_name_is_told_what_there_is():
    with pytest.raises(ValueError, match="ETTh2"):
        load_long_horizon("ETTm1")


@pytest.mark.parametrize("name", list(long_horizon.FILES))
def test_the_real_sets(shared_data, name):
    frame = load_long_horizon(name, root=shared_data)
    steps, series = long_horizon.N_STEPS[name], long_horizon.N_SERIES[name]
    assert len(frame) == steps * series and frame["unique_id"].nunique() == series
    assert sum(long_horizon.SPLITS[name]) <= steps and np.isfinite(frame["y"]).all()


def test_the_script_writes_the_table(shared_data, tmp_path):
    pytest.importorskip("pyarrow")
    assert script("long_horizon").prepare("exchange", shared_data, tmp_path) == 8 * 7_588
