"""The user's numbers stay the user's: any level, the truth bit for bit, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from hierforecast import Columns, ConstantVelocity, Forecaster, LastValue, Ridge, SeasonalNaive
from hierforecast.cli import app
from hierforecast.errors import DataError
from hierforecast.frame import read_frame
from hierforecast.models.baselines import Baseline
from tests.frames import LIBRARIES, mended, pa, to_pandas
from tests.helpers import OLD
from tests.walks import (
    KEYS,
    ONE,
    TWO,
    forecaster,
    lifted,
    net,
    numbers,
    pytestmark,  # noqa: F401
    walks,
)

CASES: dict[str, tuple[Any, Columns, dict[str, float]]] = {
    "last value": (LastValue(), ONE, {"y": 1e12}),
    "ridge": (Ridge(), ONE, {"y": 1e8}),
    "seasonal naive": (SeasonalNaive(2), ONE, {"y": -3.7e6}),
    "constant velocity": (ConstantVelocity(), TWO, {"y": 5.3e6, "x": -1e10}),
    "network by series": (net(), ONE, {"y": 1e8}),
    "network by series, two": (net(scale="series", head="student"), TWO, {"y": 1e3, "x": 1e11}),
    "network of coordinates": (net(), TWO, {"y": 5.3e6, "x": 4.5e5}),
    "network, mirrored": (net(scale="mirrored", head="mixture"), TWO, {"y": 1e9, "x": 0.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_level_costs_nothing(case):
    model, columns, by = CASES[case]
    low, high = lifted(walks(), **by)
    one, two = (forecaster(model, columns).fit(frame) for frame in (low, high))
    name, targets = type(model).__name__, columns.targets
    offset = np.array([by[target] for target in targets])[:, None]
    calls: dict[str, Callable[[Forecaster, pd.DataFrame], pd.DataFrame]] = {
        "predict": lambda f, frame: f.predict(frame, level=[80]),
        "sample": lambda f, frame: f.sample(frame, 3),
        "backtest": lambda f, frame: f.backtest(frame, level=[80]),
    }
    for call in calls.values():
        plain, found = call(one, low), call(two, high)
        gap = np.abs(numbers(found, name, targets) - offset - numbers(plain, name, targets))
        assert (gap <= 1e-12 + 2 * np.spacing(np.abs(offset))).all()
    metrics = ["mae", "rmse", "crps", "nll_per_coordinate", "coverage"]
    scores = [f.evaluate(frame, metrics) for f, frame in ((one, low), (two, high))]
    np.testing.assert_allclose(*(s.value.to_numpy() for s in scores), rtol=1e-3, atol=1e-6)
    found, index = two.distribution(high)
    assert found.mean.dtype == torch.float64
    first = two.predict(high).groupby("unique_id").head(1)
    assert index.unique_id.tolist() == first.unique_id.tolist()
    point = numbers(first, name, targets)[..., 0]
    np.testing.assert_allclose(found.mean[:, 0], point, rtol=1e-14, atol=1e-6)
    plain = one.distribution(low)[0]
    move = torch.tensor(offset[:, 0])
    gap = found.log_prob(found.mean + 0.5) - plain.log_prob(found.mean - move + 0.5)
    assert gap.abs().max() < 1e-2


def test_tiny_moves_at_a_high_level():
    """1e6 plus or minus 1e-3: the interval is that of the moves, and the error too."""
    rng = np.random.default_rng(0)
    frame = walks("ab", 60)[KEYS].assign(y=1e6 + 1e-3 * rng.normal(size=120))
    fitted = forecaster(Ridge()).fit(frame)
    found = fitted.predict(frame, level=[80])
    half = (found["Ridge-hi-80"] - found["Ridge-lo-80"]) / 2
    assert half.between(0.7e-3, 2.5e-3).all()
    mae = fitted.evaluate(frame, ["mae"]).value[0]
    backtest = fitted.backtest(frame)
    assert mae == pytest.approx((backtest.Ridge - backtest.y).abs().mean(), rel=1e-12)
    assert 0.5e-3 < mae < 1.5e-3


def test_series_at_levels_far_apart_share_a_space():
    """Coordinates: what lies at 1e8 moves as precisely as what lies at 0, and both are finite."""
    frame = walks("ab")
    frame["y"] += np.where(frame.unique_id == "a", 1e8, 0.0)
    frame = frame.assign(x=frame.y + 1)
    last = frame.dropna().groupby("unique_id").last()
    found = forecaster(LastValue(), TWO).fit(frame).predict(frame).groupby("unique_id").first()
    assert (found.LastValue_y == last.y).all() and (found.LastValue_x == last.x).all()
    found = forecaster(ConstantVelocity(), TWO).fit(frame).predict(frame)
    two = frame.dropna().groupby("unique_id").tail(2).groupby("unique_id").y
    move = (two.last() - two.first()) / frame.dropna().groupby("unique_id").ds.agg(
        lambda ds: ds.iloc[-1] - ds.iloc[-2]
    )
    first = found.groupby("unique_id").first().ConstantVelocity_y
    np.testing.assert_allclose(first - last.y, move, rtol=1e-6)
    assert np.isfinite(forecaster(net(), TWO).fit(frame).predict(frame).HiPerformer_y).all()


# --- the truth -----------------------------------------------------------------------------------

TRUTHS: dict[str, Callable[[np.random.Generator], Any]] = {
    "float64": lambda rng: rng.normal(size=80) * 10.0 ** rng.integers(-9, 9, 80),
    "float32": lambda rng: (1e4 * rng.normal(size=80)).astype("float32"),
    "float16": lambda rng: rng.normal(size=80).astype("float16"),
    "int64": lambda rng: 16_777_217 + 2 * rng.integers(0, 9, 80),
    "int64 up to 2**53": lambda rng: 2**53 - rng.integers(0, 1000, 80),
    "uint8": lambda rng: rng.integers(0, 256, 80).astype("uint8"),
    "bool": lambda rng: rng.random(80) < 0.5,
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", TRUTHS)
def test_the_truth_comes_back_bit_for_bit(kind, library):
    if (kind, library) == ("float16", "polars"):
        pytest.skip("polars reads float16 as float32")
    if kind == "float16" and OLD:
        pytest.skip("the oldest narwhals knows no float16: an error says so")
    values = TRUTHS[kind](np.random.default_rng(0))
    frame = walks("ab", 40)[KEYS].assign(y=values)
    given = LIBRARIES[library](frame)
    found = forecaster().fit(given).backtest(given, stride=1)
    found = to_pandas(found)
    both = found.merge(frame, on=KEYS, validate="many_to_one")
    assert len(both) == len(found) > 100
    wanted = both.y_y.astype("float64")
    assert (both.y_x == wanted).all() and both.y_x.dtype == "float64"
    assert found.LastValue.isin(frame.y.astype("float64")).all()


def test_whole_numbers_with_gaps_and_decimals_come_back():
    frame = walks("ab", 40)[KEYS]
    whole = frame.assign(y=pd.array([None, *range(2**40, 2**40 + 79)], dtype="Int64"))
    money = pa.array([Decimal(k) / 100 for k in range(80)], pa.decimal128(12, 2))
    exact = LIBRARIES["pyarrow"](frame).append_column("y", money)
    assert forecaster().fit(whole).backtest(whole).y.iloc[-1] == 2**40 + 78
    assert forecaster().fit(exact).backtest(exact)["y"][-1].as_py() == 0.79


def test_from_file_to_file(tmp_path):
    """The command line reads and writes every digit; what cannot be held is one line."""
    frame = walks("ab", 40)[KEYS].assign(y=16_777_217 + np.arange(80) % 5)
    frame.to_csv(tmp_path / "data.csv", index=False)
    sizes = ["--context", "8", "--horizon", "3", "--model", "last-value"]

    def call(*words: Any, code: int = 0) -> Any:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result

    call("fit", tmp_path / "data.csv", tmp_path / "model", *sizes)
    call("predict", tmp_path / "data.csv", tmp_path / "model", "--out", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert found.LastValue.tolist() == [16_777_221.0] * 6
    call("evaluate", tmp_path / "data.csv", tmp_path / "model", "--out", tmp_path / "scores.csv")
    scores = pd.read_csv(tmp_path / "scores.csv").set_index("metric")
    backtest = forecaster().fit(frame).backtest(frame)
    assert scores.value["mae"] == pytest.approx((backtest.LastValue - backtest.y).abs().mean())
    frame.assign(y=1e39).to_csv(tmp_path / "wild.csv", index=False)
    failed = call("fit", tmp_path / "wild.csv", tmp_path / "wild", *sizes, code=2)
    assert "column 'y'" in failed.stderr and "infinite values" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


# --- what is refused -----------------------------------------------------------------------------

REFUSED: dict[str, tuple[pd.Series, str]] = {
    "beyond float32": (pd.Series([2e38] + [1.0] * 47), r"1 infinite values \(or beyond"),
    "infinite": (pd.Series([-np.inf] + [1.0] * 47), r"1 infinite values .* unique_id 'a', ds 0"),
    "rounded": (pd.Series([2**53 + 1] + [1] * 47), r"whole numbers beyond 2\*\*53"),
    "unsigned": (pd.Series([2**64 - 1] + [1] * 47, dtype="uint64"), r"beyond 2\*\*53"),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", REFUSED)
def test_numbers_that_cannot_be_held_name_their_column(case, library):
    values, message = REFUSED[case]
    frame = LIBRARIES[library](walks("a", 48)[KEYS].assign(y=values))
    message = f"column 'y' .*{message}"
    frame = mended(message, lambda: forecaster().fit(frame), frame=frame)["frame"]
    assert (to_pandas(forecaster().fit(frame).predict(frame)).LastValue == 1.0).all()


@pytest.mark.parametrize("values", [[10**30, 5], [Decimal("1.5"), Decimal(2)]])
def test_numbers_stored_as_objects_have_a_remedy_that_works(values):
    frame = walks("a", 48)[KEYS].assign(y=pd.Series(values * 24, dtype=object))
    message = r"column .y. .*not numeric"
    frame = mended(message, lambda: forecaster().fit(frame), frame=frame)["frame"]
    found = forecaster().fit(frame).predict(frame)
    assert (found.LastValue == float(values[1])).all()


def test_numbers_of_another_order_than_in_training():
    columns = replace(ONE, past_covariates=["x"])
    frame = walks()
    fitted = forecaster(LastValue(), columns).fit(frame)
    for name in ("y", "x"):
        with pytest.raises(DataError, match=f"column '{name}' of the frame goes to 1e\\+30, but"):
            fitted.predict(frame.assign(**{name: 1e30}))
    assert np.isfinite(fitted.predict(frame.assign(y=1e9, x=-1e9)).LastValue).all()


class Plain(Baseline):
    """A model of the user's that names no origin: it is given the numbers as they are."""

    origin = None  # type: ignore[assignment]

    def point(self, scaled: Any, batch: Any) -> torch.Tensor:
        assert batch.values.abs().max() > 1e5 and batch.level.abs().max() == 0
        return scaled.relative[:, -1:].expand(-1, self.horizon, -1)


