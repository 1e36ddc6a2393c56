"""Several forecasters on the same windows: one table, in Python and on a screen of 80 columns."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from hierforecast import (
    Columns,
    DataError,
    Forecaster,
    HiPerformer,
    LastValue,
    NotFittedError,
    Ridge,
    compare,
)
from hierforecast.cli import app
from hierforecast.cli.scores import show_scores
from tests.evaluation.test_backtesting import (
    LIBRARIES,
    PLAIN,
    as_pandas,
    daily,
    forecaster,
    library,
)
from tests.helpers import COLUMNS, QUIET, make_frame, tiny

OPTIONS: dict[str, Any] = {"prediction_length": 2, "columns": PLAIN, "trainer": QUIET}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_comparison_is_the_evaluations_side_by_side(name):
    frame = library(daily(), name)
    models = [forecaster(m).fit(frame) for m in (LastValue(), Ridge(), Ridge(1.0))]
    windows: dict[str, Any] = {"n_windows": 3, "stride": 3}
    found = compare(models, frame, ["mae", "mase", "crps"], **windows)
    assert type(found) is type(frame)
    found = as_pandas(found)
    assert list(found) == ["forecaster", "model", "part", "metric", "value"]
    assert found.forecaster.drop_duplicates().tolist() == ["LastValue", "Ridge", "Ridge-2"]
    for model, own in zip(models, found.groupby("forecaster", sort=False), strict=True):
        alone = as_pandas(model.evaluate(frame, ["mae", "mase", "crps"], **windows))
        own = own[1].drop(columns="forecaster").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone, check_dtype=False)
    named = as_pandas(compare({"mine": models[1]}, frame, "mae"))
    assert named.forecaster.tolist() == ["mine"] and named.model.tolist() == ["Ridge"]


def test_contexts_of_two_lengths_see_the_same_windows():
    """Cutoffs by the longest context; a series not seen in the shortest one counts for nobody."""
    frame = daily(30)
    hidden = (frame.unique_id == "b") & frame.ds.between("2024-01-20", "2024-01-26")
    frame = frame[~hidden]
    short = Forecaster(LastValue(), context_length=3, **OPTIONS).fit(frame)
    long = Forecaster(LastValue(), context_length=9, **OPTIONS).fit(frame)
    value = compare({"short": short, "long": long}, frame, "mae").set_index("forecaster").value
    backs = [f.backtest(frame).dropna() for f in (short, long)]
    assert backs[0].cutoff.min() < backs[1].cutoff.min()
    keys = ["unique_id", "ds", "cutoff"]
    both = backs[0].merge(backs[1], on=keys, suffixes=("", "_long"))
    assert len(both) < len(backs[1]) < len(backs[0])
    wanted = (both.LastValue - both.y).abs().mean()
    assert value.tolist() == pytest.approx([wanted, wanted], rel=1e-7)


def test_one_that_is_not_fitted_learns_what_came_before_the_first_cutoff():
    frame = daily()
    plan, fitted = forecaster(Ridge()), forecaster().fit(frame)
    found = compare([fitted, plan], frame, "mae", n_windows=4).set_index("forecaster").value
    assert not hasattr(plan, "model_")
    cutoff = fitted.backtest(frame, n_windows=4).cutoff.min()
    by_hand = forecaster(Ridge()).fit(frame[frame.ds <= cutoff])
    assert found.Ridge == by_hand.evaluate(frame, "mae", n_windows=4).value[0]
    refitted = compare([fitted, plan], frame, "mae", n_windows=4, refit=2)
    wanted = [f.evaluate(frame, "mae", n_windows=4, refit=2).value[0] for f in (fitted, plan)]
    assert refitted.value.tolist() == wanted
    every = compare([fitted, plan], frame, "mae").set_index("forecaster").value
    back = forecaster().backtest(frame, refit=True)
    assert every.LastValue == pytest.approx((back.LastValue - back.y).abs().mean())


def test_parts_are_those_that_a_forecaster_knows():
    frame = make_frame(2)
    flat = tiny(LastValue(), columns=Columns(target=["x", "y"], group=None, scene="scene"))
    found = compare([tiny(LastValue()).fit(frame), flat.fit(frame)], frame, ["ade", "nll"])
    parts = found.groupby("forecaster").part.unique()
    assert parts["LastValue"].tolist() == ["all", "ball", "player"]
    assert parts["LastValue-2"].tolist() == ["all"]


def test_what_cannot_be_compared():
    frame = daily()
    one = forecaster().fit(frame)
    longer = Forecaster(LastValue(), context_length=6, **{**OPTIONS, "prediction_length": 3})
    other = Forecaster(LastValue(), context_length=6, **{**OPTIONS, "columns": Columns(id="shop")})
    with pytest.raises(
        DataError, match=r"'LastValue' and 'LastValue-2' .*prediction_length is 2 an"
    ):
        compare([one, longer], frame)
    with pytest.raises(DataError, match=r"Columns\(id=\.\.\.\) is 'unique_id' and 'shop'"):
        compare([one, other], frame)
    with pytest.raises(DataError, match="nothing to compare: give one forecaster or more"):
        compare([], frame)
    with pytest.raises(DataError, match=r"^n_windows=2\.0 must be a whole number"):
        compare([one], frame, n_windows=2.0)  # type: ignore[arg-type]
    with pytest.raises(NotFittedError):
        forecaster().evaluate(frame)


def test_draws_of_a_comparison_are_seeded():
    frame = daily()
    models = [forecaster(HiPerformer(8, 1, 2)).fit(frame), forecaster(Ridge())]
    one, two = (compare(models, frame, ["crps", "energy_score"], n_windows=2) for _ in "ab")
    pd.testing.assert_frame_equal(one, two)


# --- on the screen -------------------------------------------------------------------------------


def shown(scores: pd.DataFrame, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    show_scores(scores, level=90, console=console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 60, 200])
def test_every_number_is_whole_at_any_width(width):
    rng = np.random.default_rng(0)
    names = [f"runs/2024-06-{i:02d}/with a long name/model" for i in range(7)]
    metrics = ["mae", "nll_per_coordinate", "mean_weighted_quantile_loss", "min_ade[k=5]", "bias"]
    scores = pd.DataFrame(
        [
            (name, "HiPerformer", part, metric, rng.normal() * 10.0 ** rng.integers(-7, 9))
            for name in names
            for part in ("all", "goalkeeper", "player")
            for metric in metrics
        ],
        columns=["forecaster", "model", "part", "metric", "value"],
    )
    text = shown(scores, width)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    cells = re.findall(r"(?<=\s)-?\d[\d.e+-]*(?=[*\s])", text)
    for value in scores.value:
        assert f"{value:.4g}" in cells
    assert re.findall(r"^\S+", text, re.M)[2:7] == metrics, "names are whole, too"
    assert text.count("*") == 3 * len(metrics), "the best of each metric, in each part"


def test_the_best_is_marked_where_there_is_one():
    rows = [
        (name, "M", "all", metric, value)
        for metric, values in {
            "mae": (2.0, 1.0),
            "bias": (-0.1, 3.0),
            "coverage": (0.99, 0.88),
            "width": (1.0, 2.0),
            "nll": (float("nan"), 5.0),
        }.items()
        for name, value in zip("ab", values, strict=True)
    ]
    scores = pd.DataFrame(rows, columns=["forecaster", "model", "part", "metric", "value"])
    text = shown(scores)
    assert "all" not in text, "one part needs no heading"
    stars = {line.split()[0]: re.findall(r"(\S+)\*", line) for line in text.splitlines()[2:]}
    assert stars == {
        "mae": ["1"], "bias": ["-0.1"], "coverage": ["0.88"], "width": [], "nll": ["5"],
    }  # fmt: skip
    assert "*" not in shown(scores[scores.forecaster == "a"]), "nothing to be better than"


# --- the command line ----------------------------------------------------------------------------


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
