"""Split conformal intervals: the right rank, enough coverage, and clear refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch.distributions import Normal
from typer.testing import CliRunner

from hierforecast import Columns, Forecaster, LastValue
from hierforecast.batch import Future, SceneBatch
from hierforecast.cli import app
from hierforecast.distributions import IndependentScenes, SceneDistribution
from hierforecast.errors import DataError
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.inference.conformal import Conformal
from hierforecast.models import Model
from tests.helpers import COLUMNS, make_frame, tiny

SPACE = Columns(target="y", group=None, scene="scene")
STEPS = 3


class TooSure(Model):
    """Forecasts zero, a fifth as wide as it should be."""

    def build(self, task: Any) -> None:
        self.width = torch.nn.Parameter(torch.tensor(0.02))

    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        pass

    def forward(self, batch: SceneBatch) -> SceneDistribution:
        assert self.task is not None
        loc = batch.values.new_zeros(len(batch.values), self.task.prediction_length, 1)
        scale = self.width.abs().expand_as(loc)
        return IndependentScenes(Normal(loc, scale), batch.scene, batch.n_scenes)

    def loss(self, batch: SceneBatch, future: Future) -> torch.Tensor:
        return 0 * self.width.sum()

    @property
    def origin(self) -> Any:
        return "zero"


def scenes(count: int, seed: int, names: str = "a") -> pd.DataFrame:
    """Independent scenes of two series, whose values are wider the further they are ahead."""
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [range(count), [f"{names}0", f"{names}1"], range(4 + STEPS)],
        names=["scene", "unique_id", "ds"],
    )
    frame = index.to_frame(index=False)
    ahead = (frame["ds"] - 3).clip(lower=1)
    return frame.assign(y=rng.standard_t(4, len(frame)) * ahead)


@pytest.fixture(scope="module")
def sure() -> Forecaster:
    options = {"max_steps": 1, "trainer": {"enable_progress_bar": False}}
    lengths = {"context_length": 4, "prediction_length": STEPS}
    return Forecaster(TooSure(), columns=SPACE, **lengths, **options).fit(scenes(20, 0))


def covered(forecaster: Forecaster, seed: int, held_out: pd.DataFrame | None, level: int) -> float:
    """The share of new numbers in their intervals."""
    new = scenes(60, 1_000 + seed)
    found = forecaster.predict(new[new.ds < 4], level=[level], conformal=held_out)
    both = found.merge(new, on=["scene", "unique_id", "ds"])
    inside = both.y.between(both[f"TooSure-lo-{level}"], both[f"TooSure-hi-{level}"])
    return float(inside.mean())


@pytest.mark.parametrize("level", [50, 80, 90])
def test_new_scenes_are_covered_on_average(sure: Forecaster, level: int):
    """At least the level, and at most one part in n + 1 above it; without, hardly at all."""
    shares = [covered(sure, seed, scenes(15, seed), level) for seed in range(40)]
    error = np.std(shares) / len(shares) ** 0.5
    assert level / 100 - 3 * error <= np.mean(shares) <= level / 100 + 1 / 31 + 3 * error
    assert covered(sure, 0, None, level) < level / 100 - 0.2


def test_bounds_are_those_of_the_sorted_errors(sure: Forecaster):
    held_out, new = scenes(13, 5), scenes(2, 6)
    found = sure.predict(new[new.ds < 4], level=[80], conformal=held_out)
    for step in range(STEPS):
        errors = np.sort(held_out[held_out.ds == 4 + step].y.abs())
        rank = int(np.ceil((len(errors) + 1) * 0.8))
        at = found[found.ds == 4 + step]
        np.testing.assert_allclose(at["TooSure-hi-80"], errors[rank - 1], rtol=1e-6)
        np.testing.assert_allclose(at["TooSure-lo-80"], -errors[rank - 1], rtol=1e-6)


def test_types_have_their_own_widths_and_names_do_not_matter():
    frame = make_frame(seed=3, missing=0.1)
    forecaster = tiny(LastValue(), columns=COLUMNS).fit(frame)
    wilder = frame.copy()
    wilder.loc[wilder.kind == "ball", ["x", "y"]] *= 10
    one, two = (forecaster.predict(frame, level=[50], conformal=x) for x in (frame, wilder))
    change = two["LastValue_x-hi-50"] - one["LastValue_x-hi-50"]
    ball = one.unique_id.str.contains("ball")
    assert (change[ball] > 0).all() and (change[~ball] == 0).all()
    names = {name: f"z{i}" for i, name in enumerate(sorted(frame.unique_id.unique(), reverse=True))}
    other = frame.assign(unique_id=frame.unique_id.map(names))
    three = forecaster.predict(frame, level=[50], conformal=other)
    pd.testing.assert_frame_equal(one, three)


def test_gaps_count_for_nothing(sure: Forecaster):
    held_out, new = scenes(20, 7), scenes(1, 8)
    holes = held_out.assign(y=held_out.y.where(~((held_out.ds == 5) & (held_out.scene < 5))))
    found = sure.predict(new[new.ds < 4], level=[50], conformal=holes)
    whole = sure.predict(new[new.ds < 4], level=[50], conformal=held_out)
    same = found["TooSure-hi-50"] == whole["TooSure-hi-50"]
    assert (same == (found.ds != 5)).all()


def test_polars_in_polars_out(sure: Forecaster):
    held_out, new = scenes(20, 7), scenes(3, 8)
    frames = [new[new.ds < 4], held_out]
    expected = sure.predict(frames[0], level=[80], conformal=frames[1])
    found = sure.predict(pl.from_pandas(frames[0]), level=[80], conformal=pl.from_pandas(frames[1]))
    assert isinstance(found, pl.DataFrame)
    np.testing.assert_array_equal(found["TooSure-hi-80"], expected["TooSure-hi-80"])


def test_what_cannot_be_is_refused(sure: Forecaster):
    new, few = scenes(1, 8), scenes(4, 9)
    history = new[new.ds < 4]
    with pytest.raises(DataError, match=r"90 % needs 9 held-out numbers of each step, there are 8"):
        sure.predict(history, level=[90], conformal=few)
    sure.predict(history, level=[85], conformal=few)
    plan = new[new.ds == 4]
    for odd in ({"level": None}, {"level": [50], "by": ()}, {"level": [50], "given": plan}):
        with pytest.raises(DataError, match="give level=, and leave given= and by= out"):
            sure.predict(history, conformal=few, **odd)


def test_a_rank_that_is_one_too_low_is_caught(sure: Forecaster):
    """The broken twin: the plain quantile of n errors, which covers too little when n is small."""

    class Plain(Conformal):
        def _factor(self, percent: float) -> torch.Tensor:
            return self.scores[..., int(np.ceil(self.scores.shape[-1] * percent / 100)) - 2]

    def share(kind: type[Conformal], seed: int) -> float:
        right = Conformal.of(forecasts_of(sure, scenes(5, seed), Rolling()))
        forecasts = forecasts_of(sure, scenes(60, 2_000 + seed), Rolling())
        forecasts = replace(forecasts, interval=kind(right.scores, right.types))
        frame = forecasts.to_frame([80], truth=True)
        return float(frame.y.between(frame["TooSure-lo-80"], frame["TooSure-hi-80"]).mean())

    assert np.mean([share(Conformal, seed) for seed in range(40)]) >= 0.79
    assert np.mean([share(Plain, seed) for seed in range(40)]) < 0.75


def test_from_the_command_line(tmp_path):
    frame = make_frame(seed=3, missing=0.0)
    forecaster = tiny(LastValue(), columns=COLUMNS).fit(frame)
    forecaster.save(tmp_path / "model")
    frame.to_csv(tmp_path / "held_out.csv", index=False)
    history = frame[frame.ds < 20]
    history.to_csv(tmp_path / "history.csv", index=False)
    out = tmp_path / "out.csv"
    held_out = str(tmp_path / "held_out.csv")
    paths = [str(tmp_path / "history.csv"), str(tmp_path / "model")]
    options = ["--level", "50", "--conformal", held_out, "--out", str(out)]
    answer = CliRunner().invoke(app, ["predict", *paths, *options])
    assert answer.exit_code == 0, answer.output
    expected = forecaster.predict(history, level=[50], conformal=frame)
    found = pd.read_csv(out)
    np.testing.assert_allclose(found["LastValue_x-hi-50"], expected["LastValue_x-hi-50"])
