"""What a fit says of itself: coverage on held-out windows, saved, printed and drawn."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from torch import Tensor
from typer.testing import CliRunner

from hierforecast import Columns, DataError, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.cli import app
from hierforecast.distributions import IndependentScenes
from hierforecast.inference import Forecasts
from hierforecast.plot import plot_calibration
from hierforecast.training import fitting, held_out
from hierforecast.training.report import LEVELS, Report, report_on
from tests.helpers import make_frame, tiny


@pytest.fixture(scope="module")
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    return make_frame(4, seed=1), make_frame(3, seed=2)


def by_hand(forecaster: Forecaster, val: pd.DataFrame) -> pd.DataFrame:
    """The same from the frame of a backtest, with pandas alone."""
    name = type(forecaster.model).__name__
    table = forecaster.backtest(val, level=list(LEVELS))
    kinds = val.drop_duplicates(["scene", "unique_id"])[["scene", "unique_id", "kind"]]
    table = table.merge(kinds)
    rows = []
    for part in ("all", "ball", "player"):
        some = table if part == "all" else table[table.kind == part]
        for level in LEVELS:
            inside, seen = 0, 0
            for target in ("x", "y"):
                low, high = (some[f"{name}_{target}-{side}-{level}"] for side in ("lo", "hi"))
                inside += some[target].between(low, high).sum()
                seen += some[target].notna().sum()
            rows.append((part, level / 100, inside / seen, seen))
    return pd.DataFrame(rows, columns=["part", "nominal", "covered", "cells"])


@pytest.mark.parametrize("model", [Ridge(), HiPerformer(16, 1, 2, patch=4)])
def test_coverage_is_that_of_a_backtest_of_the_held_out_frame(model, frames, monkeypatch):
    monkeypatch.setattr(fitting, "REPORT_SHARE", 1e9)
    train, val = frames
    before = val.copy()
    forecaster = tiny(model).fit(train, val)
    pd.testing.assert_frame_equal(val, before)
    found = forecaster.report_.coverage
    pd.testing.assert_frame_equal(found, by_hand(forecaster, val), check_dtype=False)
    assert found.cells.iloc[0] < 3 * 3 * 4 * 9 * 2, "missing cells do not count"
    pd.testing.assert_frame_equal(found, tiny(model).fit(train, val).report_.coverage)


def test_without_a_val_frame_held_out_scenes_are_measured():
    forecaster = tiny(Ridge()).fit(make_frame(20))
    cells = forecaster.report_.coverage.set_index(["part", "nominal"]).cells
    assert 0 < cells["all", 0.5] <= 2 * 3 * 4 * 9 * 2, "two scenes of twenty"
    assert cells["all", 0.9] == cells["ball", 0.9] + cells["player", 0.9]


def test_nothing_held_out_is_an_empty_report(frames):
    short = make_frame(2, steps=15, missing=0.0)
    report = tiny(Ridge()).fit(short).report_
    assert report.coverage.empty and "not known" in str(report)
    with pytest.raises(DataError, match="no rows: fit with"):
        plot_calibration(report.coverage)


def test_no_group_types_no_parts(frames):
    columns = Columns(target=["x", "y"], group="team", scene="scene")
    report = tiny(Ridge(), columns=columns).fit(*frames).report_
    assert report.coverage.part.unique().tolist() == ["all"]
    assert len(str(report).splitlines()) == 2


def test_few_windows_are_looked_at_so_that_a_fit_does_not_get_longer(frames, monkeypatch):
    train, val = frames
    seen = []
    monkeypatch.setattr(fitting, "report_on", lambda f: seen.append(len(f.windows)) or Report())
    tiny().fit(train, val)
    tiny(Ridge()).fit(train, val)
    monkeypatch.setattr(held_out, "HELD_OUT_ROWS", 20)
    tiny(Ridge()).fit(train, val)
    assert seen == [1, 9, 2]


def test_intervals_that_are_too_narrow_show(frames, monkeypatch):
    """A broken twin: half the width covers less."""
    train, val = frames
    good = tiny(Ridge()).fit(train, val).report_.coverage
    quantile = IndependentScenes._quantile

    def narrow(self: Any, level: Tensor) -> Tensor:
        return self.mean + 0.5 * (quantile(self, level) - self.mean)

    monkeypatch.setattr(IndependentScenes, "_quantile", narrow)
    bad = tiny(Ridge()).fit(train, val).report_.coverage
    assert (bad.covered < good.covered - 0.1).sum() >= 8
    assert (good[good.part == "all"].covered - [0.5, 0.8, 0.9, 0.95]).abs().max() < 0.1


def test_a_family_without_quantiles_has_an_empty_report(frames, monkeypatch):
    def without(self: Any, level: Tensor) -> Tensor:
        raise NotImplementedError

    monkeypatch.setattr(IndependentScenes, "_quantile", without)
    assert tiny(LastValue()).fit(*frames).report_.coverage.empty


def test_it_is_saved_and_a_folder_without_one_still_loads(frames, tmp_path):
    forecaster = tiny(Ridge()).fit(*frames)
    forecaster.save(tmp_path / "a")
    found = Forecaster.load(tmp_path / "a").report_
    pd.testing.assert_frame_equal(found.coverage, forecaster.report_.coverage, check_exact=True)
    assert str(found) == str(forecaster.report_)
    file = tmp_path / "a" / "forecaster.json"
    document = json.loads(file.read_text())
    older = copy.deepcopy(document)
    del older["report"], older["sha256"]["report"]
    file.write_text(json.dumps(older))
    assert Forecaster.load(tmp_path / "a").report_.coverage.empty
    document["report"]["coverage"]["covered"][0] = 0.1
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match="'report' does not fit its SHA-256"):
        Forecaster.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "value"), [("covered", 1.5), ("cells", 0), ("nominal", None), ("cells", "many")]
)
def test_what_is_no_report_is_refused(name, value):
    given = {"part": ["all"], "nominal": [0.5], "covered": [0.4], "cells": [7]}
    assert Report.from_dict({"coverage": given}).coverage.cells.tolist() == [7]
    with pytest.raises((ValueError, TypeError)):
        Report.from_dict({"coverage": {**given, name: [value]}})
    with pytest.raises(ValueError, match="must have the lists"):
        Report.from_dict({"coverage": {"part": ["all"]}})


def test_the_command_prints_it(frames, tmp_path):
    for name, frame in zip(("train", "val"), frames, strict=True):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    roles = "--scene scene --group team --group-type kind --target x --target y"
    sizes = f"--context 11 --horizon 4 --model ridge --val {tmp_path / 'val.csv'}".split()
    made = [str(tmp_path / "train.csv"), str(tmp_path / "made")]
    result = CliRunner().invoke(app, ["fit", *made, *roles.split(), *sizes])
    assert result.exit_code == 0, result.output
    report = Forecaster.load(tmp_path / "made").report_
    assert len(str(report).splitlines()) == 4 and str(report) in result.stderr
    assert f"{100 * report.coverage.covered[0]:.1f} %" in result.stderr


def test_the_picture_shows_each_part_against_the_diagonal(frames, tmp_path):
    coverage = tiny(Ridge()).fit(*frames).report_.coverage
    for table in (coverage, pl.from_pandas(coverage)):
        ax = plot_calibration(table, title="Calibration")
        diagonal, *lines = (line.get_xydata() for line in ax.lines)
        assert (diagonal[:, 0] == diagonal[:, 1]).all()
        assert [text.get_text() for text in ax.texts] == ["all", "ball", "player"]
        for part, line in zip(("all", "ball", "player"), lines, strict=True):
            some = coverage[coverage.part == part]
            assert line == pytest.approx(100 * some[["nominal", "covered"]].to_numpy())
    ax.get_figure().savefig(tmp_path / "calibration.png")
    with pytest.raises(DataError, match="no column 'covered'"):
        plot_calibration(coverage.drop(columns="covered"))


def test_a_missing_truth_lies_nowhere(frames):
    forecaster = tiny(Ridge()).fit(*frames)
    panel = forecaster._read(frames[1])
    forecasts = forecaster._forecasts(panel, np.array([[0, 20]]))
    assert isinstance(forecasts, Forecasts)
    report = report_on(forecasts)
    there = frames[1][(frames[1].scene == 0) & frames[1].ds.between(20, 23)]
    assert report.coverage.cells[0] <= 2 * len(there)
