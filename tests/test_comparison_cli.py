"""The command line compares as the library does, and says in one line what is wrong."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hierforecast import Columns, Forecaster, LastValue, Ridge, compare
from hierforecast.cli import app
from tests.evaluation.backtests import PLAIN, daily
from tests.helpers import COLUMNS, make_frame, tiny


def call(*arguments: Any, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """table.csv, and two models fitted on it up to the 4th of February: ridge, last."""
    folder = tmp_path_factory.mktemp("models")
    daily(60).to_csv(folder / "table.csv", index=False)
    for name, context in (("ridge", 14), ("last-value", 8)):
        call(
            "fit", folder / "table.csv", folder / name, "--model", name, "--context", context,
            "--horizon", 4, "--cutoff", "2024-02-04",
        )  # fmt: skip
    return folder


def test_a_cutoff_holds_out_a_tail(folder):
    frame = daily(60)
    past = frame[frame.ds <= "2024-02-04"]
    ridge = Forecaster.load(folder / "ridge")
    by_hand = Forecaster(Ridge(), context_length=14, prediction_length=4, columns=PLAIN).fit(past)
    out = folder / "forecast.csv"
    call(
        "predict", folder / "table.csv", folder / "ridge", "--cutoff", "2024-02-04", "--out", out,
        "--quantile", 0.1, "--quantile", 0.5,
    )  # fmt: skip
    found = pd.read_csv(out, parse_dates=["ds"])
    wanted = by_hand.predict(past, quantiles=[0.1, 0.5])
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False, rtol=1e-4)
    assert found.ds.min() == pd.Timestamp("2024-02-05") and "Ridge-q-10" in found
    scores = folder / "tail.csv"
    call("evaluate", folder / "table.csv", folder / "ridge", "--cutoff", "2024-02-04",
         "--metric", "mae", "--metric", "mwql", "--out", scores)  # fmt: skip
    found = pd.read_csv(scores)
    wanted = ridge.evaluate(frame, ["mae", "mwql"], start="2024-02-05")
    np.testing.assert_allclose(found.value, wanted.value, rtol=1e-6)


@pytest.mark.parametrize("verb", ["evaluate", "compare"])
def test_compare_is_what_the_library_compares(folder, verb, tmp_path):
    out, frame = tmp_path / "scores.csv", daily(60)
    folders = [folder / "ridge", folder / "last-value"]
    result = call(
        verb, folder / "table.csv", *folders, "--baseline", "last-value", "--n-windows", 3,
        "--stride", 2, "--metric", "mae", "--metric", "mase[season=7]", "--out", out,
    )  # fmt: skip
    ridge, last = (Forecaster.load(path) for path in folders)
    plan = Forecaster(LastValue(), context_length=14, prediction_length=4, columns=PLAIN)
    named = {str(folders[0]): ridge, str(folders[1]): last, "last-value": plan}
    wanted = compare(named, frame, ["mae", "mase[season=7]"], n_windows=3, stride=2)
    pd.testing.assert_frame_equal(pd.read_csv(out), wanted, check_dtype=False, rtol=1e-6)
    for value in wanted.value:
        assert re.search(rf"\s{re.escape(f'{value:.4g}')}[* \n]", result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= 80 and "\x1b" not in result.stdout


def test_a_baseline_may_learn_from_a_table_of_its_own(folder, tmp_path):
    train, out = tmp_path / "train.csv", tmp_path / "scores.csv"
    daily(60, seed=5).to_csv(train, index=False)
    call("compare", folder / "table.csv", folder / "ridge", "--baseline", "ridge", "--train", train,
         "--metric", "mae", "--refit", 2, "--n-windows", 2, "--out", out)  # fmt: skip
    refitted = pd.read_csv(out).value
    assert refitted[0] == refitted[1], "--refit learns both anew"
    call("compare", folder / "table.csv", folder / "ridge", "--baseline", "ridge", "--train", train,
         "--metric", "mae", "--n-windows", 2, "--out", out)  # fmt: skip
    found = pd.read_csv(out).set_index("forecaster").value
    plan = Forecaster(Ridge(), context_length=14, prediction_length=4, columns=PLAIN)
    wanted = plan.fit(daily(60, seed=5)).evaluate(daily(60), "mae", n_windows=2).value[0]
    assert found["ridge"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n-windows", 0], "error: --n-windows=0 must be a whole number of at least 1"),
        (["--level", 0.9], "error: --level=0.9 is 0.9 percent: did you mean 90?"),
        (["--start", "soon"], "error: --start=soon is no time of column 'ds': give one such as"),
        (["--start", "2024-02-28"], "is too late: .* the last possible start is 2024-02-26"),
        (["--cutoff", "2025-01-01"], "error: --cutoff=2025-01-01: nothing follows, the last is"),
        (["--cutoff", "2024-02-04", "--start", "2024-02-05"], "--start and --cutoff exclude each"),
        (["--metric", "mape"], "error: no metric is called 'mape'"),
        (
            ["--baseline", "last-value", "--start", "2024-01-03"],
            "error: nothing to fit on: before --start=2024-01-03",
        ),
    ],
)
def test_one_line_says_what_is_wrong(folder, options, message):
    if "--baseline" in options:
        options = [*options, "--n-windows", 1]
    result = call("compare", folder / "table.csv", folder / "last-value", *options, code=2)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and re.search(message, lines[0]), lines


def test_predict_refuses_shares_and_percentages(folder):
    for options, message in (
        (["--level", 0.9], "error: --level=0.9 is 0.9 percent: did you mean 90?"),
        (["--quantile", 90], "error: --quantile=90.0 must lie between 0 and 1: did you mean 0.9?"),
        (["--quantile", 0.5, "--samples", 2], "--samples and --quantile exclude each other"),
        (["--cutoff", "1999-01-01"], "error: --cutoff=1999-01-01: there is nothing up to it"),
    ):
        result = call("predict", folder / "table.csv", folder / "ridge", *options, code=2)
        assert result.stderr.startswith(message) or message in result.stderr


def test_integer_steps_on_the_command_line(tmp_path):
    frame = daily(40).assign(ds=lambda f: f.groupby("unique_id").cumcount())
    frame.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "s.csv"
    call("fit", tmp_path / "t.csv", tmp_path / "m", "--model", "last-value", "--context", 6,
         "--horizon", 2, "--cutoff", 29)  # fmt: skip
    model = Forecaster.load(tmp_path / "m")
    for option in (["--cutoff", 29], ["--start", 30]):
        call("evaluate", tmp_path / "t.csv", tmp_path / "m", *option, "--out", out)
        wanted = model.evaluate(frame, start=30)
        np.testing.assert_allclose(pd.read_csv(out).value, wanted.value, rtol=1e-6)


def test_scenes_with_group_types_keep_their_parts(tmp_path):
    frame = make_frame(3)
    frame.to_csv(tmp_path / "t.csv", index=False)
    tiny(LastValue()).fit(frame).save(tmp_path / "grouped")
    flat = tiny(LastValue(), columns=Columns(target=["x", "y"], group=None, scene="scene"))
    flat.fit(frame).save(tmp_path / "flat")
    out = tmp_path / "s.csv"
    call("compare", tmp_path / "t.csv", tmp_path / "grouped", tmp_path / "flat", "--out", out)
    found = pd.read_csv(out)
    wanted = compare([Forecaster.load(tmp_path / n) for n in ("grouped", "flat")], frame)
    np.testing.assert_allclose(found.value, wanted.value, rtol=1e-4)
    assert COLUMNS.group_type == "kind" and set(found.part) == {"all", "ball", "player"}
