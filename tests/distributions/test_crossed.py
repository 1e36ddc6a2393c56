"""Latents of crossed groups against the definition, written out: likelihood, conditions, totals."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import LowRankNormal
from hierforecast.distributions.places import side_by_side
from hierforecast.nn.head import Scenes, latents
from tests.distributions.conditioning import close, normal
from tests.distributions.test_groups import COARSE, FINE, SCENE, B, D, H, P, some_seen

# Two further ways: one of groups of either scene, numbered in no order, and one nested in nothing.
PURPOSE = torch.tensor([3, 0, 1, 3, 0, 3, 0, 4, 2, 2, 3, 4, 0])
OWNER = torch.tensor([0, 1, 2, 1, 0, 0, 1, 2, 0, 1, 1, 2, 0])
# The way of most groups first, and last: which one is eliminated level by level is no matter.
SCENES = {
    "first": (Scenes(SCENE, B, (FINE, COARSE), crossed=((PURPOSE,), (OWNER,))),
              ["fine", "coarse", "purpose", "owner"]),
    "last": (Scenes(SCENE, B, (OWNER,), crossed=((PURPOSE,), (FINE, COARSE))),
             ["owner", "purpose", "fine", "coarse"]),
}  # fmt: skip
RANKS = {"scene": 2, "fine": 1, "coarse": 2, "purpose": 2, "owner": 1}
OF = {"scene": SCENE, "fine": FINE, "coarse": COARSE, "purpose": PURPOSE, "owner": OWNER}


def factors() -> dict[str, Tensor]:
    return {name: normal(P, H, D, rank, seed=i) for i, (name, rank) in enumerate(RANKS.items())}


def crossed(order: str = "first", make=latents) -> LowRankNormal:
    scenes, names = SCENES[order]
    all_of_them = factors()
    shared, groups = make(all_of_them["scene"], [all_of_them[name] for name in names], scenes)
    scale = 0.3 + normal(P, H, D, seed=11).abs()
    return LowRankNormal(
        normal(P, H, D, seed=12), scale, shared, normal(P, H, D, 1, seed=13), SCENE, B,
        group_factors=groups,
    )  # fmt: skip


def dense(p: LowRankNormal, rows: Tensor) -> Tensor:
    """Covariance (n, n, H*D, H*D) of some rows of a scene, pair by pair."""
    out = torch.zeros(len(rows), len(rows), H * D, H * D, dtype=torch.float64)
    own = normal(P, H, D, 1, seed=13)
    for (a, i), (b, j) in product(enumerate(rows), repeat=2):
        for name, factor in factors().items():
            if OF[name][i] == OF[name][j]:
                out[a, b] += factor[i].flatten(0, 1) @ factor[j].flatten(0, 1).T
        if i == j:
            mine = own[i].flatten(0, 1)
            out[a, b] += p.scale[i].flatten().square().diag() + mine @ mine.T
    return out


def joint(p: LowRankNormal, scene: int) -> Tensor:
    found = dense(p, (scene == SCENE).nonzero()[:, 0])
    return found.transpose(1, 2).flatten(0, 1).flatten(1)


@pytest.mark.parametrize("order", SCENES)
def test_covariance_likelihood_and_conditions_are_the_definition(order):
    p, value, seen = crossed(order), normal(P, H, D, seed=6), some_seen()
    found, given = p.log_prob(value, seen), p.condition(value, seen)
    for scene in range(2):
        rows = scene == SCENE
        at, mean, here = (x[rows].flatten() for x in (seen, p.mean, value))
        covariance = joint(p, scene)
        close(p.covariance(scene), covariance)
        close(p.variance[rows].flatten(), covariance.diagonal())
        known, across = covariance[at][:, at], covariance[~at][:, at]
        close(found[scene], MultivariateNormal(mean[at], known).log_prob(here[at]), 1e-9)
        gain = across @ torch.linalg.inv(known)
        close(given.mean[rows].flatten()[~at], mean[~at] + gain @ (here - mean)[at], 1e-9)
        close(given.covariance(scene)[~at][:, ~at], covariance[~at][:, ~at] - gain @ across.T, 1e-9)


def test_totals_of_crossed_groups_are_the_definition():
    p = crossed()
    rows = (SCENE == 1).nonzero()[:, 0]
    matrix = (PURPOSE[rows].unique()[:, None] == PURPOSE[rows]).double()
    total = p.rows(rows).aggregate(matrix)
    lift = torch.kron(matrix, torch.eye(H * D, dtype=torch.float64))
    wanted = lift @ joint(p, 1) @ lift.T
    close(total.variance.flatten(), wanted.diagonal(), 1e-9)
    torch.manual_seed(0)
    draws = torch.cov(total.sample((100_000,)).flatten(1).T)
    assert (draws - wanted).abs().max() < 0.02 * wanted.max()


def forgotten(shared, of_groups, scenes):
    """Broken: latents of crossed groups are everybody's."""
    nested = list(zip(of_groups[:2], scenes.groups, strict=True))
    return torch.cat([shared, *of_groups[2:]], -1), nested


