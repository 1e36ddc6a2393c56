"""Joint normals through every kind of warp, and values of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hierforecast.distributions import (
    Ceiling,
    Damped,
    LimitedSinh,
    Log,
    LowRankNormal,
    NegativeBinomial,
    Root,
    Rounded,
    Sinh,
    Warp,
    Warped,
)
from tests.distributions.conditioning import B, D, H, P, low_rank, normal

F64 = torch.float64


def base(levels: int = 0) -> LowRankNormal:
    """Of sizes from a quarter to one."""
    p = low_rank(2, levels=levels)
    size = 0.25 + 0.75 * torch.rand(P, H, D, generator=torch.Generator().manual_seed(40))
    return p.affine(-size * p.mean / p.stddev + 0.4 * normal(P, H, D, seed=41), size / p.stddev)


# Parameters of a cell, of a row, of a target and of all.
WARPS: dict[str, Callable[[], Warp]] = {
    "sinh": lambda: Sinh(normal(P, 1, 1), normal(P, H, D).exp(), 0.4 * normal(P, 1, 1, seed=2)),
    "sinh, turned": lambda: Sinh(0.5, -2.0, torch.tensor([0.3, 0.0], dtype=F64)),
    "limited sinh": lambda: LimitedSinh(
        normal(P, 1, 1), normal(P, H, D).exp(), 1 + 0.4 * normal(P, 1, 1, seed=2), 1.5
    ),
    "limited sinh, turned": lambda: LimitedSinh(
        0.5, -2.0, torch.tensor([2.0, 0.0], dtype=F64), 3.0
    ),
    "damped": lambda: Damped(normal(P, 1, 1), normal(P, H, D).exp()),
    "damped, turned": lambda: Damped(0.5, -2.0),
    "ceiling": lambda: Ceiling(
        normal(P, 1, 1), normal(P, H, D).exp(), 0.3 * normal(P, H, D, seed=8), normal(D).exp()
    ),
    "ceiling, turned": lambda: Ceiling(0.5, -2.0, 0.2, 0.5),
    "lognormal": lambda: Log(0.0, normal(P, 1, 1, seed=3).exp(), 0.0),
    "log": lambda: Log(0.0, normal(P, 1, 1, seed=3).exp(), 0.5 * normal(P, H, D, seed=4).exp()),
    "root": lambda: Root(0.0, normal(D, seed=3).exp(), 0.1 * normal(P, 1, D, seed=4).exp()),
    "log, turned": lambda: Log(1.0, -3.0, 0.5),
    "rounded": lambda: Rounded(0.0, 0.5, Log(0.0, 3 + normal(P, 1, 1, seed=5).exp(), 0.7)),
    "negative binomial": lambda: NegativeBinomial(
        0.0, 2.0, 3 * normal(P, H, D, seed=6).exp(), normal(P, 1, 1, seed=7).exp()
    ),
}
SMOOTH = [name for name in WARPS if not WARPS[name]().has_atoms]
COUNTS = ["rounded", "negative binomial"]
FLOORED = [*COUNTS, "log", "root"]


def warped(name: str, levels: int = 0) -> Warped:
    return Warped(base(levels), WARPS[name]())


def typical(p: Warped, seed: int = 0) -> Tensor:
    """A value (P, H, D) that the distribution could have drawn."""
    return p.sample((), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=WARPS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def single(p: Warped) -> Warped:
    parts = p.base.loc, p.base.noise.change(lambda x: x.float()), p.base.scene_factor
    b = LowRankNormal(
        *(x.float() if isinstance(x, Tensor) else x for x in parts),
        p.base.series_factor.float(), p.scene, B,
    )  # fmt: skip
    return Warped(b, p.warp.change(lambda x: x.float()))
