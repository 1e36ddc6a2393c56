"""What a row is like once all others are known: its log density, step by step.

Of a joint Gaussian, the precision of a row given all others is a diagonal block of the joint
precision. It comes from one elimination of the latents, whatever the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.distributions.latents import Found, Latents
from hierforecast.distributions.noise import RowNoise
from hierforecast.distributions.precision import no_autocast
from hierforecast.distributions.roots import cholesky

# Numbers of the matrices that are held at a time.
_HELD = 4_000_000


class Conditional:
    """The question of a `SceneDistribution` for each row given all others, and the plain answer.

    Attributes:
        has_conditionals: whether there is a formula; else the answer takes a likelihood of all for
            each step of each row of the largest scene.
    """

    has_conditionals = False

    scene: Tensor
    _seen: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
    _log_prob: Callable[[Tensor, Tensor], Tensor]

    def conditional_log_prob(self, value: Tensor, observed: Tensor | None = None) -> Tensor:
        """Log density of each step of a row given all other rows and its own earlier steps.

        The parts of a row add up to its log density given all others (chain rule). They have no
        gradients.

        Args:
            value: (P, H, D); cells that are not observed may hold anything, NaN too.
            observed: as in `log_prob`.

        Returns:
            (P, H), 0 where nothing is observed.

        Raises:
            ValueError: as `log_prob`, and if `value` has axes more.
        """
        if value.ndim != 3:
            raise ValueError(f"value must be (P, H, D), one future, got {tuple(value.shape)}")
        value, seen = self._seen(value, observed)
        with torch.no_grad(), no_autocast(value):
            return self._conditional_log_prob(value, seen)

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        """The unchecked implementation, here by differences of `log_prob`."""
        return by_differences(self._log_prob, self.scene, value, seen)


def by_differences(
    log_prob: Callable[[Tensor, Tensor], Tensor], scene: Tensor, value: Tensor, seen: Tensor
) -> Tensor:
    """Steps (P, H) as differences of joint log densities, for any family.

    Rows of different scenes are looked at together: it takes as many evaluations of the joint
    density as the largest scene has steps of rows.
    """
    rank = _rank(scene)
    whole = log_prob(value, seen)
    found = whole.new_zeros(seen.shape[:2])
    for number in range(int(rank.max()) + 1 if len(rank) else 0):
        own, left, later = rank == number, seen.clone(), whole
        for step in reversed(range(seen.shape[1])):
            here = own & seen[:, step].any(-1)
            if here.any():
                left[own, step] = False
                earlier = log_prob(value, left)
                found[here, step] = (later - earlier)[scene[here]]
                later = earlier
    return found


def _rank(scene: Tensor) -> Tensor:
    """The number (P,) of each row among those of its scene."""
    order = scene.argsort(stable=True)
    count = scene.bincount()
    rank = torch.empty_like(scene)
    start = (count.cumsum(0) - count)[scene[order]]
    rank[order] = torch.arange(len(scene), device=scene.device) - start
    return rank


class White(NamedTuple):
    """Errors of each cell given all other rows and the earlier cells of its own.

    Attributes:
        error: (S, P, H, D), standard normal, 0 where not seen.
        log_scale: (P, H, D), by what they were divided, 0 where not seen.
    """

    error: Tensor
    log_scale: Tensor

    def steps(self, seen: Tensor) -> Tensor:
        """Log densities (S, P, H) of the steps of a joint Gaussian."""
        return -(0.5 * self.error.square().sum(-1) + self._volume(seen))

    def radial(
        self,
        radial: Callable[[Tensor, Tensor], Tensor],
        cells: Tensor,
        square: Tensor,
        seen: Tensor,
    ) -> Tensor:
        """Log densities (P, H) of a family whose log density is a Gaussian's, but for the distance.

        Args:
            radial: of how many cells (P, H + 1) lie at what squared distance, what stands in the
                place of minus half of the distance.
            cells, square: (P,), of all that is seen in each row's scene.
            seen: (P, H, D) bool.
        """
        here = seen.sum(-1).to(cells), self.error[0].square().sum(-1)
        cells, square = (
            (whole - own.sum(1))[:, None] + F.pad(own.cumsum(1), (1, 0))
            for whole, own in zip((cells, square), here, strict=True)
        )
        found = radial(cells, square.clamp(min=0)).diff(dim=1)
        return torch.where(seen.any(-1), found - self._volume(seen), 0)

    def _volume(self, seen: Tensor) -> Tensor:
        """(P, H), minus the log densities at the mean."""
        return (self.log_scale + 0.5 * math.log(2 * math.pi) * seen.to(self.log_scale)).sum(-1)


def given_others(
    columns: Tensor, found: Sequence[Found], levels: Sequence[Latents], noise: RowNoise,
    seen: Tensor,
) -> White:  # fmt: skip
    """Errors of the rows of a joint Gaussian, each given all others.

    With W whitening a row by its noise, F_l the root of what latents of level l explain of it once
    all rows are seen, and q what is left of its errors by the best latents, the row's block of the
    precision is W' (I - sum_l F_l F_l') W, and its part of the precision times the errors W' q.

    Args:
        columns: (P, k, S), those of the rows that `infer` leaves, the first m of which are q.
        found: of each level, see `infer`.
        levels: fine to coarse.
        noise: of the rows.
        seen: (P, H, D) bool.
    """
    cells = seen.shape[1:].numel()
    ranks = max(cells, *(level.rank for level in levels))
    parts = [
        _some(columns, found, levels, noise, seen, rows)
        for rows in torch.arange(len(seen), device=seen.device).split(
            max(1, _HELD // (ranks * ranks))
        )
    ]
    errors, log_scale = (torch.cat(each) for each in zip(*parts, strict=True))
    shape = seen.shape[1:]
    return White(errors.unflatten(1, shape).movedim(-1, 0), log_scale.unflatten(1, shape))


def _some(
    columns: Tensor, found: Sequence[Found], levels: Sequence[Latents], noise: RowNoise,
    seen: Tensor, rows: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Errors (p, m, S) and log scales (p, m) of some rows (p,)."""
    mask = seen[rows]
    cells = mask.flatten(1)
    count = cells.shape[1]
    eye = torch.eye(count, dtype=columns.dtype, device=columns.device)
    each = eye.expand(len(rows), -1, -1).unflatten(1, mask.shape[1:])
    white, _ = noise.change(lambda x: x[rows]).whiten(each[..., :0], each, mask)
    white = white.flatten(1, 2) * cells[:, None]
    left = eye.expand(len(rows), -1, -1)
    for level, (_, root, load) in zip(levels, found, strict=True):
        own = load[rows, :count]
        if level.mix is not None:
            own = own @ level.mix[rows].to(own)
        each_root = root[rows if level.owner is None else level.owner[rows]]
        own = torch.linalg.solve_triangular(each_root, own.mT, upper=False)
        left = left - own.mT @ own
    precision = white.mT @ left @ white + (~cells).to(eye).diag_embed()
    right = white.mT @ columns[rows, :count]
    # Cells in their order: an upper triangular root, by way of the reversed matrix.
    reversed_root = cholesky(precision.flip(1, 2))
    errors = torch.linalg.solve_triangular(reversed_root, right.flip(1), upper=False).flip(1)
    log_scale = -reversed_root.diagonal(dim1=1, dim2=2).log().flip(1)
    return errors * cells[..., None], torch.where(cells, log_scale, 0)


def mixed(joint: Tensor, steps: Tensor) -> Tensor:
    """Log densities (P, H) of the steps of a mixture.

    Args:
        joint: (K, P), log densities of each component and of all that is seen, its weight in it.
        steps: (K, P, H), those of each component's steps, given others and earlier ones.
    """
    later = steps.flip(-1).cumsum(-1).flip(-1)
    before = joint[..., None] - later
    # In units of the likeliest: the others may be far below.
    before = before - before.amax(0)
    return (before + steps).logsumexp(0) - before.logsumexp(0)
