"""The benchmark of joint modes runs at a tiny size, and counts as the community does."""

from __future__ import annotations

import torch

from benchmarks import nba_modes
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
