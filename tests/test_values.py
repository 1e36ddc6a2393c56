"""The user's numbers stay the user's: any level, any size, and the truth bit for bit."""

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

from hierforecast import (
    Columns,
    ConstantVelocity,
    Forecaster,
    HiPerformer,
    LastValue,
    Ridge,
    SeasonalNaive,
)
from hierforecast.cli import app
from hierforecast.errors import DataError, SeriesDroppedWarning
from hierforecast.frame import Vocabulary, read_frame
from hierforecast.frame.vocabulary import Units
from hierforecast.models.baselines import Baseline
from hierforecast.windows import WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of
from tests.frames import LIBRARIES, mended, pa, to_pandas
from tests.helpers import DOUBLE, EVERYTHING, OLD, QUIET, H, L, make_frame

ONE, TWO = Columns(group=None), Columns(target=["y", "x"], group=None)

pytestmark = pytest.mark.usefixtures("networks")

KEYS = ["unique_id", "ds"]


def net(**options: Any) -> HiPerformer:
    return HiPerformer(16, 1, 2, patch=4, dropout=0.0, **options)


def forecaster(model: Any = None, columns: Columns = ONE, **options: Any) -> Forecaster:
    given = {"max_steps": 4, "batch_size": 8, "trainer": QUIET, **options}
    model = LastValue() if model is None else model
    return Forecaster(model, context_length=8, prediction_length=3, columns=columns, **given)


def walks(ids: str = "abc", steps: int = 48, seed: int = 0) -> pd.DataFrame:
    """Random walks `y` and `x`, some of their cells missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"unique_id": np.repeat(list(ids), steps), "ds": np.tile(np.arange(steps), len(ids))}
    )
    for name in ("y", "x"):
        frame[name] = rng.normal(size=(len(ids), steps)).cumsum(1).reshape(-1)
    gone = (rng.random(len(frame)) < 0.1) & (frame.ds < steps - 1)
    return frame.assign(y=frame.y.mask(gone), x=frame.x.mask(gone))


def lifted(frame: pd.DataFrame, **by: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame with its columns lifted, and what is left of it once they are let down again."""
    high = frame.assign(**{name: frame[name] + offset for name, offset in by.items()})
    low = high.assign(**{name: high[name] - offset for name, offset in by.items()})
    return low, high


def numbers(frame: pd.DataFrame, name: str, targets: tuple[str, ...] = ("y",)) -> np.ndarray:
    """Forecasts (rows, targets, columns): point and bounds of each target."""
    stems = [name] if len(targets) == 1 else [f"{name}_{target}" for target in targets]
    return np.stack([frame[[c for c in frame if c.startswith(s)]].to_numpy() for s in stems], 1)


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


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["series", "coordinates", "mirrored", "returns"])
@pytest.mark.parametrize("factor", [2.0**66, 2.0**120, 2.0**-66, 2.0**-1000])
def test_a_size_costs_nothing(scale, factor):
    """1e20, 1e36, 1e-20, 1e-300: the forecast is that of the plain numbers, times as much."""
    frame = walks()
    for model in (Ridge(scale=scale), net(scale=scale))[: 1 if abs(np.log2(factor)) > 70 else 2]:
        name, large = type(model).__name__, frame.assign(y=frame.y * factor)
        one, two = (forecaster(model).fit(f) for f in (frame, large))
        plain, found = one.predict(frame, level=[80]), two.predict(large, level=[80])
        np.testing.assert_allclose(
            numbers(found, name) / factor, numbers(plain, name), rtol=1e-5, atol=1e-5
        )
        nll = [f.evaluate(d, ["nll"]).value[0] for f, d in ((one, frame), (two, large))]
        assert np.isfinite(nll).all()


