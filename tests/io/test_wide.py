"""Tables with a column for each series, or for each time, are read as the long ones they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, read_table
from hierforecast.errors import DataError
from tests.commands import SMALL, call, complaint

LONG = pd.DataFrame(
    {
        "shop": np.repeat(["a", "a", "b"], 20),
        "item": np.repeat(["tea", "jam", "tea"], 20),
        "day": np.tile(pd.date_range("2024-01-28", periods=20), 3),
        "sold": np.arange(60.0),
    }
)
COLUMNS = Columns(id=["shop", "item"], time="day", target="sold", group=None)
ONE = Columns(id="item", time="day", target="sold", group=None)


@pytest.fixture
def by_day(tmp_path):
    wide = LONG.pivot(index=["shop", "item"], columns="day", values="sold")
    wide.columns = wide.columns.strftime("%d/%m/%Y")
    wide.reset_index().to_csv(tmp_path / "by_day.csv", index=False)
    return tmp_path / "by_day.csv"


@pytest.fixture
def by_item(tmp_path):
    wide = LONG[LONG.shop == "a"].pivot(index="day", columns="item", values="sold")
    wide.iloc[3, 0] = np.nan
    wide = wide.assign(note="rain").reset_index()
    wide.to_csv(tmp_path / "by_item.csv", index=False)
    return tmp_path / "by_item.csv"


def test_a_column_for_each_time(by_day):
    frame = read_table(by_day, COLUMNS, wide=True, date_format="%d/%m/%Y")
    keys = ["shop", "item", "day"]
    expected = LONG.sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(
        frame.sort_values(keys, ignore_index=True), expected, check_dtype=False
    )


def test_a_column_for_each_series_beside_texts(by_item):
    frame = read_table(by_item, ONE, wide=True)
    assert set(frame) == {"day", "note", "item", "sold"} and set(frame.note) == {"rain"}
    assert frame.sold.isna().sum() == 1 and set(frame.item) == {"tea", "jam"}
    read = frame.set_index(["item", "day"]).sold.dropna()
    truth = LONG[LONG.shop == "a"].set_index(["item", "day"]).sold
    assert (read == truth[read.index]).all() and len(read) == 39


def test_a_cell_that_is_no_number_is_named_with_its_line(by_item):
    lines = by_item.read_text().splitlines()
    lines[5] = lines[5].rsplit(",", 2)[0] + ",many,rain"
    by_item.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"column 'tea' of '.*by_item.csv' has 'many' in line 6"):
        read_table(by_item, ONE, wide=True)


@pytest.mark.parametrize(
    "columns",
    [Columns(group=None), COLUMNS, Columns(time="day", id="note", group=None)],
    ids=["none named", "an id is missing", "both are there"],
)
def test_what_is_not_wide_is_refused(by_item, columns):
    with pytest.raises(DataError, match=r"wide=True reads one target .* there are 'day', 'jam'"):
        read_table(by_item, columns, wide=True)


def test_commands_read_wide_tables(by_day, tmp_path):
    roles = ("--id", "shop", "--id", "item", "--time", "day", "--target", "sold", "--wide")
    way = ("--date-format", "%d/%m/%Y")
    sizes = ("--context", 6, "--horizon", 3)
    call("fit", by_day, tmp_path / "model", *roles, *way, *sizes, *SMALL)
    call("predict", by_day, tmp_path / "model", "--wide", *way, "--out", tmp_path / "f.csv")
    forecast = pd.read_csv(tmp_path / "f.csv")
    assert forecast.day.min() == "2024-02-17" and len(forecast) == 9
    out = tmp_path / "f.png"
    call(
        "plot",
        by_day,
        tmp_path / "f.csv",
        "--model",
        tmp_path / "model",
        "--wide",
        *way,
        "--out",
        out,
    )
    assert out.stat().st_size > 10_000
    said = complaint("fit", by_day, tmp_path / "other", *roles[:-1], *sizes)
    assert "a column for each time, make it long: --wide, --date-format '%d/%m/%Y'" in said
    said = complaint("fit", by_day, tmp_path / "other", "--wide", *sizes)
    assert "--wide reads one target from a column for each series" in said


def test_a_plot_without_names_says_how_to_name_them(by_day, tmp_path):
    said = complaint("plot", by_day, by_day, "--out", tmp_path / "f.png")
    assert "has no column 'unique_id', 'ds'; give --model FOLDER" in said
