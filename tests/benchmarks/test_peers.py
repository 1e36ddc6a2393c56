"""Peers: the symmetries that they claim, the harness that holds them, tables at tiny sizes."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import peer_tables
from benchmarks.peers import (
    SOFTS,
    AgentFormer,
    EqMotion,
    FilledTSMixer,
    ITransformer,
    LinearStart,
    Peer,
    TimesNet,
    TSMixer,
    fit_times,
    theirs,
)
from benchmarks.peers.agentformer import AgentAware
from benchmarks.peers.scenes import Rectangle, of_one_size
from hierforecast import Forecaster
from hierforecast.datasets import simulate_basketball
from hierforecast.errors import MissingExtraError
from hierforecast.testing import assert_equivariant, equivariance_error, randomize_
from tests.helpers import make_frame, tiny
from tests.rows import TASK, OnRows, Rows, make_content, make_future, pack

SCENES = "b h a h a h a", "a b h h a", "c c"
ROWS = Rows.of(*SCENES)
OURS = [EqMotion(8, 4, 2, 2), AgentFormer(8, 1, 1, 2, patch=4)]
THEIRS = [ITransformer(8, 16), SOFTS(8, 16), TSMixer(8, 8, 1), TimesNet(4)]


def named(model: nn.Module) -> str:
    return type(model).__name__


def built(peer: Peer, rows: Rows = ROWS) -> Peer:
    """A peer with units of its data and large random weights."""
    model = randomize_(peer.for_task(TASK).double(), scale=1.0)
    model.fit_statistics(pack(rows, make_content(rows, TASK)), make_future(rows, TASK))
    return model


@pytest.fixture
def neuralforecast():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = "neuralforecast is not installed: pip install 'hierforecast[peers]'"
        pytest.importorskip("neuralforecast", reason=reason)
        yield


class Mean(OnRows):
    """The point forecast alone, of positions (P, L, 2) in the user's order."""

    content = make_content(ROWS, TASK)

    def forward(self, values):
        return self.law({**self.content, "values": values}).mean


@pytest.mark.parametrize("peer", OURS, ids=named)
def test_agents_are_exchangeable_whatever_their_group(peer):
    module = OnRows(built(peer), ROWS)
    content = make_content(ROWS, TASK)
    for seed in range(3):
        torch.manual_seed(seed)
        parts = [
            torch.from_numpy(np.flatnonzero(ROWS.scene == scene)) for scene in range(len(SCENES))
        ]
        perm = torch.cat([part[torch.randperm(len(part))] for part in parts])
        assert_equivariant(module, content, lambda x, perm=perm: x[perm], lambda x, p=perm: x[p])


