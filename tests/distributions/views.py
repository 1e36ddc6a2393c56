"""Mixtures of views of every family, scene by scene, and their parts one by one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal, StudentT

from hierforecast.distributions import (
    IndependentRows,
    IndependentScenes,
    IndependentSteps,
    JointStudent,
    LowRankNormal,
    ModeMixture,
    RecursiveNoise,
    SceneDistribution,
    SceneMixture,
)

H, D = 4, 2
SCENE = torch.tensor([1, 0, 1, 2, 0, 1])
VIEWS = torch.tensor([0, 2, 1, 1, 2, 1, 3, 3])  # scene 0 has one view, 1 three; 3 has no rows
P, B = len(SCENE), 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 31 * len(shape) + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def rows_of_views() -> tuple[Tensor, Tensor]:
    """The view and the row of each row of the views, shuffled."""
    pairs = [
        (view, row)
        for view, scene in enumerate(VIEWS.tolist())
        for row in (scene == SCENE).nonzero()[:, 0].tolist()
    ]
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(3))
    view, row = torch.tensor(pairs)[order].T
    return view, row


def low_rank(scene: Tensor, memory: int = 0, rank: int = 2) -> LowRankNormal:
    n = len(scene)
    scale = 0.3 + normal(n, H, D).abs()
    noise = RecursiveNoise(scale, normal(n, H, D, memory)) if memory else scale
    factors = normal(n, H, D, rank), normal(n, H, D, 2, seed=1)
    return LowRankNormal(2 * normal(n, H, D, seed=2), noise, *factors, scene, len(VIEWS))


def student(scene: Tensor) -> JointStudent:
    return JointStudent(low_rank(scene), 3 + normal(len(VIEWS)).abs())


def modes(scene: Tensor) -> ModeMixture:
    locs, logits = 2 * normal(3, len(scene), H, D), normal(len(VIEWS), 3)
    return ModeMixture(locs, logits, low_rank(scene, memory=2))


def steps(scene: Tensor) -> IndependentSteps:
    n = len(scene)
    parts = 2 * normal(n, H, D), 0.2 + normal(n, H, D).abs(), normal(n, H, D, 2)
    return IndependentSteps.student(*parts, 4 + normal(n, H).abs(), scene, len(VIEWS))


def rows(scene: Tensor) -> IndependentRows:
    one = low_rank(scene, memory=2)
    df = 4 + normal(len(scene)).abs()
    return IndependentRows.student(one.loc, one.noise, one.series_factor, df, scene, len(VIEWS))


def grouped(scene: Tensor) -> LowRankNormal:
    """Rows of one view in two groups, each with latents of its own."""
    one = low_rank(scene)
    groups = 2 * scene + torch.arange(len(scene)) % 2, normal(len(scene), H, D, 1)
    parts = one.loc, one.scale, one.scene_factor, one.series_factor, scene, len(VIEWS)
    return LowRankNormal(*parts, group_factors=[groups[::-1]])


def independent(scene: Tensor, heavy: bool = False) -> IndependentScenes:
    loc, scale = 2 * normal(len(scene), H, D), 0.2 + normal(len(scene), H, D).abs()
    base = StudentT(4.0 + 0 * loc, loc, scale) if heavy else Normal(loc, scale)
    return IndependentScenes(base, scene, len(VIEWS))


FAMILIES: dict[str, Callable[[Tensor], SceneDistribution]] = {
    "diagonal": low_rank,
    "recursive": lambda scene: low_rank(scene, memory=2),
    "student": student,
    "modes": modes,
    "steps": steps,
    "rows": rows,
    "groups": grouped,
    "independent": independent,
    "independent student": lambda scene: independent(scene, heavy=True),
}


def make(name: str, kind: type[SceneMixture] = SceneMixture) -> SceneMixture:
    view, row = rows_of_views()
    logits = 3 + normal(len(VIEWS), seed=9)  # their sum is not one
    return kind(FAMILIES[name](view), VIEWS, row, logits, SCENE, B)


def parts(p: SceneMixture, scene: int) -> list[tuple[float, SceneDistribution]]:
    """Weight and distribution of each view of a scene, its rows in the order of the scene's."""
    chosen = (scene == VIEWS).nonzero()[:, 0]
    weights = p.logits[chosen].softmax(0)
    mine = (scene == SCENE).nonzero()[:, 0]
    out = []
    for weight, view in zip(weights, chosen, strict=True):
        where = [int(((p.base.scene == view) & (p.row_of == row)).nonzero()) for row in mine]
        out.append((float(weight), p.base.rows(torch.tensor(where, dtype=torch.int64))))
    return out


def close(a: Tensor, b: Tensor, limit: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=limit, atol=limit)
