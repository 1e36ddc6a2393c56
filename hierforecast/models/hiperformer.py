"""HiPerformer: a hierarchically permutation-equivariant transformer (arXiv 2305.08073).

Data walks: scale -> tokens -> SA3 blocks -> horizon tokens -> head -> a joint law of all series.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from hierforecast._options import number, whole
from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import SceneDistribution
from hierforecast.errors import DataError
from hierforecast.nn.decoder import Decoder
from hierforecast.nn.embedding import TokenEmbedding
from hierforecast.nn.encoder import Encoder
from hierforecast.nn.heads import Head, head_to_dict, make_head
from hierforecast.nn.linear import LinearForecast, kind_of
from hierforecast.nn.scale import clamp, make_scale, tame
from hierforecast.task import Task


class HiPerformer(nn.Module):
    """Forecasts grouped series; commutes with every permutation that respects the groups.

    Without a `task` it is a plan only; `Forecaster.fit` builds it for the data at hand.

    Args:
        width: features of a token.
        depth: SA3 blocks.
        heads: attention heads.
        dropout: on every layer's output.
        head: ``"lowrank"`` (joint Gaussian), ``"mixture"`` (several joint futures), ``"gaussian"``
            (independent), ``"student"`` (heavy tails), ``"steps"`` (joint and heavy-tailed in each
            step, steps independent: returns), or a `Head`.
        patch: steps in a token, the whole context at most.
        scale: ``"coordinates"`` (positions in one space), ``"mirrored"`` (the same in a space that
            equals its mirror images: a court, a pitch), ``"series"`` (each by its own spread),
            ``"returns"`` (each by its recent size; no direction is learned), or ``"auto"``:
            coordinates for several targets, series for one.
        task: the shapes to build for.

    Raises:
        DataError: if an option is not what it may be.
    """

    # Where weights lie between hidden layers, for the optimiser.
    hidden = ("encoder", "embedding.read")

    def __init__(
        self,
        width: int = 128,
        depth: int = 2,
        heads: int = 8,
        dropout: float = 0.1,
        head: str | Head | Mapping[str, Any] = "lowrank",
        patch: int = 20,
        scale: str = "auto",
        waves: int = 0,
        task: Task | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.width, self.depth = whole("width", width), whole("depth", depth)
        self.heads, self.dropout = whole("heads", heads), number("dropout", dropout, 0, 0.99)
        self.patch, self.waves = whole("patch", patch), whole("waves", waves, 0)
        if self.width % self.heads:
            raise DataError(f"width={width} is not a multiple of heads={heads}: give one that is")
        self.head, self.scale = head, scale
        self.task = Task.from_dict(dict(task)) if isinstance(task, Mapping) else task
        self._law = make_head(head)
        make_scale(scale, n_targets=1)  # an unknown name is an error here, not at fit
        if self.task is not None:
            self._build(self.task)

    def _build(self, task: Task) -> None:
        patch = min(self.patch, task.context_length)
        self.scaler = make_scale(self.scale, task.n_targets)
        self.embedding = TokenEmbedding(task, self.width, patch, self.scaler.n_absolute, self.waves)
        self.encoder = Encoder(self.width, self.depth, self.heads, self.dropout, task.n_levels)
        features = self._law.features(task.n_targets)
        numbers = math.prod(self._law.locations) * task.n_targets
        self.decoder = Decoder(
            self.width, patch, numbers, features, task.prediction_length, self.scaler.moves
        )
        self.linear = LinearForecast(task)
        self.reach: Tensor
        self.register_buffer("reach", torch.ones(task.prediction_length, task.n_targets))

    @property
    def origin(self) -> str:
        """From where the model wants values counted, see `WindowDataset`."""
        return self.scaler.origin

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options of the constructor, without the task."""
        names = ("width", "depth", "heads", "dropout", "head", "patch", "scale", "waves")
        return {name: getattr(self, name) for name in names}

    def for_task(self, task: Task) -> HiPerformer:
        """A fresh model of the same options, built for a task."""
        return type(self)(**self.get_params(), task=task)

    def to_dict(self) -> dict[str, Any]:
        """Options as plain JSON values."""
        return {**self.get_params(), "head": head_to_dict(self.head)}

    @torch.no_grad()
    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn units from training windows: of positions, of steps, of the horizon's reach."""
        self.scaler.fit(batch)
        self.embedding.past.fit(batch.past)
        self.embedding.known.fit(batch.known)
        self.embedding.static.fit(batch.static)
        scaled = self.scaler(batch)
        both = batch.present[:, 1:] & batch.present[:, :-1]
        step = tame(scaled.relative.diff(dim=1), both)
        self.embedding.step.copy_(_root_mean_square(step, both))
        ahead = tame((future.values - scaled.location) / scaled.scale, future.present)
        for at in range(ahead.shape[1]):
            self.reach[at] = _root_mean_square(ahead[:, at], future.present[:, at])
        moves = tame(self.embedding.moves(scaled.relative))
        kind = self._kind(batch)
        self.linear.fit(moves, ahead / self.reach, future.present, kind, batch.scene)

    def forward(self, batch: SceneBatch) -> SceneDistribution:
        """The joint law of the horizon, (P, H, D) in the units of the batch."""
        parts, origin, unit = self._parts(batch)
        return self._law(*parts, batch.scene, batch.n_scenes).affine(origin, unit)

    def loss(self, batch: SceneBatch, future: Future) -> Tensor:
        """Distance of the locations from the truth, plus the likelihood of the errors around them.

        Locations learn from the distance alone and everything else from the exact joint likelihood:
        a sharp law would otherwise let its most certain directions drown the rest of the mean. Both
        are in the network's units, per present cell, so no series outweighs the others. Of returns
        the locations are left as the linear forecast has them, and everything learns from the
        likelihood.
        """
        (location, spread, shape), origin, unit = self._parts(batch)
        seen, scenes = future.present, (batch.scene, batch.n_scenes)
        truth = clamp((future.values - origin) / unit)
        law = self._law(location.detach(), spread, shape, *scenes)
        likelihood = law.log_prob(truth, seen).sum() / (seen.sum().clamp(min=1) * truth.shape[-1])
        if not self.scaler.moves:
            return -likelihood
        return self._law.distance(location, truth, seen, *scenes) - likelihood

    def _kind(self, batch: SceneBatch) -> Tensor:
        assert self.task is not None
        return kind_of(batch, self.task.n_types)

    def _parts(self, batch: SceneBatch) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
        """Location, spread and shape in the network's units; origin and unit that lead back."""
        scaled = self.scaler(batch).clamp()
        tokens, present = self.embedding(batch, scaled)
        seen, ahead = None if present.all() else present, self.embedding.horizon_tokens
        moved, shape = self.decoder(self.encoder(tokens, batch.hierarchy, seen, ahead))
        kind = self._kind(batch)
        base = self.linear(self.embedding.moves(scaled.relative), kind)
        spread = self.linear.spread[kind]
        start = self._law.start(base, spread)
        moved = rearrange(moved, "p t (k d) -> k p t d", d=base.shape[-1])
        if self._law.pooled:
            shape = _pool(shape, self._law.pooled, batch)
        parts = (start + moved.reshape(start.shape), spread, shape)
        return parts, scaled.location, scaled.scale * self.reach


def _pool(shape: Tensor, count: int, batch: SceneBatch) -> Tensor:
    """The last features (P, H, count) replaced by their mean over the scene's present rows."""
    shape, last = shape.tensor_split((-count,), dim=-1)
    here = batch.present.any(1)
    each = torch.where(here[:, None, None], last, 0)
    total = each.new_zeros(batch.n_scenes, *each.shape[1:]).index_add(0, batch.scene, each)
    rows = each.new_zeros(batch.n_scenes).index_add(0, batch.scene, here.to(each))
    mean = total / rows.clamp(min=1)[:, None, None]
    return torch.cat([shape, mean[batch.scene]], dim=-1)


def _root_mean_square(x: Tensor, present: Tensor) -> Tensor:
    """Root mean square over present cells, by target: x (..., D), present (...) -> (D,)."""
    square = torch.where(present[..., None], x, x.new_zeros(())).square().flatten(0, -2).sum(0)
    size = (square / present.sum().clamp(min=1)).sqrt()
    return torch.where(size > 0, size, torch.ones_like(size))
