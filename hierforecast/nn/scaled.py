"""A context in the network's units, and the arithmetic of units: gaps, outliers, typical sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hierforecast._waiting import at_hand

# Sizes below this count as none: over them, float32 would overflow.
TINY = 1e-30
# The size of what never varied in training, in the unit of the training frame.
STILL = 0.01


@dataclass(frozen=True)
class Scaled:
    """The context in the network's units.

    Args:
        relative: (P, L, D) values less `loc`, over `scale`; gaps filled.
        absolute: (P, L, A) features that keep the absolute position (A may be 0).
        loc: (P, 1, D) and scale: (P, 1, D), in the units of the batch.
    """

    relative: Tensor
    absolute: Tensor
    loc: Tensor
    scale: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """Values (P, ..., D) of the batch in the network's units."""
        return (values - self.loc) / self.scale

    def mirrored(self, side: Tensor) -> Scaled:
        """The same seen in a mirror: side (P, 1, D) is -1 for each target that is turned round."""
        return Scaled(self.relative * side, self.absolute * side, self.loc, self.scale * side)

    def clamp(self) -> Scaled:
        """The same for a network, whose squares must fit: wild cells lie a million units off."""
        return replace(self, relative=clamp(self.relative), absolute=clamp(self.absolute))


def numbers(like: Tensor, *values: float) -> Tensor:
    """A few numbers (n,), made on a tensor's device: a copy from the host would wait for a GPU."""
    return torch.stack([like.new_full((), value) for value in values])


def columns(x: Tensor, chosen: Sequence[int]) -> Tensor:
    """Some columns of x (..., C): (..., c). An index of the host would make it wait for a GPU."""
    return torch.stack([x[..., i] for i in chosen], -1) if chosen else x[..., :0]


def clamp(x: Tensor) -> Tensor:
    """Numbers in the network's units, bounded so that their squares and sums fit float32."""
    return x.clamp(-1e6, 1e6)


def clip_outliers(x: Tensor, present: Tensor | None = None, limit: float = 20.0) -> Tensor:
    """Clip what lies beyond `limit` median sizes of a target, so that one wild cell spoils nothing.

    Args:
        x: (..., D).
        present: (...) cells to take the median over; None: all.
        limit: in median sizes; a target that is mostly zero is left as it is.
    """
    cells = (x if present is None else x[present]).detach().abs().flatten(0, -2)
    if not len(cells):
        return x
    bound = limit * median(cells)
    bound = torch.where(bound > 0, bound, torch.inf)
    return x.clamp(-bound, bound)


def median(x: Tensor) -> Tensor:
    """Median of each column, the lower of two: (N, D) -> (D,).

    On a CPU numpy selects it in an eighth of the time that torch takes.
    """
    if not x.is_cpu:
        return x.median(0).values
    middle = (len(x) - 1) // 2
    found = [np.partition(column, middle)[middle] for column in x.T.numpy()]
    return x.new_tensor(np.array(found))


def fill_gaps(values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Missing steps between two observed ones lie on a line; those at the ends hold still.

    A gap that held its last value would end in a jump, which no linear forecast survives.

    Args:
        values: (P, L, D).
        present: (P, L).

    Returns:
        filled (P, L, D), and the last observed value (P, 1, D); zero for rows never observed.
    """
    gaps = ~present.all(1)
    # Most rows have none.
    if at_hand(values) and not bool(gaps.all()):
        filled = values
        if bool(gaps.any()):
            filled = values.index_put((gaps,), _filled(values[gaps], present[gaps]))
    else:
        filled = _filled(values, present)
    return filled, filled[:, -1:]


def _filled(values: Tensor, present: Tensor) -> Tensor:
    """See `fill_gaps`."""
    values = torch.where(present[..., None], values, values.new_zeros(()))
    length = values.shape[1]
    steps = torch.arange(length, device=values.device).expand_as(present)
    before = torch.where(present, steps, -1).cummax(1).values
    after = torch.where(present, steps, length).flip(1).cummin(1).values.flip(1)
    left = torch.where(before < 0, after, before).clamp(max=length - 1)
    right = torch.where(after >= length, left, after)
    share = (steps - left).to(values.dtype) / (right - left).clamp(min=1).to(values.dtype)
    start, stop = (values.gather(1, at[..., None].expand_as(values)) for at in (left, right))
    return start + share[..., None] * (stop - start)


def root_mean_square(x: Tensor, present: Tensor) -> Tensor:
    """Root mean square over present cells, by target: x (..., D), present (...) -> (D,)."""
    square = torch.where(present[..., None], x, x.new_zeros(())).square().flatten(0, -2).sum(0)
    size = (square / present.sum().clamp(min=1)).sqrt()
    return torch.where(size > 0, size, torch.ones_like(size))


def positive(scale: Tensor, other: float = 1.0) -> Tensor:
    """Replace zeros by another size."""
    return torch.where(scale > TINY, scale, torch.full_like(scale, other))
