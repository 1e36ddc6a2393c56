"""How much of their errors series share, to begin with: a network says only how that differs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hierforecast.nn.groups import sums
from hierforecast.nn.head import Scenes

# Errors beyond so many scales count as these; all that is shared is this part at most.
_CLIP, _MOST = 4.0, 0.9


class SharedStart(nn.Module):
    """Shares of the errors' variance that all series of a scene have in common, and of a group.

    They are moments of training windows: mean products of the errors of two different series, wave
    by wave along the horizon, so an error of all that comes and goes is told from one that stays.
    Without them a distribution begins with series that err independently: the interval of a total
    is far too narrow, and a few windows hardly teach a network who shares what. Where ways of
    grouping cross, some of what a group shares counts as the scene's.

    Args:
        rank: R, waves of a scene's errors along the horizon, the first of them constant.
        n_levels: of groups, as many as `Scenes.owners` has; what they share is constant.

    Attributes:
        shares: (R + levels,), mean over the horizon.
    """

    added = ("shares",)  # earlier versions saved none

    def __init__(self, rank: int, n_levels: int) -> None:
        super().__init__()
        self.rank = rank
        self.shares: Tensor
        self.register_buffer("shares", torch.zeros(rank + n_levels))

    @torch.no_grad()
    def fit(self, error: Tensor, present: Tensor, scenes: Scenes) -> None:
        """Learn from errors (P, H, D) over their scale; rows with a missing cell count for nothing.

        Args:
            error: of training windows.
            present: (P, H) which of them are known.
            scenes: which rows belong together.
        """
        whole = present.all(1)
        error = torch.where(whole[:, None, None], error, 0).double().clamp(-_CLIP, _CLIP)
        steps = error.shape[1]
        basis = waves(steps, self.rank, error)
        basis = basis / basis.square().sum(0).sqrt().clamp(min=1e-9)
        along = torch.einsum("phd,hk->pkd", error, basis)
        size = error.square().sum() / (whole.sum().clamp(min=1) * steps * error.shape[2])

        def paired(owner: Tensor, count: int) -> tuple[Tensor, Tensor]:
            """Sum (R,) of the products of two rows of one owner, and how many there are."""
            both = sums(along, owner, count).square() - sums(along.square(), owner, count)
            rows = sums(whole.double(), owner, count)
            return both.sum(0).mean(-1), (rows * (rows - 1)).sum()

        # Windows overlap: so many steps of them, so many errors count as one.
        doubt = size * math.sqrt(2 * steps)
        ways = [paired(owner, n) for owner, n in zip(scenes.owners, scenes.counts, strict=True)]
        nested, crossed = ways[: len(scenes.groups)], ways[len(scenes.groups) :]
        every = [paired(scenes.scene, scenes.n_scenes), *nested[::-1]]
        scene, of_nested = _by_level(every, doubt)
        of_crossed = [(_mean(*way, doubt)[:1] - scene[:1]).clamp(min=0) for way in crossed]
        # Of the variance of a step, a mean over the horizon.
        shares = torch.cat([scene, *of_nested[::-1], *of_crossed]) / (steps * size.clamp(min=1e-9))
        self.shares.copy_(shares * (_MOST / shares.sum().clamp(min=_MOST)))

    def loads(self, steps: int) -> Tensor:
        """Loads (R + levels,) of latents, where all that is not shared has a variance of one."""
        wave = waves(steps, self.rank, self.shares).square().mean(0).clamp(min=1e-9)
        power = torch.cat([wave, torch.ones_like(self.shares[self.rank :])])
        return (self.shares / power / (1 - self.shares.sum())).sqrt()


def _by_level(parts: list[tuple[Tensor, Tensor]], doubt: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What two rows share in a scene (R,), and how much more in groups (1,), coarse to fine.

    Args:
        parts: of the scene and of nested groups, coarse to fine: sum over pairs, and their number.
        doubt: see `_mean`.
    """
    finer = [*parts[1:], (0 * parts[0][0], 0 * parts[0][1])]
    apart = [(a - c, b - d) for (a, b), (c, d) in zip(parts, finer, strict=True)]
    known = [_mean(total, pairs, doubt) if pairs > 0 else None for total, pairs in apart]
    # Where all series are in one group, what they share is the scene's.
    scene = next((x for x in known if x is not None), 0 * parts[0][0])
    last, more = scene[:1], []
    for own in known[1:]:
        now = last if own is None else torch.maximum(own[:1], last)
        more.append(now - last)
        last = now
    return scene, more


def _mean(total: Tensor, pairs: Tensor, doubt: Tensor) -> Tensor:
    """Mean over pairs less what chance may explain, no less than zero; zero of none.

    Args:
        total: (R,) sum of products.
        pairs: (), how many.
        doubt: (), standard error of a mean over one pair of strangers.
    """
    pairs = pairs.clamp(min=1)
    return (total / pairs - doubt * pairs.rsqrt()).clamp(min=0)


def waves(steps: int, count: int, like: Tensor) -> Tensor:
    """The slowest cosines along the horizon (steps, count), the first of them constant.

    There are no more than steps; the others are zero.
    """
    at = torch.arange(steps, device=like.device, dtype=like.dtype) + 0.5
    wave = torch.arange(count, device=like.device, dtype=like.dtype)
    return (math.pi / steps * at[:, None] * wave).cos() * (wave < steps)
