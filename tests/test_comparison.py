"""Several forecasters on the same windows: one table, in Python and on a screen of 80 columns."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

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
from hierforecast.cli.scores import show_scores
from tests.evaluation.backtests import LIBRARIES, PLAIN, as_pandas, daily, forecaster, library
from tests.helpers import QUIET, make_frame, tiny

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
