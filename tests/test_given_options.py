"""Options as people give them: numpy's scalars work, nonsense is one line that names the option."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.errors import DataError
from hierforecast.frame.step import season_of
from hierforecast.models import LastValue, Ridge, SeasonalNaive
from hierforecast.nn.heads import LowRankHead, MixtureHead
from tests.commands import call, complaint

QUIET = {"accelerator": "cpu", "enable_progress_bar": False}
PLAIN = Columns(group=None)


def long(times=range(60)):
    times = pd.Index(times)
    return pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(len(times)) * 1.0})


def forecaster(model=None, **options):
    given = {"context_length": 8, "prediction_length": 3, "columns": PLAIN, "trainer": QUIET}
    return Forecaster(model or LastValue(), **{**given, **options})


def test_scalars_of_numpy_are_numbers(tmp_path):
    """With checkpoints, resumed, saved and loaded: the same as plain numbers."""

    def fitted(whole, real, folder):
        model = HiPerformer(
            whole(16), whole(1), whole(2), real(0.1), patch=whole(4), n_frequencies=whole(0),
            head=MixtureHead(whole(2), whole(1), whole(1), real(0.5)),
        )  # fmt: skip
        trainer = {**QUIET, "default_root_dir": str(tmp_path / f"{folder}-kept")}
        own = forecaster(
            model, learning_rate=real(1e-3), batch_size=whole(4), max_steps=whole(3),
            series_dropout=real(0.1), seed=whole(3), context_length=whole(8), trainer=trainer,
        )  # fmt: skip
        own.fit(long()).save(tmp_path / folder)
        own.fit(long(), resume=True)
        return Forecaster.load(tmp_path / folder).predict(long())

    pd.testing.assert_frame_equal(
        fitted(np.int64, np.float64, "numpy"), fitted(int, float, "plain"), check_exact=True
    )


def fit(model=None, **options):
    return forecaster(model, **options).fit(long())


AT_LEAST = "must be a whole number of at least"
WRONG = {
    "text for a width": (lambda: HiPerformer(width="64"), f"width='64' {AT_LEAST} 1"),
    "no depth": (lambda: HiPerformer(depth=0), f"depth=0 {AT_LEAST} 1"),
    "a fraction": (lambda: HiPerformer(patch=2.5), f"patch=2.5 {AT_LEAST} 1"),
    "true": (lambda: HiPerformer(depth=True), f"depth=True {AT_LEAST} 1"),
    "none": (lambda: HiPerformer(heads=None), f"heads=None {AT_LEAST} 1"),
    "heads": (lambda: HiPerformer(width=30, heads=4), "width=30 is not a multiple of heads=4"),
    "dropout": (lambda: HiPerformer(dropout=1.5), "dropout=1.5 must be a number between 0"),
    "head": (lambda: HiPerformer(head="lowrnk"), "head='lowrnk' is not one of .*'lowrank'"),
    "no head": (lambda: HiPerformer(head=5), "head=5 is not one of .*'lowrank'"),
    "scale": (lambda: HiPerformer(scale="coordinate"), "scale='coordinate' is not one of"),
    "scale of a baseline": (lambda: Ridge(scale=3), "scale=3 is not one of"),
    "rank": (lambda: LowRankHead(rank=-1), f"rank=-1 {AT_LEAST} 0"),
    "modes": (lambda: MixtureHead(modes=0), f"modes=0 {AT_LEAST} 1"),
    "joint": (lambda: MixtureHead(joint=2), "joint=2 must be a number between 0 and 1"),
    "season": (lambda: SeasonalNaive("7"), f"season='7' {AT_LEAST} 1"),
    "penalty": (lambda: Ridge(penalty=-1), "penalty=-1 must be a number of at least 0"),
    "context": (lambda: fit(context_length="8"), f"context_length='8' {AT_LEAST} 1"),
    "steps": (lambda: fit(max_steps=0), f"max_steps=0 {AT_LEAST} 1"),
    "batch": (lambda: fit(batch_size=2.0), f"batch_size=2.0 {AT_LEAST} 1"),
    "seed": (lambda: fit(seed=-1), "seed=-1 must be a whole number from 0 to"),
    "rate 0": (lambda: fit(learning_rate=0), "learning_rate=0 must be a number above"),
    "rate nan": (lambda: fit(learning_rate=np.nan), "learning_rate=nan must be"),
    "series dropout": (lambda: fit(series_dropout=0.6), "series_dropout=0.6 must"),
    "seed of a sample": (lambda: fit().sample(long(), 2, seed=1.5), "seed=1.5 must be"),
    "trainer": (lambda: fit(trainer="cpu"), "trainer='cpu' must be a dict"),
    "precision": (lambda: fit(trainer={"precision": "23"}), "precision='23' must be"),
    "columns": (lambda: fit(columns="y"), r"columns='y' must be Columns\("),
    "a class": (lambda: fit(HiPerformer), "must be an instance of a model"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_nonsense_is_named(case):
    call, message = WRONG[case]
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_batch_holds_no_more_windows_than_there_are():
    model = HiPerformer(16, 1, 2, patch=4)
    own = forecaster(model, batch_size=10**6, max_steps=2).fit(long())
    assert len(own.predict(long())) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--set", "width=sixty"], "--set width=sixty: width must be a whole number"),
        (["--set", "width=64.5"], "--set width=64.5: width must be a whole number"),
        (["--set", "depth=0"], "--set depth=0 must be a whole number of at least 1"),
        (["--set", "depth=true"], "--set depth=true: depth must be a whole number"),
        (["--set", "dropout=much"], "--set dropout='much' must be a number"),
        (["--set", "head=lowrnk"], "--set head='lowrnk' is not one of"),
        (["--set", "head={}"], "head={} is not one of"),
        (["--set", "girth=3"], "KEY=VALUE with KEY of width"),
        (
            ["--group", "y"],
            "column 'y' has two roles, 'target' and 'group': give each column one role,",
        ),
        (["--steps", 0], "--steps=0 must be a whole number of at least 1"),
        (["--batch-size", -1], "--batch-size=-1 must be"),
        (["--learning-rate", "nan"], "--learning-rate=nan must be a number above 0"),
        (["--seed", -1], "--seed=-1 must be a whole number"),
        (["--context", 0], "--context=0 must be a whole number"),
        (["--model", "seasonal-naive", "--set", "season=week"], "--set season='week' must be"),
        (["--model", "seasonal-naive"], "how many steps a season has: --set season=7"),
    ],
)
def test_commands_name_their_option(settings, message, tmp_path):
    long().to_csv(tmp_path / "t.csv", index=False)
    command = ["fit", tmp_path / "t.csv", tmp_path / "m", "--context", 8, "--horizon", 3]
    assert message in complaint(*command, *settings)


def test_other_commands_name_their_option(tmp_path):
    table, folder = tmp_path / "t.csv", tmp_path / "m"
    long().to_csv(table, index=False)
    call("fit", table, folder, "--context", 8, "--horizon", 3, "--model", "last-value")
    at_least = "must be a whole number of at least 1"
    assert f"--samples=0 {at_least}" in complaint("predict", table, folder, "--samples", 0)
    assert "--level=0.9 is 0.9 percent" in complaint("predict", table, folder, "--level", 0.9)
    assert "comes last" in complaint("predict", folder, table)
    shown = complaint("predict", table, folder, "--known", table)
    assert shown.endswith("name its columns with --known and fit again, or leave it out")
    assert "max_scenes='many'" in call("download", "nba", "--set", "max_scenes=many", code=2).stderr
    assert "rate='fast'" in call("download", "soccer", "--set", "rate=fast", code=2).stderr
    assert "--how=median" in complaint(
        "resample", table, tmp_path / "o.csv", "--freq", 3, "--how", "median"
    )


@pytest.mark.parametrize(
    ("step", "season"),
    [
        ("int/1/0/0", None),
        ("ns/3600000000000/0/0", 24),
        ("ns/1800000000000/0/0", 48),
        ("ns/86400000000000/0/1", 7),
        ("ns/604800000000000/0/0", 52),
        ("ns/1209600000000000/0/0", 26),
        ("ns/172800000000000/0/0", None),
        ("ns/25200000000000/0/0", None),
        ("B/1/0/0", 5),
        ("M/1/1/0", 12),
        ("M/3/31/0", 4),
        ("M/12/1/0", 1),
        ("M/5/1/0", None),
    ],
)
def test_seasons_of_steps(step, season):
    assert season_of(step) == season


@pytest.mark.parametrize(
    ("freq", "season"), [("D", 7), ("h", 24), ("MS", 12), ("QE", 4), ("B", 5), ("W-SUN", 52)]
)
def test_a_seasonal_forecast_repeats_the_season_of_the_dates(freq, season, tmp_path):
    frame = long(pd.date_range("2020-01-01", periods=4 * season + 20, freq=freq))
    frame["y"] = np.arange(len(frame)) % season * 1.0
    own = forecaster(SeasonalNaive(), context_length=season).fit(frame)
    own.save(tmp_path / "m")
    for each in (own, Forecaster.load(tmp_path / "m")):
        expected = [(len(frame) + k) % season for k in range(3)]
        assert each.predict(frame).SeasonalNaive.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_season_that_cannot_be_found_or_held():
    with pytest.raises(DataError, match=r"say how many steps.*SeasonalNaive\(season=7\)"):
        forecaster(SeasonalNaive()).fit(long())
    days = long(pd.date_range("2024-01-01", periods=60))
    with pytest.raises(DataError, match="season=7 must be between 1 and context_length=6"):
        forecaster(SeasonalNaive(), context_length=6).fit(days)
    assert forecaster(SeasonalNaive(season=3)).fit(long()).model_.lag == 3
