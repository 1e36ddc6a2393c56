"""The ladder: what answers after a fit is never further off than what it started from."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Forecaster, HiPerformer, Ridge
from hierforecast._random import seeded
from hierforecast.datasets import simulate_basketball
from hierforecast.models import Model
from hierforecast.training import loop
from hierforecast.windows import WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of
from hierforecast.windows.history import settled
from tests.helpers import COLUMNS as COURT
from tests.helpers import QUIET, make_frame, tiny
from tests.training.rungs import Perceptron, take

L, H = 14, 4


def series(kind: str, n: int = 12, steps: int = 80, seed: int = 0) -> pd.DataFrame:
    """Days of independent series: noise, random walks, a week that repeats."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, steps))
    if kind == "walk":
        y = y.cumsum(1)
    if kind == "season":
        y = np.tile(10 * y[:, :7], steps)[:, :steps] + 100
    ds = np.tile(pd.date_range("2024-01-01", periods=steps), n)
    ids = np.repeat([f"s{i:02}" for i in range(n)], steps)
    return pd.DataFrame({"unique_id": ids, "group": "all", "ds": ds, "y": y.reshape(-1)})


def fitted(
    train: pd.DataFrame, val: Any = None, scale: str = "series", **options: Any
) -> Forecaster:
    given = {"max_steps": 20, "batch_size": 8, "learning_rate": 3e-3, "trainer": QUIET, **options}
    model = HiPerformer(8, 1, 2, patch=7, scale=scale)
    return Forecaster(model, context_length=L, prediction_length=H, **given).fit(train, val)


def distance(forecaster: Forecaster, frame: pd.DataFrame) -> float:
    """Of a backtest, by numpy alone: in deviations of the context and units of the steps."""
    unit, total = forecaster.model_.horizon_scale.numpy()[:, 0], []
    table = forecaster.backtest(frame, stride=H)
    values = frame.pivot(index="ds", columns="unique_id", values="y")
    for (name, cutoff), rows in table.groupby(["unique_id", "cutoff"]):
        context = values[name].loc[:cutoff].to_numpy()[-L:]
        error = (rows.sort_values("ds").HiPerformer - rows.sort_values("ds").y).to_numpy()
        total.extend(np.sqrt((error / context.std() / unit) ** 2 + 1e-6))
    return float(np.mean(total))


# --- which rung wins -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("kind", "right"),
    [("noise", ("baseline", "linear start")), ("walk", ("baseline",)), ("season", ("baseline",))],
)
def test_the_right_rung_wins(kind, right, seed):
    """Of noise the mean or nearly that, of a walk the last value, of a season the one before."""
    train, val = series(kind, 6, 60, seed), series(kind, 100, 60, seed + 5)
    forecaster = fitted(train, val, learning_rate=0.02, seed=seed)
    report = forecaster.report_
    assert report.rung is not None and report.rung.split(",")[0] in right
    assert str(report).startswith(f"answers: {report.rung} (")
    history = train.pivot(index="ds", columns="unique_id", values="y").to_numpy()
    found = forecaster.predict(train).pivot(index="ds", columns="unique_id", values="HiPerformer")
    wanted = {"noise": 0 * history[-4:], "walk": history[[-1] * 4], "season": history[-7:-3]}[kind]
    error = found.to_numpy() - wanted
    assert np.abs(error).mean() < (0.35 if kind == "noise" else 1e-4)


def test_a_network_that_is_better_wins():
    """Players steer, and a line does not know."""
    frames = [simulate_basketball(n_scenes=n, seed=n) for n in (100, 60)]
    model = HiPerformer(32, 1, 2, patch=10, dropout=0.0)
    options = {"columns": COURT, "max_steps": 400, "learning_rate": 3e-3, "batch_size": 16}
    sizes = {"context_length": 20, "prediction_length": 10}
    forecaster = Forecaster(model, **sizes, **options, seed=1, trainer=QUIET).fit(*frames)
    table = forecaster.report_.rungs.set_index("rung")
    assert forecaster.report_.rung == "network"  # 5 % closer, six standard errors
    assert table.distance["network"] < 0.99 * table.distance["linear start"]
    between = table.distance["halfway to the network"]
    assert table.distance["network"] < between < table.distance["linear start"]
    better = 100 * (between / table.distance["network"] - 1)
    told = f"answers: network (halfway to the network {better:.2f} % worse)"
    assert told in str(forecaster.report_)


