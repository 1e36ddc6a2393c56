"""Pretraining: pieces of series are hidden, and a network fills them in from what is left.

The cells of a context that training windows hide are asked for, no others: the timestamp task of
TimeDRL (arXiv 2312.04142), without its augmentations and on masked cells alone. A linear layer
reads them from the tokens of the context and is thrown away; what stays are units, the linear
forecast and the weights of embedding and encoder, with which a warm start goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from hierforecast._random import drawing, seeded
from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions.precision import full_precision, promote
from hierforecast.errors import DataError
from hierforecast.models.base import Model
from hierforecast.models.linear_start import LinearStart
from hierforecast.nn.head import distances
from hierforecast.nn.scaled import clamp
from hierforecast.training.examples import PooledWindows
from hierforecast.training.plan import Plan
from hierforecast.windows.dataset import Chosen, Window, WindowDataset
from hierforecast.windows.hiding import HiddenPieces, Hide

# Windows that are looked at before a training for something that can be hidden.
LOOKED_AT = 64


class MaskedWindows(WindowDataset):
    """Windows whose outcome is what was hidden of their own contexts.

    Their horizon is not looked at, and of what is hidden the batch holds no trace: offsets are
    those of cells that are seen.

    Args:
        windows: the same windows, whole.
        hide: hides context cells.
    """

    def __init__(self, windows: WindowDataset, hide: Hide) -> None:
        vars(self).update(vars(windows))
        self.hide = hide

    def gathered(self, chosen: Chosen) -> Window:
        """The batch of what was chosen; the outcome has L steps, those of the context."""
        batch, future = super().gathered(chosen)
        cells = chosen.cells[:, : self.context_length]
        hidden = self.panel.present[cells] & ~chosen.present
        if chosen.early is not None:
            hidden &= (chosen.early >= 0)[chosen.window, : self.context_length]
        values = (self.panel.values[cells] - future.offset) / future.unit
        values = np.where(hidden[..., None], values, 0.0).astype(self.panel.dtype)
        asked = torch.from_numpy(values), torch.from_numpy(hidden)
        return Window(batch, Future(*asked, future.rows, future.cutoff))


@dataclass
class MaskedPooledWindows(PooledWindows):
    """`MaskedWindows` of pool after pool."""

    hide: Hide | None = None

    def at(self, batch: int) -> WindowDataset:
        """See `PooledWindows`."""
        assert self.hide is not None
        return MaskedWindows(super().at(batch), self.hide)


class Masked(Model):
    """A network that learns to fill in what is hidden of its contexts.

    What is filled in is the difference from `fill_gaps`: a line through a gap, the nearest value at
    an end. The layer that reads it from tokens begins at zero, so training starts from there.

    Args:
        model: built, statistics fitted; its embedding and encoder learn.
    """

    def __init__(self, model: LinearStart) -> None:
        super().__init__()
        assert model.task is not None
        self.model, self.task = model, model.task
        self.hidden = tuple(f"model.{name}" for name in model.hidden)
        width = model.embedding.position.shape[1]
        last = nn.Linear(width, model.embedding.patch * model.task.n_targets)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.read = nn.Sequential(nn.LayerNorm(width), last).to(model.horizon_scale)

    def loss(self, batch: SceneBatch, future: Future) -> Tensor:
        """Distance of what is filled in from what was hidden, a mean over these cells.

        Args:
            batch: the context.
            future: values and presence (P, L) of what was hidden, in the units of the batch.
        """
        found, truth = self.filled(batch, future.values)
        return distances(found, truth, future.present).sum() / future.present.sum().clamp(min=1)

    def filled(self, batch: SceneBatch, values: Tensor) -> tuple[Tensor, Tensor]:
        """What is filled in (P, L, D), and the true values (P, L, D) in the same units."""
        model = self.model
        with full_precision(batch.values) as networks:
            scaled = model.scaler.drawn(batch)
            truth = clamp(scaled.apply(values))
            scaled = scaled.clamp()
            base = model.linear(model._inputs(batch, scaled), model._codes(batch))
            with networks():
                tokens = model.encode(batch, scaled, base)
                (read,) = promote(self.read(tokens[:, : model.embedding.context_tokens]))
            read = rearrange(read, "p t (k d) -> p (t k) d", d=truth.shape[-1])
            unit = model.horizon_scale.mean(0)
            # A context is lengthened on the left to whole patches.
            return read[:, -truth.shape[1] :], (truth - scaled.relative) / unit


class Pretraining(NamedTuple):
    """What a pretraining trains, and by what: arguments of `train`."""

    model: Masked
    windows: WindowDataset | PooledWindows
    held_out: WindowDataset | None


def pretraining(
    plan: Plan,
    model: Model,
    windows: WindowDataset | PooledWindows,
    held_out: WindowDataset | None,
    rate: float,
) -> Pretraining:
    """A training by its masked cells alone; arguments as of `train`, and see `HiddenPieces`.

    Raises:
        DataError: if the model is none that learns values by masked cells, or nothing can be
            hidden. Demand is smoothed before: what is hidden would be known from what came later.
    """
    fills = isinstance(model, LinearStart) and model.scaler.learns_loc
    if not isinstance(model, LinearStart) or not fills or model.origin == "history":
        raise DataError(
            f"pretrain asks for values that were hidden, and {type(model).__name__} as it is built "
            "here cannot be asked: it is for HiPerformer with scale='coordinates', 'mirrored' or "
            "'series' (not for demand or returns); call fit"
        )
    first = windows.first if isinstance(windows, PooledWindows) else windows
    some = first.__getitems__(range(min(LOOKED_AT, len(first)))).batch.present
    if not (some.sum(1) > 1).any():
        raise DataError(
            "pretrain hides pieces of contexts and asks for them, but no series here has two "
            f"observed steps in one (context_length={plan.context_length}): give a longer "
            "context, or call fit"
        )
    hide = HiddenPieces(rate)
    with drawing(seeded(plan.seed)):
        masked = Masked(model)
    checks = None if held_out is None else MaskedWindows(held_out, hide)
    shown = MaskedWindows(first, hide)
    if not isinstance(windows, PooledWindows):
        return Pretraining(masked, shown, checks)
    pooled = MaskedPooledWindows(windows.pools, windows.plan, windows.model, shown, hide)
    return Pretraining(masked, pooled, checks)
