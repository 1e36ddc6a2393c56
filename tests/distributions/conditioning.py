"""Distributions of every family over the same six rows, and which of their cells are known."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal, StudentT

from hierforecast.distributions import (
    CoupledNormal,
    IndependentRows,
    IndependentScenes,
    IndependentSteps,
    JointStudent,
    LowRankNormal,
    ModeMixture,
    RecursiveNoise,
    ScaleMixture,
    SceneDistribution,
    Sinh,
    Warped,
)

P, H, D, R, Q, B, K = 6, 5, 2, 3, 2, 3, 4
SCENE = torch.tensor([1, 0, 1, 0, 1, 0])  # scene 2 is empty
# Nested, fine to coarse; some numbers are not used.
GROUPS = torch.arange(P), torch.tensor([0, 1, 0, 4, 2, 1]), torch.tensor([3, 1, 3, 1, 3, 1])


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 31 * len(shape) + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def low_rank(memory: int = 2, seed: int = 0, levels: int = 0) -> LowRankNormal:
    scale = 0.2 + normal(P, H, D, seed=seed).abs()
    noise = RecursiveNoise(scale, normal(P, H, D, memory, seed=seed + 1)) if memory else scale
    factors = normal(P, H, D, R, seed=seed + 2), normal(P, H, D, Q, seed=seed + 3)
    loc = normal(P, H, D, seed=seed + 4)
    return LowRankNormal(loc, noise, *factors, SCENE, B, None, grouped(levels, seed))


def coupled() -> LowRankNormal:
    p = low_rank(2)
    links = normal(P, 3, 3, 3, seed=18)
    slot = torch.tensor([0, 2, 1, 0, 2, 1])
    for row in range(P):
        links[row, :, slot[row]] = torch.eye(3, dtype=torch.float64)
    own = p.series_factor
    apart = LowRankNormal(p.loc, p.noise, own[..., :0], own, SCENE, B)
    return CoupledNormal.of(apart, links)


def grouped(levels: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Factors of the coarsest but one, of it and the finest, or of all three levels of groups."""
    chosen = {0: [], 1: [1], 2: [0, 1], 3: [0, 1, 2]}[levels]
    return [(normal(P, H, D, 1 + at % 2, seed=seed + 20 + at), GROUPS[at]) for at in chosen]


def student(memory: int = 2, levels: int = 0) -> JointStudent:
    df = torch.tensor([3.0, 5.5, 4.0], dtype=torch.float64)
    return JointStudent(low_rank(memory, levels=levels), df)


def mixture(memory: int = 2, levels: int = 0) -> ModeMixture:
    locs = 2 * normal(K, P, H, D, seed=5)
    return ModeMixture(locs, normal(B, K, seed=6), low_rank(memory, levels=levels))


def steps(levels: int = 0) -> IndependentSteps:
    parts = normal(P, H, D), 0.2 + normal(P, H, D).abs(), normal(P, H, D, R)
    return IndependentSteps.student(*parts, 4 + normal(P, H).abs(), SCENE, B, grouped(levels))


def rows(memory: int = 2) -> IndependentRows:
    p = low_rank(memory)
    df = 2.5 + normal(P, seed=20).abs()
    return IndependentRows.student(p.loc, p.noise, p.series_factor, df, SCENE, B)


def independent(heavy: bool = False) -> IndependentScenes:
    loc, scale = normal(P, H, D), 0.2 + normal(P, H, D).abs()
    base = StudentT(4.0 + 0 * loc, loc, scale) if heavy else Normal(loc, scale)
    return IndependentScenes(base, SCENE, B)


def stretched(memory: int = 2, levels: int = 0) -> ScaleMixture:
    scales = torch.tensor([0.5, 0.9, 1.7], dtype=torch.float64)
    return ScaleMixture(low_rank(memory, levels=levels), scales, normal(B, 3, seed=26))


def warped(base: SceneDistribution) -> Warped:
    """Heavy tails of each row; other maps are in warps.py."""
    size, tail = 1 / base.stddev, 0.5 * normal(P, 1, 1, seed=24)
    moved = base.affine(-size * base.mean, size)
    return Warped(moved, Sinh(normal(P, H, D, seed=25), 1.5, tail))


FAMILIES: dict[str, Callable[[], SceneDistribution]] = {
    "diagonal": lambda: low_rank(0),
    "order 1": lambda: low_rank(1),
    "order 2": lambda: low_rank(2),
    "order 9": lambda: low_rank(9),
    "coupled": coupled,
    "one level": lambda: low_rank(levels=1),
    "two levels": lambda: low_rank(levels=2),
    "three levels, diagonal": lambda: low_rank(0, levels=3),
    "student": student,
    "student, two levels": lambda: student(levels=2),
    "mixture": mixture,
    "mixture, diagonal": lambda: mixture(0),
    "mixture, one level": lambda: mixture(levels=1),
    "steps": steps,
    "steps, three levels": lambda: steps(levels=3),
    "rows": rows,
    "rows, diagonal": lambda: rows(0),
    "stretched": stretched,
    "stretched, two levels": lambda: stretched(levels=2),
    "warped": lambda: warped(low_rank()),
    "warped, two levels": lambda: warped(low_rank(levels=2)),
    "warped, stretched": lambda: warped(stretched()),
    "independent": independent,
    "independent student": lambda: independent(heavy=True),
}


def first_steps() -> Tensor:
    known = torch.zeros(P, H, D, dtype=torch.bool)
    known[:, :2] = True
    return known


def whole_rows() -> Tensor:
    known = torch.zeros(P, H, D, dtype=torch.bool)
    known[[0, 3]] = True
    return known


def scattered() -> Tensor:
    return normal(P, H, D, seed=7) > 0.3


KNOWN = {
    "first steps": first_steps,
    "whole rows": whole_rows,
    "scattered": scattered,
    "nothing": lambda: torch.zeros(P, H, D, dtype=torch.bool),
    "everything": lambda: torch.ones(P, H, D, dtype=torch.bool),
}


def close(a: Tensor, b: Tensor, limit: float = 1e-10) -> None:
    assert torch.allclose(a, b, rtol=limit, atol=limit), float((a - b).abs().max())


def cells_of(p: SceneDistribution, scene: int, x: Tensor) -> Tensor:
    return x[p.scene == scene].flatten()
