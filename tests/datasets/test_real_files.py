"""From raw files, as they are handed around, to a forecast: in a few lines and by commands."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hierforecast import (
    Columns,
    Forecaster,
    HiPerformer,
    Ridge,
    SeasonalNaive,
    datasets,
    read_table,
)
from tests.commands import call, complaint

# Real series leave early, and a warning says so.
pytestmark = pytest.mark.filterwarnings("default::UserWarning")
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}


def options(text: str) -> list[str]:
    return text.split()


@pytest.fixture(scope="module")
def plays(shared_data, tmp_path_factory) -> Path:
    archive = shared_data / "nfl" / "ngs_highlights_28_plays.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    folder = tmp_path_factory.mktemp("nfl")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


def file(shared_data: Path, name: str) -> Path:
    path = shared_data / name
    return path if path.exists() else pytest.skip(f"{path} is not there")


def test_football_one_play_a_file(plays):
    """The ball has no team, and one play holds a frame twice."""
    columns = Columns(
        "player", "frame", ["x", "y"], "teamAbbr", "play", group_type="possessionFlag"
    )
    fill = {"teamAbbr": "ball", "possessionFlag": "ball"}
    frame = read_table(plays, columns, file_column="play", fill=fill)
    frame = frame.drop_duplicates(["play", "player", "frame"])
    own = Forecaster(
        Ridge(), context_length=10, prediction_length=10, columns=columns, trainer=QUIET
    )
    history = frame[frame.frame < 60]
    forecast = own.fit(frame).predict(history)
    assert forecast.columns.tolist() == ["play", "player", "frame", "Ridge_x", "Ridge_y"]
    assert forecast.play.nunique() == 28 and "2019_NO_2019122210_4253" in set(forecast.play)
    assert forecast.frame.unique().tolist() == list(range(60, 70))
    assert forecast.groupby("play").player.nunique().between(22, 23).all()
    both = forecast.merge(frame, on=["play", "player", "frame"])
    miss = np.hypot(both.Ridge_x - both.x, both.Ridge_y - both.y)
    stay = frame[frame.frame == 59].merge(both, on=["play", "player"], suffixes=("_then", ""))
    still = np.hypot(stay.x_then - stay.x, stay.y_then - stay.y)
    assert miss.mean() < 0.6 * still.mean(), "a second ahead, against standing still"


def test_football_by_commands(plays, tmp_path):
    roles = options("--id player --time frame --target x --target y --group teamAbbr --scene play")
    files = ["--file-column", "play", "--fill", "teamAbbr=ball", "--fill", "possessionFlag=ball"]
    fit = ["fit", plays / "*.tsv", tmp_path / "m", *roles, "--group-type", "possessionFlag"]
    fit += ["--context", 10, "--horizon", 5, "--model", "ridge"]
    assert "--fill teamAbbr=" in complaint(*fit, "--file-column", "play")
    assert "left out 23 rows" in call(*fit, *files).stderr
    told = call("predict", plays, tmp_path / "m", *files, "--out", tmp_path / "f.csv").stderr
    assert "156 of 644 series get no forecast" in told, "the ball is followed longer than the rest"
    forecast = pd.read_csv(tmp_path / "f.csv")
    one = forecast[forecast.play == "2019_NO_2019122210_4253"]
    assert one.player.tolist() == ["ball"] * 5 and one.frame.tolist() == list(range(178, 183))


NAMES = ["frame", "pedestrian", "x", "y"]


def test_pedestrians_without_a_header(shared_data, tmp_path):
    """Five sites, whose frames are whole numbers or floats, one step in ten."""
    folder = file(shared_data, "pedestrians")
    columns = Columns("pedestrian", "frame", ["x", "y"], group=None, scene="site")
    frame = read_table(folder, columns, names=NAMES, file_column="site")
    own = Forecaster(
        Ridge(), context_length=8, prediction_length=12, columns=columns, trainer=QUIET
    )
    forecast = own.fit(frame).predict(frame)
    hotel = forecast[forecast.site == "biwi_hotel"]
    assert set(forecast.site) == {
        "biwi_hotel", "crowds_zara01", "crowds_zara02", "crowds_zara03", "students003",
    }  # fmt: skip
    assert hotel.frame.unique().tolist() == list(range(18070, 18190, 10))
    last = frame[(frame.site == "biwi_hotel") & (frame.frame > 18060 - 80)]
    assert set(hotel.pedestrian) == set(last.pedestrian)
    roles = options("--id pedestrian --time frame --target x --target y")
    fit = [
        "fit",
        folder / "biwi_hotel.txt",
        tmp_path / "m",
        *roles,
        "--context",
        8,
        "--horizon",
        12,
    ]
    shown = complaint(*fit, "--model", "ridge")
    assert "no header" in shown and "--names pedestrian,frame,x,y" in shown
    call(*fit, "--model", "ridge", "--names", ",".join(NAMES))
    answer = call("predict", folder / "biwi_hotel.txt", tmp_path / "m", "--names", ",".join(NAMES))
    assert answer.stdout.splitlines()[1].split(",")[1] == "18070"


def test_weekly_sales_with_the_day_first(shared_data, tmp_path):
    path = file(shared_data, "panels/walmart.csv")
    columns = Columns(
        "Store", "Date", "Weekly_Sales", group=None, known_covariates=["Holiday_Flag"]
    )
    frame = read_table(path, columns, date_format="%d/%m/%y")
    past = frame.Date <= "2012-08-31"
    model = HiPerformer(16, 1, 2, patch=4)
    own = Forecaster(
        model, context_length=12, prediction_length=4, columns=columns, max_steps=5, trainer=QUIET
    )
    forecast = own.fit(frame[past]).predict(frame[past], level=[80], known=frame[~past])
    fridays = pd.date_range("2012-09-07", periods=4, freq="W-FRI")
    assert forecast.Date.unique().tolist() == fridays.tolist()
    assert set(forecast.Store) == set(range(1, 46))
    truth = forecast.merge(frame, on=["Store", "Date"])
    off = (truth.HiPerformer - truth.Weekly_Sales).abs().mean() / truth.Weekly_Sales.mean()
    assert off < 0.15
    roles = options("--id Store --time Date --target Weekly_Sales")
    fit = ["fit", path, tmp_path / "m", *roles, "--context", 52, "--horizon", 4]
    assert complaint(*fit).endswith("--date-format %d/%m/%y")
    fit += ["--date-format", "%d/%m/%y", "--model", "seasonal-naive"]
    call(*fit)
    out = tmp_path / "f.csv"
    call("predict", path, tmp_path / "m", "--date-format", "%d/%m/%y", "--out", out)
    written = pd.read_csv(out)
    assert written.Date.unique().tolist() == [
        "2012-11-02",
        "2012-11-09",
        "2012-11-16",
        "2012-11-23",
    ]
    a_year_ago = frame[(frame.Store == 1) & (frame.Date == "2011-11-04")].Weekly_Sales.item()
    assert written.SeasonalNaive[0] == pytest.approx(a_year_ago, rel=1e-6)


def test_hourly_load_with_offsets(shared_data, tmp_path):
    """RTO-RTO is the total of the others: it is no series beside them."""
    path = file(shared_data, "panels/pjm_in_zone.csv")
    columns = Columns(group=None)
    frame = read_table(path, columns).query("unique_id != 'RTO-RTO'")
    own = Forecaster(
        SeasonalNaive(), context_length=48, prediction_length=24, columns=columns, trainer=QUIET
    )
    forecast = own.fit(frame).predict(frame)
    ahead = pd.date_range("2024-10-01 04:00", periods=24, freq="h", tz="UTC")
    assert forecast.ds.unique().tolist() == ahead.tolist() and own.model_.lag == 24
    yesterday = frame[frame.ds >= "2024-09-30 04:00+00:00"]
    assert forecast.SeasonalNaive.tolist() == pytest.approx(yesterday.y.tolist(), rel=1e-6)
    sizes = ["--context", 48, "--horizon", 2, "--model", "ridge", "--zone", "America/New_York"]
    call("fit", path, tmp_path / "m", *sizes)
    answer = call("predict", path, tmp_path / "m", "--zone", "America/New_York").stdout.splitlines()
    assert answer[1].startswith("AP-AP,2024-10-01 00:00:00-04:00,") and len(answer) == 1 + 5 * 2


def test_daily_counts_with_prices_and_events(shared_data):
    """Some products begin later: until then they have no price."""
    path = file(shared_data, "panels/m5_sales_exog_small.csv")
    header = pd.read_csv(path, nrows=0).columns
    columns = Columns(group=None, known_covariates=list(header[3:]))
    frame = read_table(path, columns)
    frame.loc[frame.sell_price.isna(), "y"] = np.nan
    cutoff = frame.ds.max() - pd.Timedelta(28, "D")
    past = frame[frame.ds <= cutoff]
    own = Forecaster(
        HiPerformer(16, 1, 2, patch=7), context_length=28, prediction_length=28,
        columns=columns, max_steps=5, trainer=QUIET,
    )  # fmt: skip
    forecast = own.fit(past).predict(past, known=frame[frame.ds > cutoff])
    assert len(forecast) == 8 * 28 and forecast.ds.min() == pd.Timestamp("2016-05-23")
    assert forecast.ds.max() == pd.Timestamp("2016-06-19")
    truth = forecast.merge(frame, on=["unique_id", "ds"])
    naive = past.groupby("unique_id").y.apply(lambda y: y.tail(28).mean())
    error = (truth.HiPerformer - truth.y).abs().mean()
    assert error < 1.2 * (truth.unique_id.map(naive) - truth.y).abs().mean()


@pytest.mark.parametrize(
    "name", ["m5_sample", "nba", "nfl", "pedestrians", "pjm", "soccer", "stocks", "walmart"]
)
def test_loaders_hand_over_their_columns(name, shared_data):
    load = getattr(datasets, f"load_{name}")
    options = {
        "nba": {"source": "cle", "rate": 5},
        "nfl": {"rate": 2},
        "pedestrians": {"sites": "biwi_hotel"},
        "soccer": {"subsets": [7], "rate": 1},
        "stocks": {"start": "2017-12-01"},
    }
    frame = load(root=shared_data, **options.get(name, {}))
    own = Forecaster(
        Ridge(), context_length=8, prediction_length=2, columns=load.columns, trainer=QUIET
    )
    past = frame["ds"] < np.sort(frame["ds"].unique())[-2]
    covariates = bool(load.columns.known_covariates)
    known = {"known": frame[~past]} if covariates else {}
    assert len(own.fit(frame).predict(frame[past] if covariates else frame, **known)) > 0
    made = datasets.simulate_basketball(2, n_steps=12)
    assert {name for _, name in datasets.simulate_basketball.columns.roles()} <= set(made)
