"""Tables that the command line reads, as users have them, downloads, or writes in the demo."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hierforecast
from hierforecast import Forecaster, errors
from hierforecast.cli.data import LOADERS
from hierforecast.datasets import simulate_basketball
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.io.files import write_table
from hierforecast.io.reading import read_table
from tests.commands import SIZES, SMALL, call, complaint
from tests.helpers import trained_answers


def test_dates_and_several_covariates(tmp_path):
    days = pd.date_range("2024-01-01", periods=40, freq="D")
    table = pd.concat(
        pd.DataFrame(
            {
                "day": days,
                "ticker": name,
                "sector": sector,
                "close": range(40),
                "volume": range(40),
                "holiday": 0,
            }
        )
        for name, sector in (("NA", "a"), ("007", "a"), ("7", "b"))
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    holidays = pd.DataFrame({"day": days[-1] + pd.to_timedelta([1, 2], "D"), "holiday": [0, 1]})
    ahead = holidays.merge(pd.DataFrame({"ticker": ["NA", "007", "7"]}), how="cross")
    ahead.to_csv(tmp_path / "ahead.csv", index=False)
    roles = "--id ticker --time day --target close --group sector --past volume --known holiday"
    sizes = "--context 8 --horizon 2"
    fit = ["fit", tmp_path / "t.csv", tmp_path / "m", *roles.split(), *sizes.split(), *SMALL]
    call(*fit, "--val", tmp_path / "t.csv")
    message = complaint("predict", tmp_path / "t.csv", tmp_path / "m")
    assert "give --known, a table with the next 2 steps" in message and "known=" not in message
    predict = ["predict", tmp_path / "t.csv", tmp_path / "m", "--known", tmp_path / "ahead.csv"]
    call(*predict, "--out", tmp_path / "f.csv")
    forecast = pd.read_csv(tmp_path / "f.csv", dtype=str, keep_default_na=False)
    assert set(forecast.ticker) == {"NA", "007", "7"}, "labels keep their spelling"
    assert set(forecast.day) == {"2024-02-10", "2024-02-11"}


def test_the_calendar_is_named_and_known_ahead(tmp_path, monkeypatch):
    trained_answers(monkeypatch)
    days = pd.date_range("2024-01-01", periods=60, freq="D").astype(str)
    table = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(60) % 7 + 1.0})
    table.to_csv(tmp_path / "t.csv", index=False)
    fit = ["fit", tmp_path / "t.csv", "--context", 5, "--horizon", 2, *SMALL]
    fit += ["--set", "scale=series"]
    answers = {}
    for given in ("weekday", "none", "auto"):
        call(*fit[:2], tmp_path / given, *fit[2:], "--calendar", given)
        saved = Forecaster.load(tmp_path / given)
        wanted = {"weekday": ("weekday",), "none": None, "auto": "auto"}[given]
        assert saved.columns.calendar == wanted
        out = tmp_path / f"{given}.csv"
        call("predict", tmp_path / "t.csv", tmp_path / given, "--out", out)
        answers[given] = pd.read_csv(out)
        pd.testing.assert_frame_equal(
            saved.predict(read_table(tmp_path / "t.csv", saved.columns)).astype({"ds": str}),
            answers[given].astype({"ds": str}),
            check_dtype=False,
        )
    assert answers["weekday"].ds.tolist() == ["2024-03-01", "2024-03-02"]
    assert (answers["weekday"].HiPerformer != answers["none"].HiPerformer).all()
    pd.testing.assert_frame_equal(answers["auto"], answers["none"])
    call(*fit[:2], tmp_path / "season", *fit[2:], "--season", 7, "--season", 14)
    assert Forecaster.load(tmp_path / "season").columns.season == (7, 14)
    assert "give some of" in complaint(*fit[:2], tmp_path / "x", *fit[2:], "--calendar", "date")
    message = complaint(*fit[:2], tmp_path / "x", *fit[2:], "--holidays", "us")
    assert "--holidays=us is no country" in message
    table.assign(ds=range(60)).to_csv(tmp_path / "steps.csv", index=False)
    numbered = ["fit", tmp_path / "steps.csv", tmp_path / "x", *fit[2:], "--calendar", "hour"]
    assert "give dates, or leave out --calendar and --holidays" in complaint(*numbered)


def test_labels_and_times_of_a_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("scene,unique_id,ds,group,y\n10,01,0,1,NA\n2,02,1,2,\n")
    frame = read_table(path, Columns(scene="scene"))
    assert frame["scene"].tolist() == [10, 2] and frame["ds"].tolist() == [0, 1]
    assert frame["unique_id"].tolist() == ["01", "02"] and frame["y"].isna().all()
    path.write_text("unique_id,ds,y\na,2024-01-01 13:00:00,1\n")
    assert read_table(path, Columns(group=None))["ds"].iloc[0] == pd.Timestamp("2024-01-01 13:00")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no CSV table"),
        ("unique_id,ds,y\na,01/02/2024,1\n", "'01/02/2024' in line 2.*2024-01-31"),
        ("unique_id,ds,y\na,0,1\nb,soon,1\n", "'soon' in line 3"),
        ("unique_id,ds,y\na,0,1,2,3\nb,0\n", "no CSV table"),
        (
            "unique_id,ds,y\na,2024-01-01T00:00+01:00,1\na,2024-01-02T00:00+02:00,1\n",
            "mixes times",
        ),
    ],
)
def test_bad_csv_is_named(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        frame = read_table(path, Columns(group=None))
        hierforecast.frame.read_frame(frame, Columns(group=None))


def test_parquet_without_pyarrow_names_the_extra(monkeypatch, tmp_path):
    def no_pyarrow(name, *args):
        if name == "pyarrow":
            raise ImportError(name)
        return import_module(name, *args)

    import_module = importlib.import_module
    monkeypatch.setattr(errors, "import_module", no_pyarrow)
    (tmp_path / "t.parquet").write_bytes(b"")
    with pytest.raises(errors.MissingExtraError, match=r"hierforecast\[parquet\]"):
        read_table(tmp_path / "t.parquet", Columns())
    with pytest.raises(errors.MissingExtraError, match=r"hierforecast\[parquet\]"):
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "u.parquet")


def test_download_writes_a_table(tmp_path):
    out = tmp_path / "b.csv"
    result = call("download", "basketball", "--out", out, "--set", "n_scenes=2")
    pd.testing.assert_frame_equal(pd.read_csv(out), simulate_basketball(2), check_dtype=False)
    roles = "--target x --target y --group team --scene scene --group-type kind"
    assert roles in result.stderr, "the roles that fit needs"


def test_download_of_a_panel_says_its_step_and_covariates(shared_data, tmp_path):
    out = tmp_path / "w.csv"
    result = call("download", "walmart", "--root", shared_data, "--out", out)
    said = result.stderr.split("roles for fit: ")[1].split()
    assert said[:2] == ["--past", "Temperature"] and "--target" not in said
    fit = ["fit", out, tmp_path / "m", *said, "--context", 8, "--horizon", 2, "--model", "ridge"]
    call(*fit)


def test_download_looks_where_it_says(shared_data, tmp_path):
    out = tmp_path / "s.csv"
    arguments = ["download", "stocks", "--root", shared_data, "--set", "start=2018-01-01"]
    result = call(*arguments, "--out", out)
    assert str(shared_data) in result.stderr and str(out) in result.stderr
    assert pd.read_csv(out)["sector"].nunique() == 11


def test_download_names_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = complaint("download", "hockey")
    assert all(name in message for name in LOADERS)
    assert "n_scenes" in complaint("download", "basketball", "--set", "games=3")


def test_demo_writes_everything_it_lists(tmp_path):
    shown = call("demo", "--quick", "--out", tmp_path / "demo", "--seed", 3).stdout
    for name in ("rollout.png", "rollout.gif", "scores.csv", "history.csv", "forecast.csv"):
        assert (tmp_path / "demo" / name).stat().st_size > 0
        assert name in shown
    assert str(tmp_path / "demo") in shown
    scores = pd.read_csv(tmp_path / "demo" / "scores.csv")
    assert set(scores.model) == {"HiPerformer", "Ridge", "ConstantVelocity", "LastValue"}
    whole = scores[(scores.metric == "ade") & (scores.part == "all")]
    error = whole.groupby("model").value.max()
    assert error["HiPerformer"] < error["ConstantVelocity"], "even then"
    hidden = scores[(scores.part == "always visible") & (scores.metric == "ade")]
    assert sorted(hidden.hidden.unique()) == [0, 1, 2, 4]
    alone = hidden[hidden.model == "ConstantVelocity"].value
    assert alone.max() - alone.min() < 1e-4, "it looks at one agent at a time"
    together = hidden[hidden.model == "HiPerformer"].value
    assert together.nunique() > 1, "the model must see that players are gone"
    assert json.loads((tmp_path / "demo" / "forecaster" / "forecaster.json").read_text())
    folder = Path(tmp_path / "demo")
    call("predict", folder / "history.csv", folder / "forecaster", "--level", 90)


def test_labels_of_several_columns(tmp_path):
    keys = [("no", "1", "x"), ("no", "2", "x"), ("se", "1", "x"), ("se", "01", "y")]
    names = ["country", "store", "item"]
    table = pd.DataFrame(
        [(*key, t, t + 10.0 * k) for k, key in enumerate(keys) for t in range(20)],
        columns=[*names, "ds", "y"],
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    fit = ["fit", tmp_path / "t.csv", tmp_path / "m", *SIZES, "--model", "last-value"]
    roles = "--id country --id store --id item --group country,store --group item"
    call(*fit, *roles.split())
    columns = json.loads((tmp_path / "m" / "forecaster.json").read_text())["columns"]
    assert columns["id"] == names and columns["group"] == [["country", "store"], "item"]
    call("predict", tmp_path / "t.csv", tmp_path / "m", "--out", tmp_path / "f.csv")
    found = pd.read_csv(tmp_path / "f.csv", dtype=str)
    assert list(found) == [*names, "ds", "LastValue"]
    first = found[found.ds == "20"].set_index(names)["LastValue"].astype(float)
    assert first.to_dict() == {key: 19 + 10.0 * k for k, key in enumerate(keys)}
    scenes = ["--scene country", "--scene store", "--id item"]
    call(*fit, *" ".join(scenes).split())
    found = call("predict", tmp_path / "t.csv", tmp_path / "m").stdout.splitlines()
    assert found[0] == "country,store,item,ds,LastValue" and found[1] == "no,1,x,20,19.0"
    message = complaint(*fit, "--id", "item")
    assert message.endswith("--id country --id store --id item"), message