@pytest.mark.parametrize("kind", ["noise", "walk", "season"])
def test_no_fit_is_further_off_than_its_start_and_its_baseline(kind, monkeypatch):
    """Measured from the frames of backtests, and so are the figures of the report."""
    train, val = series(kind, 6, 60), series(kind, 6, 60, seed=9)
    best = fitted(train, val)
    rungs = best.report_.rungs.set_index("rung").distance
    found = {}
    for name in rungs.index:
        take(name, monkeypatch)
        found[name] = distance(fitted(train, val), val)
        assert rungs[name] == pytest.approx(found[name], rel=1e-3, abs=1e-5)
    limit = min(found["baseline"], found["linear start"])
    assert distance(best, val) <= limit + 1e-5
    assert found["linear start"] == found["linear start, trained shape"]


@pytest.mark.parametrize("ruin", [3.0, torch.nan])
def test_a_network_that_is_worse_is_refused(ruin, monkeypatch):
    """A broken twin: whatever was learned, the moves are noise in the end."""
    train, val = (make_frame(n, seed=n) for n in (4, 3))
    whole = loop.train

    def broken(model: Any, *args: Any) -> Any:
        done = whole(model, *args)
        with torch.no_grad():
            noise = torch.randn(model.decoder.mean.weight.shape, generator=seeded(0))
            model.decoder.mean.weight.add_(ruin * noise)
        return done

    monkeypatch.setattr(loop, "train", broken)
    forecaster = tiny(max_steps=20).fit(train, val)
    table = forecaster.report_.rungs.set_index("rung")
    assert forecaster.report_.rung != "network" and not forecaster.model_.decoder.moves
    lowest = table.distance[["baseline", "linear start"]].min()
    assert table.distance[table.chosen].item() == lowest
    assert not table.distance["network"] <= lowest
    assert forecaster.predict(val, level=90).notna().all().all()
    if ruin == ruin:
        take("network", monkeypatch)
        twin = tiny(max_steps=20).fit(train, val).model_
        assert twin.decoder.moves, "it would have answered"


def test_an_absurd_learning_rate_is_refused():
    train, val = (make_frame(n, seed=n) for n in (4, 3))
    for rate in (2.0, 20.0):
        model = HiPerformer(16, 1, 2, patch=4, head="gaussian")
        report = tiny(model, max_steps=20, learning_rate=rate).fit(train, val).report_
        assert report.rung != "network" and " worse)" in str(report)


def test_too_short_to_hold_anything_out_is_too_short_to_choose():
    report = tiny().fit(make_frame(2, 15, missing=0.0)).report_
    assert report.rung is None and report.rungs.empty and "answers" not in str(report)
    assert tiny(Ridge()).fit(make_frame(4)).report_.rungs.empty, "nothing was trained"
    one = tiny().fit(make_frame(1, 20, missing=0.0))
    assert one.report_.rung is not None, "two windows are better than none"


# --- what a rung is ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["baseline", "linear start", "linear start, trained shape"])
def test_what_has_a_closed_form_is_learned_from_all_windows_in_the_end(name, monkeypatch):
    """The held-out ones too, unless they are the user's own frame."""
    frame = series("walk", 6, 60)
    later = frame.assign(y=frame.y.where(frame.ds < "2024-02-20", 3 * frame.y))
    take(name, monkeypatch)
    one, other = (fitted(each, series_dropout=0.0) for each in (frame, later))
    same = torch.equal(one.model_.linear.weight.weight, other.model_.linear.weight.weight)
    assert same == (name == "baseline")
    panel = other._read(later)
    windows = WindowDataset(panel, cutoffs_of(panel, L, H), L, H, origin="row")
    again = deepcopy(other.model_)
    (again.fit_baseline if name == "baseline" else again.fit_linear)(
        *windows.__getitems__(range(len(windows)))
    )
    early = deepcopy(other.model_)
    early.fit_linear(*windows.__getitems__(range(10)))
    for part in ("weight.weight", "weight.bias", "error_scale"):
        x, y, z = (f.linear.state_dict()[part] for f in (again, other.model_, early))
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)
        assert (x - z).abs().max() > 1e-3
    given = fitted(frame, later)
    assert torch.equal(
        given.model_.linear.weight.weight, fitted(frame, frame).model_.linear.weight.weight
    ), "a frame of the user's own is for stopping"


