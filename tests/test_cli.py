"""The command line from file to file: what it writes, and what it says when something is wrong."""

from __future__ import annotations

import runpy
import sys
import warnings

import pandas as pd
import pytest
from typer.testing import CliRunner

import hierforecast
from hierforecast import Forecaster
from hierforecast.cli import app
from hierforecast.datasets import simulate_basketball
from hierforecast.errors import DataError, Interrupted
from hierforecast.training import loop
from hierforecast.training.plan import NO_STEPS
from tests.commands import SIZES, SMALL, call, complaint

COURT = ("--scene scene --group {} --group-type kind", "--target x --target y")
ROLES = " ".join(COURT).format("team").split()


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with train.csv, history.csv and test.csv."""
    folder = tmp_path_factory.mktemp("tables")
    simulate_basketball(12, n_steps=12, seed=0).to_csv(folder / "train.csv", index=False)
    test = simulate_basketball(3, n_steps=12, seed=1)
    test.to_csv(folder / "test.csv", index=False)
    test[test.ds < 9].to_csv(folder / "history.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def fitted(tables):
    call("fit", tables / "train.csv", tables / "model", *ROLES, *SIZES, *SMALL)
    call("fit", tables / "train.csv", tables / "ridge", *ROLES, *SIZES, "--model", "ridge")
    return tables


def test_version_and_help():
    assert call("--version").stdout.strip() == hierforecast.__version__
    listed = call("--help").stdout
    for name in ("demo", "fit", "predict", "evaluate", "download"):
        assert name in listed
        assert "Usage" in call(name, "--help").stdout


def test_the_package_runs_as_a_script(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hierforecast", "--version"])
    # Tests that walk over all modules import this one.
    monkeypatch.delitem(sys.modules, "hierforecast.__main__", raising=False)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("hierforecast", run_name="__main__")
    assert capsys.readouterr().out.strip() == hierforecast.__version__


def test_predict_writes_what_the_library_answers(fitted, tmp_path):
    out = tmp_path / "new" / "forecast.csv"
    call("predict", fitted / "history.csv", fitted / "model", "--out", out, "--level", 90)
    written = pd.read_csv(out)
    forecaster = hierforecast.Forecaster.load(fitted / "model")
    expected = forecaster.predict(pd.read_csv(fitted / "history.csv"), level=[90])
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, rtol=1e-4)
    assert len(written) == 3 * 11 * 3
    assert "HiPerformer_x-lo-90" in written


def test_predict_without_a_file_is_csv_on_the_screen(fitted):
    shown = call("predict", fitted / "history.csv", fitted / "ridge").stdout
    assert shown.splitlines()[0] == "scene,unique_id,ds,Ridge_x,Ridge_y"
    assert len(shown.splitlines()) == 1 + 3 * 11 * 3


def test_samples_are_seeded_and_joint(fitted):
    def draw(seed):
        arguments = ["predict", fitted / "history.csv", fitted / "model", "--samples", 2]
        return call(*arguments, "--seed", seed).stdout

    assert draw(1) == draw(1) != draw(2)
    assert len(draw(1).splitlines()) == 1 + 2 * 3 * 11 * 3


def test_parquet_in_and_out(fitted, tmp_path):
    pytest.importorskip("pyarrow")
    history, out = tmp_path / "history.parquet", tmp_path / "forecast.parquet"
    pd.read_csv(fitted / "history.csv").to_parquet(history)
    call("predict", history, fitted / "model", "--out", out)
    csv = tmp_path / "forecast.csv"
    call("predict", fitted / "history.csv", fitted / "model", "--out", csv)
    a, b = pd.read_parquet(out), pd.read_csv(csv)
    pd.testing.assert_frame_equal(a, b, check_dtype=False, rtol=1e-4)


def test_evaluate_puts_models_side_by_side(fitted, tmp_path):
    out = tmp_path / "scores.csv"
    folders = [fitted / "model", fitted / "ridge"]
    metrics = ["--metric", "ade", "--metric", "fde"]
    result = call("evaluate", fitted / "test.csv", *folders, *metrics, "--out", out)
    assert "HiPerformer" in result.stdout and "Ridge" in result.stdout
    scores = pd.read_csv(out)
    assert set(scores.model) == {"HiPerformer", "Ridge"}
    assert set(scores.metric) == {"ade", "fde"} and set(scores.part) == {"all", "ball", "player"}
    assert (scores.value > 0).all()


def test_a_fit_goes_on_from_its_checkpoints(tables, tmp_path):
    arguments = ["fit", tables / "train.csv", tmp_path / "model", *ROLES, *SIZES, *SMALL]
    call(*arguments, "--checkpoints", tmp_path / "kept")
    assert list((tmp_path / "kept").glob("*.ckpt"))
    call(*arguments, "--checkpoints", tmp_path / "kept", "--resume")
    assert "--checkpoints" in complaint(*arguments, "--resume")
    assert "resume" in complaint(*arguments, "--checkpoints", tmp_path / "none", "--resume")


@pytest.mark.parametrize(
    ("stop", "status"), [(Interrupted("interrupted at step 1"), 130), (SystemExit(143), 143)]
)
def test_an_interrupted_fit_is_saved_and_the_exit_status_tells(stop, status, tables, tmp_path):
    arguments = ["fit", tables / "train.csv", tmp_path / "model", *ROLES, *SIZES, *SMALL]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", lambda *args: loop.Trained(NO_STEPS, stop))
        result = call(*arguments, code=status)
    assert "saved" in result.stderr
    assert ("step 1" in result.stderr) == (status == 130)
    call("predict", tables / "history.csv", tmp_path / "model")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt("interrupted before the first step"), 130),
        (KeyboardInterrupt(), 130),
        (RuntimeError("disk on fire"), 1),
        (DataError("no such thing"), 2),
    ],
)
def test_a_fit_that_learns_nothing_leaves_the_saved_model(error, status, tables, tmp_path):
    def fail(*args):
        raise error

    arguments = ["fit", tables / "train.csv", tmp_path / "model", *ROLES, *SIZES]
    call(*arguments, "--model", "last-value")
    before = {p: p.read_bytes() for p in (tmp_path / "model").iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", fail)
        result = CliRunner().invoke(app, [str(a) for a in (*arguments, *SMALL)])
    assert result.exit_code == status and "saved" not in result.stderr
    assert {p: p.read_bytes() for p in (tmp_path / "model").iterdir()} == before


def test_errors_are_one_line(fitted, tmp_path):
    history, model = fitted / "history.csv", fitted / "model"
    fit = ["fit", history, tmp_path / "m", *SIZES]
    assert "nowhere.csv" in complaint("predict", "nowhere.csv", model)
    assert "forecaster" in complaint("predict", history, tmp_path)
    assert ".parquet" in complaint("predict", history, model, "--out", "forecast.xlsx")
    assert "exclude" in complaint("predict", history, model, "--samples", 2, "--level", 90)
    assert "level=120" in complaint("predict", history, model, "--level", 120)
    assert "no column 'z'" in complaint(*fit, *ROLES, "--target", "z")
    assert "duplicated in (unique_id, ds)" in complaint(*fit)
    assert "did you mean 'team'" in complaint(*fit, *" ".join(COURT).format("teams").split())
    assert "width" in complaint(*fit, *ROLES, "--set", "girth=3")
    assert "KEY=VALUE" in complaint(*fit, *ROLES, "--set", "width")
    assert "too little context" in complaint(*fit, *ROLES, "--context", 80)
    assert "min_ade" in complaint("evaluate", fitted / "test.csv", model, "--metric", "minade")
    truncated = tmp_path / "t.parquet"
    truncated.write_bytes(b"PAR1")
    assert "Parquet" in complaint("predict", truncated, model)


def test_traceback_on_demand(tmp_path):
    result = CliRunner().invoke(app, ["--traceback", "predict", "nowhere.csv", str(tmp_path)])
    assert isinstance(result.exception, FileNotFoundError)


def test_what_gets_no_forecast_is_a_line_of_warning(fitted, tmp_path):
    history = pd.read_csv(fitted / "history.csv")
    history = history[(history.unique_id != "home_1") | (history.ds < 2)]
    history.to_csv(tmp_path / "h.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = call("predict", tmp_path / "h.csv", fitted / "ridge")
    assert result.stderr.startswith("warning: 3 of 33 series get no forecast")
    assert len(result.stderr.splitlines()) == 1


def test_surprise_and_influence_are_what_the_library_says(fitted, tmp_path):
    forecaster = Forecaster.load(fitted / "model")
    test, train = (pd.read_csv(fitted / f"{name}.csv") for name in ("test", "train"))
    out = tmp_path / "answer.csv"
    call("surprise", fitted / "test.csv", fitted / "model", "--out", out, "--n-windows", 1)
    found = pd.read_csv(out)
    pd.testing.assert_frame_equal(found, forecaster.surprise(test, n_windows=1), check_dtype=False)
    held = ("--held-out", fitted / "train.csv", "--cutoff", 5)
    call("surprise", fitted / "test.csv", fitted / "model", "--out", out, *held)
    expected = forecaster.surprise(test, train, start=6)
    pd.testing.assert_frame_equal(pd.read_csv(out), expected, check_dtype=False)
    history = test[test.ds < 9]
    for options, by in (((), None), (("--by", "team"), ["team"])):
        call(
            "influence",
            fitted / "test.csv",
            fitted / "model",
            "--out",
            out,
            "--cutoff",
            8,
            *options,
        )
        found, expected = pd.read_csv(out), forecaster.influence(history, by)
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-4, atol=1e-4)


def test_surprise_and_influence_say_what_is_wrong(fitted):
    model = fitted / "model"
    assert "--n-windows=99 is more" in complaint(
        "surprise", fitted / "test.csv", model, "--n-windows", 99
    )
    said = complaint("influence", fitted / "history.csv", model, "--by", "nation")
    assert "names 'nation'" in said
