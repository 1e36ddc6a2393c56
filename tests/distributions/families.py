"""Families over a few scenes, values of them, and the definition that judges them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Laplace, MultivariateNormal, Normal, StudentT

from hierforecast.distributions import IndependentScenes, LowRankNormal, SceneDistribution

SCENE = torch.tensor([2, 0, 2, 0, 4, 2, 1])  # unsorted; scene 3 has no rows
N_SCENES, STEPS, TARGETS = 5, 3, 2
SHAPE = (len(SCENE), STEPS, TARGETS)
F64 = torch.float64


def low_rank(
    scene: Tensor = SCENE,
    n_scenes: int = N_SCENES,
    steps: int = STEPS,
    targets: int = TARGETS,
    rank: int = 3,
    private: int | None = 2,
    scale: float = 0.5,
    seed: int = 0,
    family: type[LowRankNormal] = LowRankNormal,
) -> LowRankNormal:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(scene), steps, targets)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=F64)

    loc, noise, shared = normal(*shape), normal(*shape), normal(*shape, rank)
    own = None if private is None else normal(*shape, private)
    return family(loc, scale * (0.3 * noise).exp(), shared, own, scene, n_scenes)


def independent(name: str) -> IndependentScenes:
    p = low_rank()
    bases = {
        "normal": Normal(p.loc, p.scale),
        "student": StudentT(3 + p.scale, p.loc, p.scale),
        "laplace": Laplace(p.loc, p.scale),
    }
    return IndependentScenes(bases[name], SCENE, N_SCENES)


def any_family(name: str) -> SceneDistribution:
    return low_rank() if name == "lowrank" else independent(name)


FAMILIES = ["lowrank", "normal", "student", "laplace"]


def some_value(seed: int = 1, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def some_observed(rows: int = len(SCENE), steps: int = STEPS) -> Tensor:
    seen = torch.rand(rows, steps, generator=torch.Generator().manual_seed(2)) < 0.6
    seen[0], seen[1, 0], seen[1, 1] = False, True, False  # a row never seen, a row with a gap
    return seen


def dense_covariance(p: LowRankNormal, scene: int) -> Tensor:
    """The definition, read aloud: the factor of all latents of the scene, latent by latent."""
    rows = [i for i, s in enumerate(p.scene.tolist()) if s == scene]
    columns = list(torch.cat([p.scene_factor[i].flatten(0, 1) for i in rows]).unbind(-1))
    for i in rows:
        for latent in p.series_factor[i].flatten(0, 1).unbind(-1):
            parts = [latent if j == i else torch.zeros_like(latent) for j in rows]
            columns.append(torch.cat(parts))
    noise = torch.cat([p.scale[i].flatten() for i in rows]).square().diag()
    return noise + sum(c[:, None] * c for c in columns)


def dense_log_prob(p: LowRankNormal, value: Tensor, seen: Tensor) -> Tensor:
    out = torch.zeros(p.n_scenes, dtype=F64)
    for scene in range(p.n_scenes):
        rows = p.scene == scene
        cells = seen[rows].unsqueeze(-1).expand(-1, *value.shape[1:]).flatten()
        if cells.any():
            covariance = dense_covariance(p, scene)[cells][:, cells]
            dense = MultivariateNormal(p.loc[rows].flatten()[cells], covariance)
            out[scene] = dense.log_prob(value[rows].flatten()[cells])
    return out


def check_against_dense(p: LowRankNormal) -> None:
    """The judge of exactness: with every cell observed, and with cells and rows missing."""
    value = some_value()
    for seen in (torch.ones(SHAPE[:2], dtype=torch.bool), some_observed()):
        torch.testing.assert_close(
            p.log_prob(value, seen), dense_log_prob(p, value, seen), rtol=0, atol=1e-9
        )


def leaves(p: LowRankNormal, dtype: torch.dtype = F64) -> list[Tensor]:
    parts = (p.loc, p.scale, p.scene_factor, p.series_factor)
    return [x.detach().to(dtype).requires_grad_() for x in parts]
