"""What every engine must answer, with workers that are processes of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from typer.testing import CliRunner

from hierforecast import DataError, Forecaster
from hierforecast.cli import app
from hierforecast.engines import Job
from hierforecast.engines.homes import home_of
from tests.engines.checks import (
    ASKED,
    KNOWN,
    NOW,
    ask,
    assert_same_rows,
    fitted,
    frame_of,
    parts_of,
    with_twice,
)
from tests.helpers import COLUMNS


class Home(NamedTuple):
    """An engine: a frame to it, with scenes torn apart over its parts, and back."""

    name: str
    carry: Callable[[pd.DataFrame], Any]
    bring: Callable[[Any], pd.DataFrame]


class Deadly(Job):
    """A job that kills its worker the first time that it is given rows."""

    def __call__(self, frame: Any) -> Any:
        mark = Path(self.options["mark"])
        if len(frame) and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Job(**{**vars(self), "options": {}})(frame)

    def empty(self, frame: Any) -> Any:
        return Job(**{**vars(self), "options": {}}).empty(frame)


class HomeTests:
    """Tests of an engine whose module has a fixture `home`; by one session of it."""

    @pytest.fixture(scope="class")
    @classmethod
    def frame(cls) -> pd.DataFrame:
        return frame_of()

    @pytest.fixture(scope="class")
    @classmethod
    def forecaster(cls, frame) -> Forecaster:
        return fitted(frame)

    @pytest.mark.parametrize("name", ASKED)
    def test_the_answer_is_the_local_one_in_kind(self, home, forecaster, frame, name):
        found = ask(forecaster, name, frame, home.carry)
        assert home_of(found) is not None
        assert_same_rows(home.bring(found), ask(forecaster, name, frame, lambda x: x))

    def test_evaluate_adds_up(self, home, forecaster, frame):
        asked = {"metrics": ["ade", "min_ade", "nll_per_coordinate"], "n_samples": 4}
        found = forecaster.evaluate(home.carry(frame), **asked)
        pd.testing.assert_frame_equal(found, forecaster.evaluate(frame, **asked), rtol=1e-5)

    def test_scenes_and_times_of_other_types(self, home, frame):
        days = pd.Timestamp("2024-03-01") + pd.to_timedelta(frame.ds, "D")
        other = frame.assign(scene="match " + frame.scene.astype(str), ds=days.astype("M8[us]"))
        forecaster = fitted(other)
        found = home.bring(forecaster.sample(home.carry(other), 2))
        assert_same_rows(found.astype({"ds": "M8[us]"}), forecaster.sample(other, 2))

    def test_a_frame_without_scenes_is_one(self, home):
        frame = frame_of(1)
        forecaster = fitted(frame, columns=replace(COLUMNS, scene=None))
        found = home.bring(forecaster.predict(home.carry(frame)))
        assert_same_rows(found, forecaster.predict(frame))

    def test_a_frame_without_scenes_is_cut_by_cutoff(self, home):
        frame = frame_of(1, steps=40)
        days = pd.Timestamp("2024-03-01") + pd.to_timedelta(frame.ds, "D")
        frame = frame.assign(ds=days.astype("M8[us]"))
        forecaster = fitted(frame, columns=replace(COLUMNS, scene=None))
        given, asked = home.carry(frame), {"start": "2024-03-16", "stride": 2}
        found = home.bring(forecaster.backtest(given, **asked, level=[80]))
        found = found.astype({"ds": "M8[us]", "cutoff": "M8[us]"})
        assert_same_rows(found, forecaster.backtest(frame, **asked, level=[80]))
        asked |= {"metrics": ["ade", "min_ade"], "n_samples": 4}
        found = forecaster.evaluate(given, **asked)
        pd.testing.assert_frame_equal(found, forecaster.evaluate(frame, **asked), rtol=1e-5)
        with pytest.raises(Exception, match="n_windows=99 is more than there are"):
            home.bring(forecaster.backtest(given, n_windows=99))

    def test_known_covariates_travel_along(self, home):
        frame = frame_of(3, missing=0.0)
        forecaster = fitted(frame, columns=KNOWN)
        history, known = frame[frame.ds < NOW], frame[frame.ds >= NOW]
        found = home.bring(forecaster.predict(home.carry(history), known=known))
        assert_same_rows(found, forecaster.predict(history, known=known))
        with pytest.raises(DataError, match="known= is a frame of an engine too"):
            forecaster.predict(home.carry(history), known=home.carry(known))

    def test_a_bad_scene_is_named(self, home, forecaster, frame):
        with pytest.raises(Exception, match="scene 3"):
            home.bring(forecaster.predict(home.carry(with_twice(frame, 3))))

    def test_a_folder_of_parquet_by_command(self, home, forecaster, frame, tmp_path):
        folder, model, out = (tmp_path / name for name in ("big", "model", "out"))
        folder.mkdir()
        forecaster.save(model)
        for number, scene in enumerate(parts_of(frame, [2, 1])):  # scenes torn apart over files
            for part in range(2):
                scene.iloc[part::2].to_parquet(folder / f"{number}-{part}.parquet", index=False)
        given = [folder, model, "--engine", home.name, "--out", out, "--level", 80]
        result = CliRunner().invoke(app, ["predict", *map(str, given)])
        assert result.exit_code == 0, result.output
        found = pd.concat(map(pd.read_parquet, out.rglob("*.parquet")))
        assert_same_rows(found, forecaster.predict(frame, level=[80]))
        figures = tmp_path / "figures.csv"
        given = [folder, model, "--engine", home.name, "--metric", "ade", "--out", figures]
        result = CliRunner().invoke(app, ["evaluate", *map(str, given)])
        assert result.exit_code == 0, result.output
        expected = forecaster.evaluate(frame, "ade")
        pd.testing.assert_frame_equal(
            pd.read_csv(figures).drop(columns="forecaster"), expected, rtol=1e-5
        )

    def test_a_killed_worker_is_survived(self, home, forecaster, frame, tmp_path):
        given, mark = home.carry(frame), tmp_path / "killed"
        job = Deadly(**{**vars(Job.of(forecaster, "predict", {})), "options": {"mark": str(mark)}})
        found = home.bring(home_of(given).run(job, given))
        assert mark.exists()
        assert_same_rows(found, forecaster.predict(frame))