@pytest.mark.parametrize("name", ["halfway", "halfway, trained shape"])
def test_halfway_is_the_mean_of_smoothing_and_the_linear_start(name, monkeypatch):
    frame = series("noise", 6, 60)
    # A day that is low follows one that is high: smoothing does not know that.
    frame["y"] = np.exp(frame.y - 0.9 * frame.y.shift(1, fill_value=0.0))
    take(name, monkeypatch)
    one = fitted(frame, scale="demand", series_dropout=0.0)
    panel = one._read(frame)
    cutoffs = settled(panel, cutoffs_of(panel, L, H), (7,))
    windows = WindowDataset(panel, cutoffs, L, H, origin="history", calendar=True)
    seen = windows.__getitems__(range(len(windows)))
    line = deepcopy(one.model_)
    line.fit_linear(*seen)
    smooth = deepcopy(line)
    smooth.fit_baseline(*seen)
    assert not smooth.linear.weight.weight.any() and line.linear.weight.weight.any()
    for part, x in one.model_.linear.state_dict().items():
        mean = (line.linear.state_dict()[part] + smooth.linear.state_dict()[part]) / 2
        torch.testing.assert_close(x, mean, rtol=1e-5, atol=1e-6, msg=part)


def test_a_warm_start_has_what_it_starts_from_to_beat(monkeypatch):
    train, val = (make_frame(n, seed=n) for n in (4, 3))
    for first in ("network", "linear start, trained shape"):
        with monkeypatch.context() as patch:
            take(first, patch)
            model = HiPerformer(16, 1, 2, patch=4, head="gaussian")
            forecaster = tiny(model, max_steps=20).fit(train, val)
        before = {k: x.clone() for k, x in forecaster.model_.state_dict().items()}
        forecaster.set_params(learning_rate=20.0).fit(train, val, warm_start=True)
        names = ["start", "network"] if first == "network" else [
            "start", "start, trained shape", "halfway to the network", "network"
        ]  # fmt: skip
        anew = ["linear start", "linear start, trained shape"]
        assert forecaster.report_.rungs.rung.tolist() == [*anew, *names]
        assert forecaster.report_.rung == "start"
        for name, x in forecaster.model_.state_dict().items():
            assert torch.equal(x, before[name]) or name == "temperature.log", name


@pytest.mark.parametrize("protected", [True, False])
def test_a_warm_start_on_data_unlike_the_old_is_no_worse_than_ridge(protected, monkeypatch):
    """What was learned of seasons is of no use to walks: the last value is, as ridge finds out."""
    if not protected:
        monkeypatch.setattr(HiPerformer, "relearned", Model.relearned)
    forecaster = fitted(series("season", 6, 60), series("season", 6, 60, seed=9))
    train, val = series("walk", 12, 120, seed=2), series("walk", 30, 60, seed=3)
    forecaster.set_params(max_steps=5).fit(train, val, warm_start=True)
    plain = Forecaster(Ridge(), context_length=L, prediction_length=H, trainer=QUIET).fit(train)
    error, least = (
        one.evaluate(val, ["mae"], stride=H).value.iloc[0] for one in (forecaster, plain)
    )
    assert protected == forecaster.report_.rung.startswith("linear start")
    assert error < 1.02 * least if protected else error > 1.5 * least


def test_of_returns_the_shape_alone_is_chosen():
    forecaster = tiny(HiPerformer(8, 1, 2, scale="returns"), max_steps=20)
    table = forecaster.fit(make_frame(4), make_frame(3, seed=1)).report_.rungs.set_index("rung")
    assert table.index.tolist() == [
        "baseline", "baseline, trained shape", "linear start", "network"
    ]  # fmt: skip
    assert table.distance["linear start"] == table.distance["network"]


def test_any_model_must_beat_its_start_by_its_loss():
    train, val = (make_frame(n, seed=n) for n in (4, 3))
    good = tiny(Perceptron(), max_steps=30, learning_rate=0.01).fit(train, val)
    table = good.report_.rungs
    assert table.rung.tolist() == ["start", "trained"] and good.report_.rung == "trained"
    assert table.nll[1] < table.nll[0] and table.distance.isna().all()
    nll = f"(nll {table.nll[1]:.3f}, start {table.nll[0]:.3f})"
    assert f"answers: trained {nll}" in str(good.report_)
    bad = tiny(Perceptron(), max_steps=1, learning_rate=100.0).fit(train, val)
    assert bad.report_.rung == "start"
    fresh = tiny(Perceptron(), max_steps=1, learning_rate=1e-12).fit(train, val)
    for x, y in zip(bad.model_.parameters(), fresh.model_.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-6)
