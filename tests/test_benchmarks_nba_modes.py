"""The benchmark of joint modes runs at a tiny size, and counts as the community does."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from benchmarks import nba_modes
from hierforecast.datasets import simulate_basketball
from hierforecast.distributions import LowRankNormal, ModeMixture
from hierforecast.metrics import Evaluation


def scores_by_hand(futures: torch.Tensor, truth: torch.Tensor, scene: torch.Tensor) -> list[float]:
    """minADE, minFDE, minJADE, minJFDE of (K, P, H, D), read aloud."""
    error = (futures - truth).norm(dim=-1)
    path, last = error.mean(-1), error[..., -1]
    scenes = [s == scene for s in scene.unique()]
    joint = [
        torch.stack([e[:, rows].mean(1).min() for rows in scenes]).mean() for e in (path, last)
    ]
    return [float(x) for x in (path.min(0).values.mean(), last.min(0).values.mean(), *joint)]


def test_scores_are_the_communitys():
    torch.manual_seed(0)
    scene = torch.tensor([0, 1, 0, 1, 1])
    shape = (5, 4, 2)
    factor = torch.randn(*shape, 1)
    noise = LowRankNormal(torch.zeros(shape), torch.ones(shape), factor, None, scene, 2)
    law = ModeMixture(torch.randn(20, *shape), torch.randn(2, 20), noise)
    truth = torch.randn(shape)
    scores = nba_modes.Scores(nba_modes.modes, honest=False)
    seen = torch.ones(shape[:2], dtype=torch.bool)
    ball = torch.tensor([True, True, False, False, False])
    scores.add(law, Evaluation(truth, seen, scene, 2), ball)
    ade, fde, jade, jfde = scores_by_hand(law.modes, truth, scene)
    cells = scores.cells()
    assert cells["minADE/minFDE all"] == f"{ade:.3f}/{fde:.3f}"
    assert cells["minJADE/minJFDE"] == f"{jade:.3f}/{jfde:.3f}" and cells["energy"] == "-"
    ade, fde, *_ = scores_by_hand(law.modes[:, ball], truth[ball], scene[ball])
    assert cells["minADE/minFDE ball"] == f"{ade:.3f}/{fde:.3f}"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[Any]:
    """Made scenes instead of real ones, and a list of what is written."""
    written: list[Any] = []
    seeds = {"train": 0, "val": 1, "test": 2}

    def load(split: str, rate: float) -> Any:
        assert rate == 5.0
        return simulate_basketball(n_scenes=4, n_steps=32, seed=seeds[split])

    monkeypatch.setattr(nba_modes, "load_nba", load)
    monkeypatch.setattr(nba_modes, "write_section", lambda *given: written.append(given))
    command = ["nba_modes", "--folder", str(tmp_path), "--steps", "2", "--width", "8"]
    monkeypatch.setattr(sys, "argv", [*command, "--depth", "1", "--threads", "1"])
    return written


def test_the_table_at_a_tiny_size(small, capsys, monkeypatch, tmp_path):
    nba_modes.main()
    ((key, _, table, note),) = small
    assert key == "nba-modes" and "shuffled" in note
    assert list(table.index[:5]) == [
        "ConstantVelocity, 20 draws",
        "Ridge, 20 draws",
        "HiPerformer mixture, 20 draws",
        "HiPerformer mixture, its 20 modes",
        "HiPerformer lowrank, 20 draws",
    ]
    figures = table.iloc[:5]["minADE/minFDE all"].str.split("/", expand=True).astype(float)
    assert (figures > 0).all().all()
    assert table.loc["*CausalTraj, published*", "minJADE/minJFDE"] == "1.34/2.47"
    assert "HiPerformer mixture" in capsys.readouterr().out
    assert (tmp_path / "mixture" / "forecaster").exists()
    # Games to choose by are printed and not written; an arm may be fitted alone, once.
    for more in (["--split", "val", "--arms", "mixture"], ["--fit", "--arms", "lowrank"]):
        monkeypatch.setattr(sys, "argv", [*sys.argv, *more])
        nba_modes.main()
    assert len(small) == 1