def test_a_model_that_names_no_origin_sees_the_numbers_as_they_are():
    _, high = lifted(walks().assign(x=0.0), y=2.0**20)
    fitted = forecaster(Plain()).fit(high)
    last = high.dropna().groupby("unique_id").y.last().astype("float32")
    assert (fitted.predict(high).groupby("unique_id").Plain.first() - last).abs().max() < 0.2
    backtest = fitted.backtest(high).merge(high, on=KEYS)
    assert ((backtest.y_x == backtest.y_y) | backtest.y_y.isna()).all()
    with pytest.raises(DataError, match=r"column .y. goes to 1e\+20, .* divide the column"):
        forecaster(Plain()).fit(high.assign(y=1e20))


# --- covariates ----------------------------------------------------------------------------------


def test_covariates_at_a_level_cost_nothing():
    """Unix times, metres of a projection: known, past and static."""
    columns = replace(ONE, past_covariates=["x"], known_covariates=["when"], static=["place"])
    frame = walks().assign(when=lambda f: 60.0 * f.ds)
    frame["place"] = frame.unique_id.map({"a": 1.0, "b": 2.5, "c": -4.0})
    low, high = lifted(frame, when=1.7e9, place=5.3e6, x=1e10)
    found = []
    for data in (low, high):
        fitted = forecaster(net(), columns).fit(data)
        history, ahead = data[data.ds < 45], data[data.ds >= 45]
        found.append(fitted.predict(history, level=[80], known=ahead))
    pd.testing.assert_frame_equal(*found, check_exact=True)
    moved = high.assign(when=high.when + 600)
    other = fitted.predict(moved[moved.ds < 45], level=[80], known=moved[moved.ds >= 45])
    assert (other.HiPerformer - found[1].HiPerformer).abs().max() > 1e-6, (
        "the model does not use it"
    )


def test_static_numbers_may_be_rounded_twice_in_any_order():
    columns = replace(ONE, static=["place"])
    frame = walks().assign(place=0.3)
    frame.loc[::2, "place"] = 0.1 + 0.2
    one, two = (read_frame(f, columns).static for f in (frame, frame[::-1]))
    assert (one == 0.3).all() and (two == 0.3).all()