def one_slot_off(shared, of_groups, scenes):
    """Broken: a row is moved by the latents of another group."""
    owners = tuple((x.roll(1),) for (x,) in scenes.crossed)
    return latents(shared, of_groups, scenes._replace(crossed=owners))


@pytest.mark.parametrize("make", [forgotten, one_slot_off])
def test_broken_twins_are_caught(make):
    p = crossed(make=make)
    with pytest.raises(AssertionError):
        close(p.covariance(1), joint(p, 1))


def test_marginals_leave_rows_out():
    p, value = crossed(), normal(P, H, D, seed=6)
    kept = torch.tensor([0, 1, 3, 5, 8, 9, 12])
    seen = torch.zeros(P, H, D, dtype=torch.bool)
    seen[kept] = True
    close(p.log_prob(value, seen)[1], p.rows(kept).log_prob(value[kept])[1], 1e-9)


@pytest.mark.parametrize("order", SCENES)
def test_the_first_way_keeps_its_levels_whatever_the_batch(order):
    """All other latents are the scene's, of as many groups as the largest scene has."""
    p, (scenes, _) = crossed(order), SCENES[order]
    most = {
        name: max(len(OF[name][scene == SCENE].unique()) for scene in range(2)) for name in RANKS
    }
    first = ("fine", "coarse") if len(scenes.groups) > 1 else ("owner",)
    apart = sum(most[name] * RANKS[name] for name in RANKS if name not in ("scene", *first))
    ranks = [1, *(RANKS[name] for name in first), 2 + apart]
    assert [level.rank for level in p.levels] == ranks


def test_a_first_way_without_latents_leaves_its_place_to_the_next():
    scenes, _ = SCENES["first"]
    of_groups = [normal(P, H, D, rank) for rank in (0, 0, 2, 1)]
    shared, nested = latents(normal(P, H, D, 2), of_groups, scenes)
    ((factor, group, count),) = nested
    assert factor is of_groups[2] and group is PURPOSE and count == PURPOSE.max() + 1
    assert shared.shape[-1] == 2 + 2  # two owners in the larger scene


def test_draws_have_the_covariance():
    torch.manual_seed(0)
    p, rows = crossed(), SCENE == 1
    draws = p.sample((200_000,))[:, rows].flatten(1).double()
    error = (torch.cov(draws.T) - joint(p, 1)).abs() / p.variance[rows].max()
    assert error.max() < 0.02


def test_columns_are_as_many_as_groups_in_the_largest_scene():
    factor = factors()["purpose"]
    wide = side_by_side(factor, PURPOSE, SCENE, B)
    assert wide.shape == (P, H, D, 3 * 2)
    close(wide.unflatten(-1, (3, 2)).sum(-2), factor)
    nobody = torch.zeros(0, dtype=torch.int64)
    assert side_by_side(factor[:0], nobody, nobody, B).shape == (0, H, D, 0)
