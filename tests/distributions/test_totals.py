"""Totals against the dense formula and against sums of draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hierforecast.distributions import (
    IndependentRows,
    IndependentScenes,
    IndependentSteps,
    SceneDistribution,
    totals,
)
from hierforecast.distributions.totals import Totals
from tests.distributions.conditioning import (
    FAMILIES,
    B,
    D,
    H,
    P,
    close,
    low_rank,
    mixture,
    normal,
    scattered,
)

# Rows 0, 2, 4 are of scene 1, rows 1, 3, 5 of scene 0.
APART = torch.tensor(
    [[0, 1, 0, 0, 0, -2], [1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0.5, 0], [0, 0, 0, 1, 0, 0]]
).double()
NESTED = torch.cat([APART, torch.tensor([[1.0, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]])])

# Sums of independent Student-t variables are of no family, nor are those of warped ones.
HEAVY = [name for name in FAMILIES if name == "independent student" or "rows" in name]
OPEN = [*HEAVY, *(name for name in FAMILIES if "warped" in name)]


def dense(p: SceneDistribution, matrix: Tensor, scene: int) -> Tensor:
    """Covariance of a scene's totals by the dense formula."""
    sums = matrix[:, p.scene == scene]
    sums = sums[(sums != 0).any(1)]
    covariance = p.covariance(scene).view(-1, H * D, len(sums[0]), H * D)
    return torch.einsum("gp,pcqd,hq->gchd", sums, covariance, sums).flatten(2).flatten(0, 1)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in OPEN])
def test_mean_and_covariance_are_those_of_the_dense_formula(name: str, given: bool):
    p = FAMILIES[name]()
    if given:
        p = p.condition(normal(P, H, D, seed=3), scattered())
    q = p.aggregate(APART)
    assert isinstance(p, type(q))  # `CoupledNormal` is a `LowRankNormal`, and so are its totals
    close(q.mean, torch.einsum("gp,phd->ghd", APART, p.mean))
    for scene in range(2):
        close(q.covariance(scene), dense(p, APART, scene))
    close(p.aggregate(APART.to_sparse()).variance, q.variance)


def test_density_and_quantiles_are_those_of_the_total():
    """A total of one row is that row; its density that of the margin."""
    for make in FAMILIES.values():
        p = make()
        one = torch.eye(P, dtype=torch.float64)[[2, 3]]
        q, margin = p.aggregate(one), p.rows(torch.tensor([2, 3]))
        if isinstance(q, Totals):
            continue
        value = normal(2, H, D, seed=4)
        close(q.log_prob(value), margin.log_prob(value))
        close(q.quantile(0.9), margin.quantile(0.9), 1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_totals_that_share_rows_have_their_own_quantiles_and_joint_draws(name: str):
    p = FAMILIES[name]()
    q = p.aggregate(NESTED)
    assert isinstance(q, Totals | IndependentSteps)
    seed = torch.Generator().manual_seed(3)
    drawn = q.sample((20_000,), generator=seed)
    rows = p.sample((20_000,), generator=torch.Generator().manual_seed(3))
    close(drawn, torch.einsum("gp,sphd->sghd", NESTED, rows))
    close(drawn[:, 4], drawn[:, 1] + 2 * drawn[:, 2])
    below = (drawn <= q.quantile(0.9)).double().mean(0)
    assert ((below - 0.9).abs() < 0.025).all()
    alone = p.aggregate(NESTED[[4]])
    if not isinstance(alone, Totals):
        close(q.variance[4], alone.variance[0])
        close(q.rows(torch.tensor([4])).variance, alone.variance)
    with pytest.raises(NotImplementedError, match="one level at a time"):
        q.log_prob(q.mean)


@pytest.mark.parametrize("name", HEAVY)
def test_independent_heavy_tails_are_summed_by_draws(name: str):
    p = FAMILIES[name]()
    assert isinstance(p, IndependentScenes | IndependentRows)
    q = p.aggregate(APART)
    assert isinstance(q, Totals)
    expected = APART.square() @ p.variance.flatten(1)
    close(q.variance.flatten(1), expected)


@pytest.mark.parametrize("kept", [totals._KEPT, 0])
def test_all_quantiles_are_of_the_same_draws_which_are_made_once_where_they_are_few(
    kept: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(totals, "_KEPT", kept)
    p = FAMILIES[HEAVY[0]]()
    q, draw, made = p.aggregate(APART), p._draw, []
    monkeypatch.setattr(p, "_draw", lambda shape: made.append(shape) or draw(shape))
    both = q.quantile(torch.tensor([0.1, 0.9], dtype=torch.float64))
    close(q.quantile(0.9), both[1], 0.0)
    close(q.cdf(both[0]).double(), torch.full_like(both[0], 0.1).double(), 1e-3)
    assert len(made) == (1 if kept else 3)


def test_totals_do_not_depend_on_the_order_of_rows():
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    for p in (low_rank(levels=3), mixture()):
        q, shuffled = p.aggregate(APART), p.rows(order).aggregate(APART[:, order])
        close(q.mean, shuffled.mean)
        close(q.covariance(0), shuffled.covariance(0))


def test_errors_name_what_is_wrong():
    p = low_rank()
    for matrix, message in (
        (APART[:, :5], "must be"),
        (torch.cat([APART, 0 * APART[:1]]), "zero"),
        (torch.ones(1, P), "several scenes"),
    ):
        with pytest.raises(ValueError, match=message):
            p.aggregate(matrix)
    assert p.n_scenes == B
