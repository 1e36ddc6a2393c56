"""Latents of nested groups against the definition, written out; and what groups bring with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import (
    IndependentSteps,
    JointStudent,
    LowRankNormal,
    ModeMixture,
    SceneDistribution,
)
from hierforecast.distributions.latents import Latents
from hierforecast.distributions.totals import Totals
from tests.counting import Operations
from tests.distributions.conditioning import close, normal

H, D, B = 3, 2, 3
# Scene 1 has ten rows, scene 0 three, scene 2 none; three levels of groups, fine to coarse.
SCENE = torch.tensor([1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1])
FINE = torch.tensor([0, 0, 1, 2, 2, 3, 4, 1, 4, 4, 5, 6, 5])
MIDDLE = torch.tensor([0, 0, 1, 0, 0, 2, 3, 1, 3, 3, 3, 4, 3])
COARSE = torch.tensor([0, 0, 1, 0, 0, 0, 2, 1, 2, 2, 2, 3, 2])
P = len(SCENE)
LEVELS = {1: [MIDDLE], 2: [FINE, MIDDLE], 3: [FINE, MIDDLE, COARSE]}


def low_rank(levels: int = 3, family: type[LowRankNormal] = LowRankNormal) -> LowRankNormal:
    shape = (P, H, D)
    factors = [(normal(*shape, 1 + i, seed=i), group) for i, group in enumerate(LEVELS[levels])]
    return family(
        normal(*shape), 0.3 + normal(*shape, seed=1).abs(), normal(*shape, 2, seed=2),
        normal(*shape, 1, seed=3), SCENE, B, None, factors,
    )  # fmt: skip


def dense(p: LowRankNormal) -> Tensor:
    """The definition, row by row: (P, P, H*D, H*D), of all scenes together."""
    levels = [(p.scene_factor, SCENE), (p.series_factor, torch.arange(P))]
    levels += [(level.factor, level.owner) for level in p.levels[1:-1]]
    out = torch.zeros(P, P, H * D, H * D, dtype=torch.float64)
    for i in range(P):
        out[i, i] = p.scale[i].flatten().square().diag()
        for j in range(P):
            for factor, owner in levels:
                if owner[i] == owner[j]:
                    out[i, j] += factor[i].flatten(0, 1) @ factor[j].flatten(0, 1).T
    return out


def of_scene(covariance: Tensor, rows: Tensor) -> Tensor:
    return covariance[rows][:, rows].transpose(1, 2).flatten(0, 1).flatten(1)


def some_seen() -> Tensor:
    seen = normal(P, H, D, seed=5) > -0.3
    seen[0], seen[6, :, 1] = False, False  # a row that is missing, a target
    return seen


def check_against_the_definition(p: LowRankNormal) -> None:
    """Likelihood, the conditional distribution and covariance, with cells missing."""
    value, seen = normal(P, H, D, seed=6), some_seen()
    found, given = p.log_prob(value, seen), p.condition(value, seen)
    covariance = dense(p)
    for scene in range(2):
        rows = scene == SCENE
        at, mean, here = (x[rows].flatten() for x in (seen, p.mean, value))
        joint = of_scene(covariance, rows)
        close(p.covariance(scene), joint)
        known, across = joint[at][:, at], joint[~at][:, at]
        close(found[scene], MultivariateNormal(mean[at], known).log_prob(here[at]), 1e-9)
        gain = across @ torch.linalg.inv(known)
        close(given.mean[rows].flatten()[~at], mean[~at] + gain @ (here - mean)[at], 1e-9)
        left = joint[~at][:, ~at] - gain @ across.T
        close(given.covariance(scene)[~at][:, ~at], left, 1e-9)
    assert found[2] == 0


@pytest.mark.parametrize("levels", LEVELS)
def test_it_is_the_definition(levels: int):
    p = low_rank(levels)
    check_against_the_definition(p)
    close(p.variance.flatten(1), dense(p)[range(P), range(P)].diagonal(dim1=1, dim2=2))


class SharesOverAll(LowRankNormal):
    """Broken: the likelihood takes the latents of a group for everybody's."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        series, group, scene = levels = self.levels
        self.levels = series, Latents(group.factor, scene.owner, self.n_scenes), scene
        found = super()._log_prob(value, seen)
        self.levels = levels
        return found


