"""Each row given all others: formulas of every family against differences of joint densities."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import (
    LowRankNormal,
    SceneDistribution,
    Sinh,
    Warped,
    conditionals,
)
from hierforecast.distributions.conditionals import by_differences
from tests.distributions import views, warps
from tests.distributions.conditioning import FAMILIES, close, coupled, low_rank, normal

WARPS: dict[str, Callable[[], Warped]] = {
    name: partial(warps.warped, name, 1) for name in warps.WARPS
}
EVERY: dict[str, Callable[[], SceneDistribution]] = {
    **FAMILIES,
    **{f"views, {name}": partial(views.make, name) for name in views.FAMILIES},
    **{f"warp {n}": make for n, make in WARPS.items()},
}


def likely(p: SceneDistribution) -> Tensor:
    """A draw: differences of densities lose the digits of wild values."""
    return p.sample((), torch.Generator().manual_seed(4))


def seen_of(p: SceneDistribution, which: str) -> Tensor:
    rows, steps, targets = p.event_shape
    if which == "all":
        return torch.ones(p.event_shape, dtype=torch.bool)
    if which == "cells":
        return normal(rows, steps, targets, seed=8) > -0.5
    seen = normal(rows, steps, seed=9) > -0.8
    seen[0], seen[-1, : steps // 2] = False, False  # a row never seen, one seen late
    return seen[..., None].expand(p.event_shape)


@pytest.mark.parametrize("which", ["all", "rows", "cells"])
@pytest.mark.parametrize("name", EVERY)
def test_formulas_are_differences_of_joint_densities(name: str, which: str) -> None:
    p = EVERY[name]()
    assert p.has_conditionals
    value, seen = likely(p), seen_of(p, which)
    found = p.conditional_log_prob(torch.where(seen, value, torch.nan), seen)
    expected = by_differences(p._log_prob, p.scene, value, seen)
    assert found.shape == p.event_shape[:2] and bool((found[~seen.any(-1)] == 0).all())
    close(found, expected)


@pytest.mark.parametrize("name", ["order 2", "coupled", "student", "mixture", "warped, stretched"])
def test_certain_cells_have_no_part(name: str) -> None:
    p = FAMILIES[name]()
    value, given = likely(p), seen_of(p, "cells")
    rest = p.condition(value, given)
    every = torch.ones_like(given)
    found = rest.conditional_log_prob(value, every)
    close(found, by_differences(rest._log_prob, p.scene, value, every), 1e-9)
    assert bool((found[given.all(-1)] == 0).all()) and bool((found != 0).any())


@pytest.mark.parametrize("make", [low_rank, coupled, lambda: low_rank(2, levels=3)])
def test_the_dense_formula(make: Callable[[], LowRankNormal]) -> None:
    p = make()
    value, seen = likely(p), seen_of(p, "rows")
    found = p.conditional_log_prob(value, seen)
    for scene in range(2):
        rows = (p.scene == scene).nonzero()[:, 0]
        mean, covariance = p.mean[rows].flatten(), p.covariance(scene)
        number = torch.arange(len(mean)).view(len(rows), *p.event_shape[1:])
        for at, row in enumerate(rows):
            for step in range(p.event_shape[1]):
                before = seen[rows].clone()
                before[at, step:] = False
                after = before.clone()
                after[at, step] = seen[row, step]
                whole, part = (
                    MultivariateNormal(mean[cells], covariance[cells][:, cells]).log_prob(
                        value[rows].flatten()[cells]
                    )
                    for cells in (number[after], number[before])
                )
                close(found[row, step], whole - part)


def test_scenes_by_themselves_however_few_matrices_are_held(monkeypatch) -> None:
    p = coupled()
    value = likely(p)
    found = p.conditional_log_prob(value)
    for scene in range(2):
        rows = p.scene == scene
        close(p.rows(rows).conditional_log_prob(value[rows]), found[rows])
    monkeypatch.setattr(conditionals, "_HELD", 1)
    close(p.conditional_log_prob(value), found)
    none = p.rows(torch.zeros(len(p.scene), dtype=torch.bool))
    assert none.conditional_log_prob(value[:0]).shape == (0, p.event_shape[1])


class Plain(LowRankNormal):
    """A family without a formula of its own."""

    has_conditionals = False
    _conditional_log_prob = SceneDistribution._conditional_log_prob


def test_a_family_of_ones_own_is_answered_by_differences() -> None:
    p = low_rank(0)
    scenes = p.scene, p.n_scenes
    own = Plain(p.loc, p.scale, p.scene_factor, p.series_factor, *scenes)
    value = likely(p)
    assert not own.has_conditionals and not Warped(own, Sinh(0.1, 1.5, 0.5)).has_conditionals
    close(own.conditional_log_prob(value), p.conditional_log_prob(value))
    with pytest.raises(ValueError, match="one future"):
        p.conditional_log_prob(value[None])


class WithoutOthers(LowRankNormal):
    """Forgets that the latents are known by the other rows."""

    def given_others(self, value: Tensor, seen: Tensor) -> conditionals.White:
        alone = torch.arange(len(self.scene))
        apart = LowRankNormal(
            self.loc, self.noise, self.scene_factor, self.series_factor, alone, len(alone)
        )
        return apart.given_others(value, seen)


class WithoutOrder(LowRankNormal):
    """Gives each cell all others, the later ones of its row too."""

    def given_others(self, value: Tensor, seen: Tensor) -> conditionals.White:
        return super().given_others(value.flip(-3, -2), seen)


@pytest.mark.parametrize("broken", [WithoutOthers, WithoutOrder])
def test_broken_twins_fail(broken: type[LowRankNormal]) -> None:
    p = low_rank()
    twin = broken(p.loc, p.noise, p.scene_factor, p.series_factor, p.scene, p.n_scenes)
    value, seen = likely(p), seen_of(p, "rows")
    with pytest.raises(AssertionError):
        expected = by_differences(p._log_prob, p.scene, value, seen)
        close(twin.conditional_log_prob(value, seen), expected)


def test_atoms_stand_for_the_same_places() -> None:
    one = next(name for name, make in WARPS.items() if make().atoms is not None)
    p = WARPS[one]().placed(torch.Generator().manual_seed(2))
    value, seen = likely(p), seen_of(p, "rows")
    close(p.conditional_log_prob(value, seen), by_differences(p._log_prob, p.scene, value, seen))
