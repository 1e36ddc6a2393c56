"""A mixture of joint modes over a few scenes, and values of it."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.distributions import LowRankNormal, ModeMixture

SCENE = torch.tensor([2, 0, 2, 0, 4, 2, 1])  # unsorted; scene 3 has no rows
N_SCENES, STEPS, TARGETS, MODES = 5, 3, 2, 4
SHAPE = (len(SCENE), STEPS, TARGETS)
F64 = torch.float64


def mixture(
    scene: Tensor = SCENE,
    n_scenes: int = N_SCENES,
    steps: int = STEPS,
    targets: int = TARGETS,
    modes: int = MODES,
    family: type[ModeMixture] = ModeMixture,
) -> ModeMixture:
    generator = torch.Generator().manual_seed(0)
    shape = (len(scene), steps, targets)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=F64)

    scale, factors = 0.5 * (0.3 * normal(*shape)).exp(), (normal(*shape, 3), normal(*shape, 2))
    # The noise has a loc too: it moves all modes.
    noise = LowRankNormal(0.3 * normal(*shape), scale, *factors, scene, n_scenes)
    return family(2 * normal(modes, *shape), normal(n_scenes, modes), noise)


def some_value(seed: int = 1, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def some_observed() -> Tensor:
    seen = torch.rand(SHAPE[:2], generator=torch.Generator().manual_seed(2)) < 0.6
    seen[0], seen[1, 0], seen[1, 1] = False, True, False  # a row never seen, a row with a gap
    seen[6] = False  # a scene never seen
    return seen