class ForgetsGroups(LowRankNormal):
    """Broken: the residual is not told what the groups' latents explain."""

    def _whiten(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        columns, volume = super()._whiten(value, seen)
        return torch.cat([columns[..., :1], 0 * columns[..., 1:2], columns[..., 2:]], -1), volume


@pytest.mark.parametrize("family", [SharesOverAll, ForgetsGroups])
def test_broken_twins_are_caught(family: type[LowRankNormal]):
    with pytest.raises(AssertionError):
        check_against_the_definition(low_rank(1, family))


def joint_student() -> JointStudent:
    return JointStudent(low_rank(), torch.tensor([3.0, 5.0, 4.0]).double())


def mixture() -> ModeMixture:
    return ModeMixture(normal(4, P, H, D, seed=7), normal(B, 4, seed=8), low_rank(2))


def steps() -> IndependentSteps:
    p = low_rank()
    groups = [(level.factor, level.owner) for level in p.levels[1:-1]]
    degrees = 4 + normal(P, H, seed=9).abs()
    return IndependentSteps.student(p.loc, p.scale, p.scene_factor, degrees, SCENE, B, groups)


EVERY = [low_rank, joint_student, mixture, steps]


@pytest.mark.parametrize("make", EVERY)
def test_rows_units_and_swapped_groups(make: Callable[[], SceneDistribution]):
    """Rows change places, groups of a size too, whole scenes drop out: nothing else changes."""
    p, value, seen = make(), normal(P, H, D, seed=6), some_seen()
    order = torch.randperm(P, generator=torch.Generator().manual_seed(0))
    close(p.rows(order).log_prob(value[order], seen[order]), p.log_prob(value, seen))
    correlation = p.series_correlation(1)
    place = (SCENE[order] == 1).nonzero()[:, 0]
    rank = torch.cumsum(SCENE == 1, 0) - 1
    within = rank[order[place]]
    close(p.rows(order).series_correlation(1), correlation[within][:, within])
    for kept in (SCENE == 1, FINE != 4, torch.arange(P) == 3, torch.zeros(P, dtype=torch.bool)):
        close(p.rows(kept).log_prob(value[kept]), p.log_prob(value, kept[:, None].expand(P, H)))
        assert p.rows(kept).sample((2,)).shape == (2, int(kept.sum()), H, D)
    scale = torch.where(normal(P, H, D, seed=10) > 0, 2.0, -0.5).double()
    moved = p.affine(1.0, scale)
    volume = torch.zeros(B).double().index_add(0, SCENE, (scale.abs().log() * seen).sum((1, 2)))
    close(moved.log_prob(1 + scale * value, seen) + volume, p.log_prob(value, seen))


@pytest.mark.parametrize("make", EVERY)
def test_the_names_of_groups_do_not_matter(make: Callable[[], SceneDistribution]):
    p, q = make(), make()
    inner = {JointStudent: "base", ModeMixture: "noise"}
    base = q.base if isinstance(q, IndependentSteps) else q
    normal_ = getattr(base, inner[type(base)]) if type(base) in inner else base
    assert isinstance(normal_, LowRankNormal)
    normal_.levels = tuple(
        Latents(level.factor, level.count - 1 - level.owner, level.count)
        if 0 < at < len(normal_.levels) - 1 and level.owner is not None
        else level
        for at, level in enumerate(normal_.levels)
    )
    value = normal(P, H, D, seed=6)
    close(p.log_prob(value, some_seen()), q.log_prob(value, some_seen()))


# Of two groups each, of one, of a part of one, of a row; and what tears a group apart.
WHOLE = [[0, 1, 3, 4], [6, 8], [10, 12], [2, 7]]
TORN = [[0, 3], [1, 4]]


def matrix(totals: list[list[int]]) -> Tensor:
    out = torch.zeros(len(totals), P, dtype=torch.float64)
    for total, rows in zip(out, totals, strict=True):
        total[rows] = 1 + normal(len(rows), seed=11).abs()
    return out


@pytest.mark.parametrize("make", EVERY)
def test_totals_are_those_of_the_definition(make: Callable[[], SceneDistribution]):
    p, sums = make(), matrix(WHOLE)
    q = p.aggregate(sums)
    assert type(q) is type(p)
    close(q.mean, torch.einsum("gp,phd->ghd", sums, p.mean))
    for scene in range(2):
        rows = (sums[:, scene == SCENE] != 0).any(1)
        weights = sums[rows][:, scene == SCENE]
        joint = p.covariance(scene).unflatten(0, (-1, H * D)).unflatten(2, (-1, H * D))
        expected = torch.einsum("gp,pcqd,hq->gchd", weights, joint, weights)
        close(q.covariance(scene), expected.flatten(2).flatten(0, 1))
    close(q.log_prob(q.mean + 1)[2:], torch.zeros(1).double())


@pytest.mark.parametrize("make", EVERY)
def test_totals_that_tear_a_group_apart_go_by_draws(make: Callable[[], SceneDistribution]):
    p, sums = make(), matrix(TORN)
    q = p.aggregate(sums)
    base = q.base if isinstance(q, IndependentSteps) else q
    assert isinstance(base, Totals)
    drawn = q.sample((20_000,), generator=torch.Generator().manual_seed(0))
    rows = p.sample((20_000,), generator=torch.Generator().manual_seed(0))
    close(drawn, torch.einsum("gp,sphd->sghd", sums, rows))
    for at in range(2):
        alone = p.aggregate(sums[[at]])
        assert type(alone) is type(p)
        close(q.variance[at], alone.variance[0])
        close(q.quantile(0.9)[at], alone.quantile(0.9)[0])
        assert type(q.rows(torch.tensor([at]))) is type(p)


def test_cost_grows_with_the_rows_only():
    """No matrix of all rows: ten times the rows, ten times the largest tensor."""

    def largest(copies: int) -> int:
        p = low_rank()
        scene = SCENE.repeat(copies)
        groups = [
            (level.factor.repeat(copies, 1, 1, 1), _copies(level.owner, level.count, copies))
            for level in p.levels[1:-1]
        ]
        several = (x.repeat(copies, *[1] * (x.ndim - 1)) for x in
                   (p.loc, p.scale, p.scene_factor, p.series_factor))  # fmt: skip
        q = LowRankNormal(*several, scene, B, None, groups)
        value, seen = q.loc + 1, some_seen().repeat(copies, 1, 1)
        with Operations() as counted:
            q.log_prob(value, seen)
            q.condition(value, seen)
        return counted.largest

    assert largest(40) < 10.5 * largest(4)


def _copies(owner: Tensor | None, count: int, copies: int) -> Tensor:
    assert owner is not None
    return torch.cat([owner + i * count for i in range(copies)])


def test_errors_name_what_is_wrong():
    p = low_rank(1)
    parts = p.loc, p.scale, p.scene_factor, p.series_factor, SCENE, B, True
    factor = normal(P, H, D, 1)
    for groups, message in (
        ([(factor[:, :1], MIDDLE)], r"group_factors\[0\] has shape"),
        ([(factor, MIDDLE[:3])], r"groups of group_factors\[0\] must be"),
        ([(factor, MIDDLE.int())], "int64"),
        ([(factor, FINE), (factor, 0 * FINE)], r"group_factors\[1\] lies in several"),
        ([(factor, MIDDLE), (factor, FINE)], "fine to coarse"),
        ([(factor / 0, MIDDLE)], r"group_factors\[0\] holds NaN"),
        ([(factor, MIDDLE - 1)], "numbered from 0"),
    ):
        with pytest.raises(ValueError, match=message):
            LowRankNormal(*parts, groups)
