"""Noise that recurs along time: errors of a step carry on into those that follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hierforecast._waiting import at_hand
from hierforecast.distributions.checks import is_everything
from hierforecast.distributions.noise import TargetNoise, divide


class RecursiveNoise(TargetNoise):
    """An autoregression along time: x_h = a_1 x_(h-1) + ... + a_M x_(h-M) + shock, from rest.

    Any coefficients make a proper distribution: T is unit triangular whatever they are.

    Args:
        scale: (P, H, D), > 0, of the shocks.
        memory: (P, H, D, M), coefficients of the M steps before, the nearest first. Those that
            would reach before the first step are not used.
    """

    def __init__(self, scale: Tensor, memory: Tensor) -> None:
        self.scale, self.memory = scale, memory

    def carry(self, shocks: Tensor) -> Tensor:
        """See `RowNoise`."""
        memory = self.memory.unsqueeze(-1).unbind(1)  # of each step, (P, D, M, 1)
        errors: list[Tensor] = []
        for now, back in zip(shocks.unbind(1), memory, strict=True):
            for lag, before in enumerate(errors[: -back.shape[2] - 1 : -1]):
                now = torch.addcmul(now, back[:, :, lag], before)
            errors.append(now)
        return torch.stack(errors, 1)

    def draw(self, shocks: Tensor, white: Tensor) -> Tensor:
        """See `RowNoise`."""
        shape = white.shape
        each = (shocks + self.scale * white).reshape(math.prod(shape[:-3]), *shape[-3:])
        return self.carry(each.movedim(0, -1)).movedim(-1, 0).reshape(shape)

    def whiten(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowNoise`.

        Where a row is seen without gaps its shocks are what its errors say; the others are filtered
        (Kalman, 1960), all columns with the same gains.
        """
        both = shocks, self.shocks(errors)
        if is_everything(seen):
            return divide(torch.cat(both, -1), self.scale, seen)
        gaps = ((~seen).cumsum(1).bool() & seen).any(2).any(1)
        if not at_hand(seen) or bool(gaps.all()):
            return self._filter(torch.cat([x.movedim(1, 0) for x in both], -1), seen)
        columns = torch.cat(both, -1)
        white, volume = divide(columns, self.scale, seen)
        if bool(gaps.any()):
            some = self.change(lambda x: x[gaps])
            filtered, log_scale = some._filter(columns[gaps].movedim(1, 0), seen[gaps])
            white, volume = (
                x.index_put((gaps,), y) for x, y in ((white, filtered), (volume, log_scale))
            )
        return white, volume

    def shocks(self, errors: Tensor) -> Tensor:
        """The inverse of `carry`: errors (P, H, D, C) to shocks."""
        shocks = errors
        for lag in range(1, min(self.memory.shape[-1], errors.shape[1] - 1) + 1):
            carried = self.memory[:, lag:, :, lag - 1, None] * errors[:, :-lag]
            shocks = shocks - torch.cat([torch.zeros_like(errors[:, :lag]), carried], 1)
        return shocks

    def _filter(self, shocks: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Innovations (P, H, D, C) of the seen errors, whitened, and their log volume (P,).

        The state is by how much the last M errors, as the shocks (H, P, D, C) make them, miss what
        was expected of them from those that are seen. The errors of cells that are not seen may be
        anything.
        """
        variance, gains = self._gains(seen)
        # Steps first, so that each is one piece of memory.
        rest = (x.movedim(1, 0) for x in (self.memory, gains, seen))
        innovations = _Filter.apply(*(x.contiguous() for x in (shocks, *rest))).movedim(0, 1)
        volume = torch.where(seen, 0.5 * variance.log(), 0).sum((1, 2))
        return innovations * variance.rsqrt()[..., None], volume

    def _gains(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Variances (P, H, D) of the innovations, and gains (P, H, D, M - 1) of earlier errors.

        That of the error which is seen itself is one: nothing of it is left to expect.
        """
        lags = range(self.memory.shape[-1])
        nothing = torch.zeros_like(self.scale[:, 0])
        # Covariance of the state, of each error with those before it.
        covariance: list[list[Tensor]] = [[nothing] * (i + 1) for i in lags]
        variances, gains = [], []
        here = seen.to(self.scale)
        steps = (x.unbind(1) for x in (self.memory, self.scale.square(), here, 1 - here))
        for memory, own, one, zero in zip(*steps, strict=True):
            back = memory.unbind(-1)
            cross = [_dot(back, [covariance[max(i, j)][min(i, j)] for i in lags]) for j in lags]
            variance = _dot(back, cross, own)
            weight = one / variance
            gain = [x * weight for x in cross[:-1]]
            kept = [x * zero for x in (variance, *cross[:-1])]
            covariance = [
                [
                    kept[i] if j == 0 else
                    torch.addcmul(covariance[i - 1][j - 1], gain[i - 1], cross[j - 1], value=-1)
                    for j in range(i + 1)
                ]
                for i in lags
            ]  # fmt: skip
            variances.append(variance)
            gains.append(gain)
        each = [torch.stack(gain, 1) for gain in zip(*gains, strict=True)]
        variance = torch.stack(variances, 1)
        return variance, torch.stack(each, -1) if each else self.memory[..., :0]

    @property
    def variance(self) -> Tensor:
        """See `RowNoise`."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).movedim(1, 2)

    @property
    def root(self) -> Tensor:  # type: ignore[override]
        """See `TargetNoise`."""
        shocks = self.scale.movedim(1, 2).diag_embed().movedim(1, 2)  # (P, H, D, H)
        return self.carry(shocks).movedim(1, 2)

    def back(self, weights: Tensor) -> Tensor:
        """See `TargetNoise`: what a shock does to the steps after it, from the last one on."""
        memory = self.memory.unsqueeze(-1).unbind(1)
        effects: list[Tensor] = []  # of the shocks of this step and of later ones, the next first
        steps = weights.unbind(1)
        for at in reversed(range(len(steps))):
            now = steps[at]
            for lag, after in enumerate(effects[: memory[at].shape[2]], start=1):
                now = torch.addcmul(now, memory[at + lag][:, :, lag - 1], after)
            effects.insert(0, now)
        return self.scale[..., None] * torch.stack(effects, 1)

    def change(self, parameter: Callable[[Tensor], Tensor]) -> RecursiveNoise:
        """See `RowNoise`."""
        return RecursiveNoise(parameter(self.scale), parameter(self.memory))

    def times(self, factor: Tensor) -> RecursiveNoise:
        """See `RowNoise`."""
        factor = factor.expand(self.scale.shape)
        earlier = [factor.roll(lag, 1) for lag in range(1, self.memory.shape[-1] + 1)]
        ratio = factor[..., None] / torch.stack(earlier, -1)
        return RecursiveNoise(factor.abs() * self.scale, self.memory * ratio)


def _dot(one: Sequence[Tensor], other: Sequence[Tensor], start: Tensor | None = None) -> Tensor:
    """Sum of products, added to a start."""
    pairs = iter(zip(one, other, strict=True))
    total = torch.mul(*next(pairs)) if start is None else start
    for a, b in pairs:
        total = torch.addcmul(total, a, b)
    return total


class _Filter(torch.autograd.Function):
    """Innovations of columns of shocks by given gains; its gradient is a recursion backwards.

    m = (m_1, .., m_M) is by how much the last errors miss what was expected of them. At each step
    n = shock + a . m, the innovation e = n where the cell is seen and 0 elsewhere, and then
    m <- (n - e, m_1 - g_1 e, .., m_(M-1) - g_(M-1) e). A graph of all steps would take many times
    as long.
    """

    @staticmethod
    def forward(ctx: Any, shocks: Tensor, memory: Tensor, gains: Tensor, seen: Tensor) -> Tensor:
        """Shocks (H, P, D, C), memory (.., M), gains (.., M - 1), seen (H, P, D): as shocks."""
        back, gain, here = _by_lag(memory, gains, seen)
        states = shocks.new_empty(len(shocks) + 1, *back.shape[1:-1], shocks.shape[-1])
        states[0] = 0
        innovations, now = torch.empty_like(shocks), torch.empty_like(shocks[0])
        for step, (shock, innovation) in enumerate(zip(shocks, innovations, strict=True)):
            before, after = states[step], states[step + 1]
            torch.addcmul(shock, back[step, 0], before[0], out=now)
            for a, m in zip(back[step, 1:], before[1:], strict=True):
                now.addcmul_(a, m)
            torch.mul(now, here[step], out=innovation)
            torch.sub(now, innovation, out=after[0])
            for lag, g in enumerate(gain[step]):
                torch.addcmul(before[lag], g, innovation, value=-1, out=after[lag + 1])
        ctx.save_for_backward(states, innovations, memory, gains, seen)
        return innovations

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of shocks, memory and gains."""
        states, innovations, memory, gains, seen = ctx.saved_tensors
        back, gain, here = _by_lag(memory, gains, seen)
        shocks = torch.empty_like(innovations)
        to_memory, to_gains = (torch.empty_like(x[..., 0]) for x in (back, gain))
        after, before = torch.zeros_like(states[0]), torch.empty_like(states[0])
        for step in reversed(range(len(innovations))):
            own, shock = above[step] - after[0], shocks[step]
            for g, m in zip(gain[step], after[1:], strict=True):
                own.addcmul_(g, m, value=-1)
            torch.addcmul(after[0], here[step], own, out=shock)
            to_gains[step] = (innovations[step] * after[1:]).sum(-1).neg()
            to_memory[step] = (shock * states[step]).sum(-1)
            torch.mul(back[step], shock, out=before)
            before[:-1] += after[1:]
            after, before = before, after
        return shocks, to_memory.movedim(1, -1), to_gains.movedim(1, -1), None


def _by_lag(memory: Tensor, gains: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Memory and gains (H, M, P, D, 1), and seen cells (H, P, D, 1) as zeros and ones."""
    back, gain = (x.movedim(-1, 1).contiguous()[..., None] for x in (memory, gains))
    return back, gain, seen[..., None].to(memory)
