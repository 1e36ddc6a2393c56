"""Noise that recurs along time: errors of a step carry on into those that follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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
        columns = torch.cat([shocks, self._shocks(errors)], -1)
        white, volume = divide(columns, self.scale, seen)
        gaps = ((~seen).cumsum(1).bool() & seen).any(2).any(1)
        if bool(gaps.any()):
            some = self.change(lambda x: x[gaps])
            filtered, log_scale = some._filter(columns[gaps], seen[gaps])
            white, volume = (
                x.index_put((gaps,), y) for x, y in ((white, filtered), (volume, log_scale))
            )
        return white, volume

    def _shocks(self, errors: Tensor) -> Tensor:
        """The inverse of `carry`."""
        shocks = errors
        for lag in range(1, min(self.memory.shape[-1], errors.shape[1] - 1) + 1):
            carried = self.memory[:, lag:, :, lag - 1, None] * errors[:, :-lag]
            shocks = shocks - torch.cat([torch.zeros_like(errors[:, :lag]), carried], 1)
        return shocks

    def _filter(self, shocks: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Innovations (P, H, D, C) of the seen errors, whitened, and their log volume (P,).

        The state is by how much the last M errors, as the shocks make them, miss what was expected
        of them from those that are seen. The errors of cells that are not seen may be anything.
        """
        variance, gains = self._gains(seen)
        # Steps first, so that each is one piece of memory.
        first = (x.movedim(1, 0).contiguous() for x in (shocks, self.memory, gains, seen))
        innovations = _Filter.apply(*first).movedim(0, 1)
        volume = torch.where(seen, 0.5 * variance.log(), 0).sum((1, 2))
        return innovations * variance.rsqrt()[..., None], volume

    def _gains(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Variances (P, H, D) of the innovations, and gains (P, H, D, M) of the state."""
        lags = range(self.memory.shape[-1])
        nothing = torch.zeros_like(self.scale[:, 0])
        covariance: list[list[Any]] = [
            [nothing for _ in lags] for _ in lags
        ]  # covariance of the state
        variances, gains = [], []
        steps = self.memory.unbind(1), self.scale.square().unbind(1), seen.unbind(1)
        for memory, own, here in zip(*steps, strict=True):
            back = memory.unbind(-1)
            cross = [sum(back[i] * covariance[i][j] for i in lags) for j in lags]
            variance = own + sum(back[j] * cross[j] for j in lags)
            top = [variance, *cross[:-1]]
            covariance = [top, *([top[i], *covariance[i - 1][:-1]] for i in lags[1:])]
            gain = [torch.where(here, x / variance, 0) for x in top]
            covariance = [[covariance[i][j] - gain[i] * top[j] for j in lags] for i in lags]
            variances.append(variance)
            gains.append(torch.stack(gain, -1))
        return torch.stack(variances, 1), torch.stack(gains, 1)

    @property
    def variance(self) -> Tensor:
        """See `RowNoise`."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).movedim(1, 2)

    @property
    def covariance(self) -> Tensor:
        """See `RowNoise`."""
        shocks = self.scale.movedim(1, 2).diag_embed().movedim(1, 2)  # (P, H, D, H)
        root = self.carry(shocks).movedim(1, 2)
        return root @ root.mT

    def change(self, parameter: Callable[[Tensor], Tensor]) -> RecursiveNoise:
        """See `RowNoise`."""
        return RecursiveNoise(parameter(self.scale), parameter(self.memory))

    def times(self, factor: Tensor) -> RecursiveNoise:
        """See `RowNoise`."""
        factor = factor.expand(self.scale.shape)
        earlier = [factor.roll(lag, 1) for lag in range(1, self.memory.shape[-1] + 1)]
        ratio = factor[..., None] / torch.stack(earlier, -1)
        return RecursiveNoise(factor.abs() * self.scale, self.memory * ratio)


class _Filter(torch.autograd.Function):
    """Innovations of columns of shocks by given gains; its gradient is a recursion backwards.

    m = (m_1, .., m_M) is by how much the last errors miss what was expected of them. At each step
    n = shock + a . m, the innovation e = n where the cell is seen and 0 elsewhere, and then
    m <- (n, m_1, .., m_(M-1)) - g e. A graph of all steps would take many times as long.
    """

    @staticmethod
    def forward(ctx: Any, shocks: Tensor, memory: Tensor, gains: Tensor, seen: Tensor) -> Tensor:
        """Shocks (H, P, D, C), memory and gains (H, P, D, M), seen (H, P, D): (H, P, D, C)."""
        states = shocks.new_zeros(len(shocks) + 1, memory.shape[-1], *shocks.shape[1:])
        innovations = torch.empty_like(shocks)
        back, gain, here = (x.movedim(-1, 1)[..., None] for x in (memory, gains, seen[..., None]))
        for step, shock in enumerate(shocks):
            before, after = states[step], states[step + 1]
            now = shock + (back[step] * before).sum(0)
            innovations[step] = torch.where(here[step, 0], now, 0)
            after[0], after[1:] = now, before[:-1]
            after -= gain[step] * innovations[step]
        ctx.save_for_backward(states, innovations, memory, gains, seen)
        return innovations

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of shocks, memory and gains."""
        states, innovations, memory, gains, seen = ctx.saved_tensors
        back, gain, here = (x.movedim(-1, 1)[..., None] for x in (memory, gains, seen[..., None]))
        shocks, adjoints = torch.empty_like(innovations), torch.empty_like(states)
        adjoints[-1] = 0
        for step in reversed(range(len(innovations))):
            after, before = adjoints[step + 1], adjoints[step]
            own = above[step] - (gain[step] * after).sum(0)
            shocks[step] = after[0] + torch.where(here[step, 0], own, 0)
            torch.mul(back[step], shocks[step], out=before)
            before[:-1] += after[1:]
        to_memory = torch.einsum("hpdc,hmpdc->hpdm", shocks, states[:-1])
        to_gains = -torch.einsum("hpdc,hmpdc->hpdm", innovations, adjoints[1:])
        return shocks, to_memory, to_gains, None