@pytest.mark.parametrize("model", [LastValue(), Ridge(), net()], ids=["last", "ridge", "network"])
def test_an_idle_series_takes_the_usual_size(model):
    wave = 2e-6 + 1e-6 * np.sin(np.arange(80))
    frame = pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": np.arange(80), "y": y})
            for name, y in {"wave": wave, "zero": 0.0, "const": 3e-6, "noise": 0.3}.items()
        ]
    )
    # A rounding in the last digit is no size either.
    noisy = (frame.unique_id == "noise") & (frame.ds % 2 == 1)
    frame.loc[noisy, "y"] = 0.1 + 0.2
    lonely = pd.DataFrame({"unique_id": "one cell", "ds": [79], "y": 5e-6})
    fitted = forecaster(model).fit(frame)
    found = fitted.predict(pd.concat([frame, lonely]), level=[80]).set_index("unique_id")
    name = type(model).__name__
    half = (found[f"{name}-hi-80"] - found[f"{name}-lo-80"]) / 2
    usual = half["zero"].iloc[0]
    assert 1e-10 < usual < 3e-6
    for other in ("const", "noise"):
        np.testing.assert_allclose(half[other], half["zero"], rtol=1e-5)
    assert half["one cell"].between(1e-10, 1e-5).all()
    assert (np.abs(found.loc["one cell", name] - 5e-6) < 1e-5).all()


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("scale", ["series", "coordinates", "returns"])
def test_mixtures_are_finite(scale, gaps):
    """Series of 1e-9 and of 1e9, targets 1e12 apart, one that never moves, one wild cell."""
    frame = walks("abcd")
    size = frame.unique_id.map({"a": 1e-9, "b": 1e-9, "c": 1.0, "d": 1e9})
    frame = frame.assign(y=frame.y * size, x=frame.x * 1e12, z=5.0 + 0 * frame.y)
    frame.loc[30, "x"] = 1e37
    frame.loc[np.random.default_rng(0).random(len(frame)) < gaps, ["y", "x", "z"]] = np.nan
    columns = Columns(target=["y", "x", "z"], group=None)
    for model in (Ridge(scale=scale), net(scale=scale)):
        fitted = forecaster(model, columns).fit(frame)
        found = numbers(fitted.predict(frame, level=[80]), type(model).__name__, columns.targets)
        assert np.isfinite(found).all()
        assert np.isfinite(fitted.evaluate(frame, ["mae", "nll", "crps"]).value).all()
        if scale == "series":
            rows = fitted.predict(frame, level=[80]).unique_id
            width = found[:, 0, 2] - found[:, 0, 1]
            assert (width[rows == "a"] < 1e-6).all() and (width[rows == "d"] > 1e6).all()


def test_nothing_ever_moved():
    """Then the unit is a hundredth of the level, about."""
    frame = walks("ab", 40)[KEYS].assign(y=3e8)
    found = forecaster().fit(frame).predict(frame, level=[80])
    assert (found.LastValue == 3e8).all()
    assert (found["LastValue-hi-80"] - 3e8).between(1e5, 1e7).all()


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


# --- windows and promises ------------------------------------------------------------------------


def panel_of(frame: pd.DataFrame) -> Any:
    panel = read_frame(frame, EVERYTHING, dtype=np.float64)
    panel.vocabulary = panel.learn(panel.length)
    return panel


@pytest.mark.parametrize("origin", ["row", "zero", None])
def test_windows_lead_back_to_the_numbers(origin):
    frame = make_frame(missing=0.4)
    panel = panel_of(frame.assign(x=frame.x + 2**30, pulse=1e5 * frame.pulse))
    windows = WindowDataset(panel, cutoffs_of(panel, L, H), L, H, origin=origin)
    batch, future = windows.__getitems__(list(range(0, len(windows), 7)))
    start = panel.cell_offset[future.rows] + future.cutoff.numpy() - L
    cells = start[:, None] + np.arange(L + H)
    values = torch.cat([batch.values, future.values], 1).numpy()
    seen = torch.cat([batch.present, future.present], 1).numpy()
    back = future.offset + future.unit * values
    np.testing.assert_array_equal(back[seen], panel.values[cells][seen])
    assert (values[~seen] == 0).all()
    middle = np.array([u.offset for u in panel.vocabulary.targets])
    assert middle[0] > 2**30 and (np.log2(windows.unit) % 1 == 0).all()
    if origin == "row":
        last = [row[shown][-1] for row, shown in zip(values[:, :L], seen[:, :L], strict=True)]
        assert (np.array(last) == 0).all() and (np.abs(batch.level.numpy()) < 1).all()
        level = (future.offset - middle) / future.unit
        np.testing.assert_array_equal(batch.level, level)
    else:
        assert (np.asarray(future.offset) == 0).all() and (batch.level == 0).all()
    pulse = batch.past[..., 0][batch.present]
    assert (pulse.abs().max() <= 1) == (origin is not None)