def motions() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A turn, and a turn with a reflection, each with a shift."""
    sine, cosine = np.sin(0.7), np.cos(0.7)
    turn = torch.tensor([[cosine, -sine], [sine, cosine]])
    shift = torch.tensor([3.0, -50.0], dtype=torch.float64)
    return [(turn, shift), (turn @ torch.tensor([[1.0, 0.0], [0.0, -1.0]]).double(), shift)]


@pytest.mark.parametrize("turn, shift", motions())
def test_eqmotion_turns_reflects_and_shifts_with_the_scene(turn, shift):
    module = Mean(built(OURS[0]), ROWS)

    def move(x):
        return x @ turn + shift

    assert_equivariant(module, Mean.content["values"], move, move)
    # AgentFormer makes no such claim, and the test can tell.
    other = Mean(built(OURS[1]), ROWS)
    assert equivariance_error(other, Mean.content["values"], move, move) > 1e-3


@pytest.mark.parametrize("peer", OURS, ids=named)
def test_scenes_of_unlike_sizes_do_not_meet(peer):
    model, content = built(peer), make_content(ROWS, TASK)
    together = OnRows(model, ROWS)(content)["mean"]
    for scene, labels in enumerate(SCENES):
        mine = ROWS.scene == scene
        alone = OnRows(model, Rows.of(labels))({k: v[mine] for k, v in content.items()})["mean"]
        torch.testing.assert_close(alone, together[mine], rtol=1e-10, atol=1e-10)


def test_the_vectors_of_eqmotion_do_not_see_each_other_only():
    """A message from another agent moves the forecast: the layers do meet."""
    module, content = OnRows(built(OURS[0]), ROWS), make_content(ROWS, TASK)
    moved = {**content, "values": content["values"].clone()}
    moved["values"][1] += 5.0
    shift = (module(moved)["mean"] - module(content)["mean"]).abs().amax((1, 2))
    assert (shift[:7] > 1e-6).all() and (shift[7:] < 1e-12).all()


def test_agent_aware_attention_is_the_sum_written_out():
    layer, there = AgentAware(4, 1).double(), torch.tensor([[True, True, False]])
    x, y = torch.randn(1, 3, 2, 4).double(), torch.randn(1, 3, 5, 4).double()
    query, key, value = layer.query(x)[0], layer.key(y)[0], layer.value(y)[0]
    for agent in range(3):
        for step in range(2):
            scores, values = [], []
            for other in range(2):  # the third is not there
                half = slice(0, 4) if other == agent else slice(4, 8)
                scores.append(key[other, :, half] @ query[agent, step, half] / 2)
                values.append(value[other])
            seen = torch.cat(scores).softmax(0) @ torch.cat(values)
            torch.testing.assert_close(layer(x, y, there)[0, agent, step], layer.out(seen))


def test_rows_are_laid_out_and_back():
    batch = pack(ROWS, make_content(ROWS, TASK))
    layout = Rectangle.of(batch)
    torch.testing.assert_close(layout.back(layout.forth(batch.values)), batch.values)
    assert layout.there.sum(1).tolist() == [7, 5, 2]
    assert (
        batch.scene[layout.rows][layout.there]
        == torch.arange(3).repeat_interleave(torch.tensor([7, 5, 2]))
    ).all()
    sizes = sorted(rows.shape for rows in of_one_size(batch))
    assert sizes == [(1, 2), (1, 5), (1, 7)]


@pytest.mark.parametrize("peer", OURS, ids=named)
def test_a_forecaster_takes_a_peer(peer, tmp_path):
    frame = make_frame()
    fitted = tiny(peer).fit(frame)
    rows = fitted.evaluate(frame, ["ade", "coverage"])
    assert rows["value"].notna().all()
    fitted.save(tmp_path / "saved")
    again = Forecaster.load(tmp_path / "saved", peer)
    pd.testing.assert_frame_equal(again.evaluate(frame, ["ade", "coverage"]), rows)


@pytest.mark.parametrize("peer", OURS, ids=named)
def test_training_lowers_the_loss(peer):
    window = pack(ROWS, make_content(ROWS, TASK)), make_future(ROWS, TASK)
    model = peer.for_task(TASK).double()
    model.fit_statistics(*window)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-2), []
    for _ in range(20):
        losses.append(model.loss(*window))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.3


class Still(Peer):
    """Says that everything stays."""

    def point(self, scaled, batch):
        return scaled.relative.new_zeros(len(scaled.relative), len(self.horizon_scale), 2)


def test_the_linear_start_is_a_good_forecast():
    frame = simulate_basketball(n_scenes=10, n_steps=20, seed=0)
    still, line = (
        tiny(peer, max_steps=1, series_dropout=0.0).fit(frame).evaluate(frame, ["ade"])["value"][0]
        for peer in (Still(), LinearStart(Still()))
    )
    assert line < 0.6 * still


def test_without_neuralforecast_the_error_names_the_extra(monkeypatch):
    for name in ("neuralforecast", "neuralforecast.models"):
        monkeypatch.setitem(sys.modules, name, None)
    for peer in THEIRS:
        with pytest.raises(MissingExtraError, match=r"hierforecast\[peers\]"):
            peer.for_task(TASK)
    with pytest.raises(MissingExtraError, match=r"hierforecast\[peers\]"):
        theirs.forecaster("SOFTS", 1)


@pytest.mark.parametrize("peer", [*THEIRS, LinearStart(ITransformer(8, 16))], ids=named)
def test_their_modules_forecast_whole_scenes(peer, neuralforecast):
    rows = Rows.of("b h a h a h a a", "b h a h a h a a", types="b")
    model = peer.for_task(TASK)
    batch, future = pack(rows, make_content(rows, TASK)).to(torch.float32), make_future(rows, TASK)
    model.fit_statistics(batch, future.to(torch.float32))
    assert model(batch).mean.shape == (16, 4, 2)
    model.loss(batch, future.to(torch.float32)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_tsmixer_needs_every_series(neuralforecast):
    rows = Rows.of("b h a h a h a", "b h a h", types="b")
    batch = pack(rows, make_content(rows, TASK)).to(torch.float32)
    with pytest.raises(RuntimeError, match=r"must match|shape|should contain"):
        TSMixer(7, 8, 1).for_task(TASK).eval()(batch)
    assert FilledTSMixer(7, 8, 1).for_task(TASK)(batch).mean.isfinite().all()


def test_a_panel_for_neuralforecast_holds_every_window():
    panel = theirs.panel(3, n_steps=10)
    assert panel.groupby("unique_id").size().tolist() == [30] * 22
    frame = simulate_basketball(n_scenes=3, n_steps=10, seed=0)
    one = frame[(frame["unique_id"] == "home_2")].sort_values(["scene", "ds"])
    assert panel.loc[panel["unique_id"] == "home_2_y", "y"].tolist() == one["y"].tolist()


def test_long_messages_are_cut():
    cell = peer_tables.message(ValueError("word " * 100))
    assert len(cell) < 140 and cell.endswith("…")


def test_both_libraries_are_timed_on_the_same_numbers():
    agents, many = fit_times.cases(scenes=2, series=12, steps=120).values()
    for case, targets in ((agents, ["x", "y"]), (many, ["y"])):
        assert case.ours[targets].to_numpy().sum() == pytest.approx(case.theirs["y"].sum())
    assert many.options["n_series"] == many.theirs["unique_id"].nunique() == 12
    fitted = many.fit_ours(next(iter(many.models.values())), 1)
    found = fitted.backtest(many.ours, n_windows=fit_times.CUTOFFS, stride=1)
    assert len(found) == 12 * fit_times.CUTOFFS * 10
    few = fit_times._few(agents.ours, agents.columns)
    assert fit_times._each(agents.ours) * few["scene"].nunique() <= fit_times.CUTOFFS


def test_more_windows_per_second_is_above_one():
    name = "neuralforecast iTransformer"
    seconds = {f"{name} 60": [8.0], f"{name} 20": [4.0], f"{name} backtest": [3.0]}
    seconds |= {"ours 60": [4.0], "ours 20": [3.0], "ours backtest": [6.0]}
    found = fit_times._relative(seconds, "ours")
    assert found == {"a fit of 60 steps": "2.00", "a further step": "4.00", "a backtest": "0.50"}