@pytest.mark.parametrize("origin", ["row", "zero"])
def test_hidden_cells_change_nothing(origin):
    """An offset is a visible cell, and garbage in missing cells stays where it is."""
    panel = panel_of(make_frame(missing=0.4))
    junk = replace(panel, values=panel.values.copy())
    junk.values[~panel.present] = np.resize([np.nan, np.inf, 1e300], (~panel.present).sum())[
        :, None
    ]

    def hide(present: np.ndarray, window: np.ndarray, generator: object) -> np.ndarray:
        return present & (np.arange(L) < L - 3)

    cutoffs = cutoffs_of(panel, L, H)
    spoilt = replace(junk, values=junk.values.copy())
    one, two = (WindowDataset(p, cutoffs, L, H, hide, origin)[3] for p in (panel, junk))
    for name in ("values", "level"):
        assert torch.equal(getattr(one.batch, name), getattr(two.batch, name))
    assert torch.equal(one.future.values, two.future.values)
    late = np.zeros(len(panel.present), dtype=bool)
    late[(panel.cell_offset[one.future.rows] + one.future.cutoff.numpy() - 1)] = True
    spoilt.values[late] = 1e9  # the last context step is hidden
    three = WindowDataset(spoilt, cutoffs, L, H, hide, origin)[3]
    assert torch.equal(one.batch.values, three.batch.values)


@pytest.mark.parametrize("model", [net(), net(scale="series"), net(scale="mirrored")])
def test_missing_is_deleted_and_names_are_nothing_at_a_level(model):
    """In float64, at a level of 1e6, to the last digits of the level."""
    _, high = lifted(walks("abcd"), y=1e6, x=-1e6)
    fitted = forecaster(model, TWO, trainer=DOUBLE, series_dropout=0.2).fit(high)
    before = fitted.predict(high, level=[80]).set_index(KEYS)
    with pytest.warns(SeriesDroppedWarning, match="unique_id .b."):
        gone = fitted.predict(high.assign(y=high.y.mask(high.unique_id == "b")), level=[80])
    never = fitted.predict(high[high.unique_id != "b"], level=[80])
    pd.testing.assert_frame_equal(gone, never, check_exact=True)
    names = {"a": "z", "c": "a", "d": "c"}
    turned = fitted.predict(high.assign(unique_id=high.unique_id.replace(names)), level=[80])
    back = {new: old for old, new in names.items()}
    turned = turned.assign(unique_id=turned.unique_id.replace(back)).set_index(KEYS)
    gap = (turned.loc[before.index] - before).abs().max().max()
    assert gap <= 4 * np.spacing(1e6)


def test_saving_keeps_offsets_and_units(tmp_path):
    _, high = lifted(walks(), y=1e8 / 3, x=0.1)
    fitted = forecaster(net(), replace(ONE, past_covariates=["x"])).fit(high)
    fitted.save(tmp_path / "f")
    loaded = Forecaster.load(tmp_path / "f")
    assert loaded.vocabulary_ == fitted.vocabulary_
    assert loaded.vocabulary_.targets[0].offset in set(high.y)
    pd.testing.assert_frame_equal(
        loaded.predict(high, [80]), fitted.predict(high, [80]), check_exact=True
    )


def test_a_vocabulary_of_an_older_version_has_no_units():
    old = {"covariates": [{"name": "k", "role": "past", "categories": None}], "types": []}
    vocabulary = Vocabulary.from_dict(old)
    assert vocabulary.targets == () and vocabulary.covariates[0].units == Units(0.0, 1.0)
    panel = read_frame(walks(), ONE, vocabulary=vocabulary)
    windows = WindowDataset(panel, cutoffs_of(panel, 8, 3), 8, 3, origin="row")
    assert windows.unit.tolist() == [1.0] and windows.middle.tolist() == [0.0]


def test_units_come_from_the_steps_that_are_trained_on():
    panel = read_frame(walks("ab", 40), replace(ONE, past_covariates=["x"]))
    later = replace(panel, values=panel.values.copy(), past=panel.past.copy())
    late = np.arange(len(panel.present)) % 40 >= 30
    later.values[late], later.past[late] = 1e9, 1e9
    end = np.array([30])
    assert panel.learn(end) == later.learn(end)
    assert panel.learn(end) != later.learn(np.array([40]))


@pytest.mark.parametrize(
    ("numbers", "units"),
    [
        ([], Units(0.0, 1.0)),
        ([0.0, 0.0], Units(0.0, 1.0)),
        ([4.0, 1.0, 2.0, 3.0], Units(2.0, 4.0)),
        ([-7.0], Units(-7.0, 8.0)),
        ([1e8, 1e8 + 1, 1e8 - 1], Units(1e8, 2.0)),
    ],
)
def test_units_by_hand(numbers, units):
    assert Units.of(np.array(numbers)) == units
