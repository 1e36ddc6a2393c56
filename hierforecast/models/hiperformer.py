"""HiPerformer: a hierarchically permutation-equivariant transformer (arXiv 2305.08073).

Data walks: scale -> tokens -> blocks -> horizon tokens -> head -> a joint distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Self

import torch
from einops import rearrange
from torch import Tensor

from hierforecast._options import number, renamed, whole
from hierforecast._waiting import at_hand
from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import SceneDistribution
from hierforecast.distributions.precision import Networks, full_precision, promote
from hierforecast.errors import DataError
from hierforecast.models.base import Origin
from hierforecast.models.former import OPTIONS, warn_replaced
from hierforecast.models.linear_start import LinearStart
from hierforecast.nn.coordinates import CoordinateScale
from hierforecast.nn.coupling import PairNetwork
from hierforecast.nn.decoder import Decoder, ShapeDecoder
from hierforecast.nn.embedding import TOKENS, TokenEmbedding, steps_in_token
from hierforecast.nn.encoder import BLOCKS, Encoder, MakeBlock
from hierforecast.nn.groups import pool
from hierforecast.nn.growth import Growth
from hierforecast.nn.head import Head, Scenes
from hierforecast.nn.heads import head_to_dict, make_head, usual_head
from hierforecast.nn.padding import PAIRED
from hierforecast.nn.parts import find_part, name_part
from hierforecast.nn.relations import Geometry
from hierforecast.nn.scale import make_scale
from hierforecast.nn.scaled import Scaled, clamp, clip_outliers, root_mean_square
from hierforecast.nn.shared import SharedStart
from hierforecast.nn.temperature import Temperature
from hierforecast.nn.unseen import Unseen
from hierforecast.task import Task


class HiPerformer(LinearStart):
    """Forecasts grouped series; commutes with every permutation that respects the groups.

    Without a `task` it is a plan only; `Forecaster.fit` builds it for the data at hand.

    Args:
        width: features of a token.
        depth: blocks.
        heads: attention heads.
        dropout: on every layer's output.
        head: ``"coupled"`` (joint Gaussian of agents that move and watch one another),
            ``"lowrank"`` (joint Gaussian by shared latents), ``"mixture"`` (several joint futures),
            ``"gaussian"`` (independent), ``"student"`` (heavy tails), ``"rows"`` (each row joint
            and heavy-tailed, rows independent: tracks that jump), ``"returns"`` (tails of each
            series, joint in each step by market and groups), ``"tails"`` (joint by shared latents,
            tails of each series), a `Head`, or ``"auto"``: returns for the scale of that name,
            tails for demand, coupled for coordinates (each by itself where scenes are larger than
            64 series), lowrank for all else.
        patch: steps in a token, the whole context at most; or ``"auto"``: 20 or so, such that a
            horizon of less than 30 is one token and a longer one several of a size. A token knows
            little of the errors of the one before.
        scale: ``"coordinates"`` (positions in one space), ``"mirrored"`` (the same in a space that
            equals its mirror images: a court, a pitch; see `MirroredScale` for scenes near its
            center, which are seen in several), ``"demand"`` (by what exponential smoothing of the
            whole history forecasts; never below zero where the data are not), ``"series"`` (each
            by its own deviation), ``"returns"`` (each by its recent size; no direction is learned),
            or ``"auto"``: demand for targets that are never negative and have a season (several
            must be whole numbers, or zero at times), else coordinates for several, series for one.
        n_frequencies: of Fourier features of where a series is at the end of each patch, by which
            attention finds who is near: 24 on a court or a pitch; 0 for none, and without effect
            where the scale keeps no positions.
        block: ``"sa3"`` (of the paper), ``"relational"`` (the same after an attention among single
            series by where they are and move, see `RelationalBlock`; for coordinates), ``"auto"``
            (relational for coordinates in scenes of up to 64 series, sa3 for all else), or what
            makes a block of (width, heads, dropout, levels), and crossed where series are grouped
            in several ways, that is called as `SA3Block` is; one registered in
            `nn.encoder.BLOCKS` can be saved.
        tokens: ``"patches"``, or what makes an embedding with the arguments and methods of
            `TokenEmbedding`; one registered in `nn.embedding.TOKENS` can be saved.
        task: the shapes to build for.

    Raises:
        DataError: if an option is not what it may be.
    """

    hidden = ("encoder", "embedding.read")

    @renamed(**OPTIONS)
    def __init__(
        self,
        width: int = 128,
        depth: int = 2,
        heads: int = 8,
        dropout: float = 0.1,
        head: str | Head | Mapping[str, Any] = "auto",
        patch: int | str = "auto",
        scale: str = "auto",
        n_frequencies: int = 0,
        block: str | MakeBlock = "auto",
        tokens: str | Callable[..., TokenEmbedding] = "patches",
        task: Task | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.width, self.depth = whole("width", width), whole("depth", depth)
        self.heads, self.dropout = whole("heads", heads), number("dropout", dropout, 0, 0.99)
        self.patch = patch if patch == "auto" else whole("patch", patch, other="auto")
        self.n_frequencies = whole("n_frequencies", n_frequencies, 0)
        if self.width % self.heads:
            raise DataError(f"width={width} is not a multiple of heads={heads}: give one that is")
        self.head, self.scale, self.block, self.tokens = head, scale, block, tokens
        if head != "auto":  # an unknown name is an error here, not at fit
            make_head(head)
            if task is None:
                warn_replaced(head)
        make_scale(scale, n_targets=1)
        if block != "auto":
            find_part("block", block, BLOCKS)
        find_part("tokens", tokens, TOKENS)
        if task is not None:
            self.task = Task.from_dict(dict(task)) if isinstance(task, Mapping) else task
            self.build(self.task)

    def build(self, task: Task) -> None:
        """Make the layers for a task."""
        patch = steps_in_token(self.patch, task)
        self.scaler = make_scale(self.scale, task.n_targets, task.smooth)
        in_space = isinstance(self.scaler, CoordinateScale)
        usual = usual_head(self.scaler.head, task.n_series)
        self._head = usual if self.head == "auto" else make_head(self.head)
        embed = find_part("tokens", self.tokens, TOKENS)
        # The linear forecast uses a calendar well; a network does if there are many years of it.
        seen = task.with_calendar() if task.calendar_stated else task
        self.embedding = embed(seen, self.width, patch, self.scaler.n_absolute, self.n_frequencies)
        self._build_encoder(task, in_space)
        decode = Decoder if self.scaler.learns_loc else ShapeDecoder
        locs = math.prod(self._head.loc_shape) * task.n_targets
        features = self._head.features(task.n_targets, task.n_all_levels)
        self.decoder = decode(self.width, patch, locs, features, task.prediction_length)
        self.pairs, components = None, min(self._head.components, task.prediction_length)
        if components:
            self.pairs = PairNetwork(self.width, components, in_space, sum(task.crossed))
        self.market = self._head.market(task.prediction_length)
        self.shared = None
        if self._head.shares:
            self.shared = SharedStart(self._head.shares, task.n_all_levels)
        self.linear, self.unseen = self.scaler.linear(task), Unseen(task)
        self.register_buffer("horizon_scale", torch.ones(task.prediction_length, task.n_targets))
        self.temperature, self.growth = Temperature(task.n_types, components), Growth()

    def _build_encoder(self, task: Task, in_space: bool) -> None:
        """Make the blocks, and what tells them how series stand to one another."""
        usual = "relational" if in_space and (task.n_series or 0) <= PAIRED else "sa3"
        self._block = usual if self.block == "auto" else self.block
        make = find_part("block", self._block, BLOCKS)
        sizes = self.width, self.depth, self.heads, self.dropout
        self.encoder = Encoder(*sizes, task.n_levels, make, task.crossed)
        self.geometry = None
        if self.encoder.uses_edges:
            if not in_space:
                raise DataError(
                    f"block={self.block!r} looks at where series stand to one another, and "
                    f"scale={self.scale!r} keeps no positions here: give scale='coordinates' if "
                    "the targets are coordinates in one space, or block='sa3'"
                )
            self.geometry = Geometry(task, self.embedding.horizon_tokens)

    @property
    def origin(self) -> Origin:
        """From where the model wants values counted, see `WindowDataset`."""
        return self.scaler.origin

    @property
    def uses_calendar(self) -> bool:
        """Whether the scale suits data that have one, or the user names its features."""
        return self.scaler.uses_calendar or (self.task is not None and self.task.calendar_stated)

    def for_task(self, task: Task) -> Self:
        """A fresh model of the same options, built for a task, which the hub keeps as an option."""
        return type(self)(**self.get_params(), task=task)

    def to_dict(self) -> dict[str, Any]:
        """Options as plain JSON values.

        Raises:
            TypeError: if a part is passed in that is not registered under a name.
        """
        parts = {
            # What was built: another version may choose otherwise.
            "head": head_to_dict(self.head if self.task is None else self._head),
            "block": name_part("block", self.block if self.task is None else self._block, BLOCKS),
            "tokens": name_part("tokens", self.tokens, TOKENS),
        }
        return {**self.get_params(), **parts}

    @torch.no_grad()
    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn the units of positions, steps and horizon, and solve the linear forecast."""
        self.scaler.fit(batch)
        scaled = self.scaler(batch)
        self.embedding.fit(batch, scaled)
        for part in (self.pairs, self.geometry):
            if part is not None:
                part.fit(batch)
        ahead = clip_outliers(scaled.apply(future.values), future.present)
        for at in range(ahead.shape[1]):
            self.horizon_scale[at] = root_mean_square(ahead[:, at], future.present[:, at])
        self.fit_linear(batch, future, scaled)
        self.fit_dependence(batch, scaled.clamp(), future)

    def forward(self, batch: SceneBatch) -> SceneDistribution:
        """The joint distribution of the horizon, (P, H, D) in the units of the batch."""
        with full_precision(batch.values) as networks:
            views = self.scaler.views(batch)
            scaled = views.scaled
            around = self._around(*self._parts(views.batch, scaled, networks))
            mixed = views.mix(around.affine(scaled.loc, scaled.scale))
            return self.temperature(mixed, batch.types)

    def loss(self, batch: SceneBatch, future: Future) -> Tensor:
        """Distance of the locs from the truth, plus the likelihood of the errors around them.

        Where totals are read too (demand), theirs belongs to the distance.

        Locs learn from the distance alone and everything else from the exact joint likelihood: a
        sharp distribution would otherwise let its most certain directions drown the rest of the
        mean. Both are in the network's units, per present cell, so no series outweighs the others.
        Where the scale says that no loc is learned, everything learns from the likelihood.
        """
        distance, cost = self.score(batch, future)
        return distance + cost if self.scaler.learns_loc else cost

    def score(self, batch: SceneBatch, future: Future) -> tuple[Tensor, Tensor]:
        """See `Model`; both in the network's units, the likelihood that of the errors."""
        with full_precision(batch.values) as networks:
            scaled = self.scaler.drawn(batch)
            loc, scale, shape, scenes = self._parts(batch, scaled, networks)
            seen = future.present
            truth = clamp(scaled.apply(future.values) / self.horizon_scale)
            around = self._around(loc.detach(), scale, shape, scenes)
            looked = None if future.whole and not at_hand(seen) else seen  # known without a look
            likelihood = around.log_prob(truth * self.horizon_scale, looked).sum()
            likelihood = likelihood + (seen[..., None] * self.horizon_scale.log()).sum()
            likelihood = likelihood / (seen.sum().clamp(min=1) * truth.shape[-1])
            middle = loc.mean(0) if loc.ndim > truth.ndim else loc  # of several locs
            apart = self.scaler.totals_apart(truth - middle, seen, scenes)
            if loc.ndim > truth.ndim:
                # Which of several futures came shows where they end up, not in the first steps: a
                # step counts by the square of its errors.
                late = self.horizon_scale.square() / self.horizon_scale.square().mean(0)
                loc, truth = loc * late, truth * late
            return self._head.distance(loc, truth, seen, scenes) + apart, -likelihood

    def _around(
        self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes
    ) -> SceneDistribution:
        """The distribution in the series' own units, in which steps can be compared."""
        steps = self.horizon_scale
        return self._head(loc * steps, scale * steps, shape, scenes)

    def _parts(
        self, batch: SceneBatch, scaled: Scaled, networks: Networks = nullcontext
    ) -> tuple[Tensor, Tensor, Tensor, Scenes]:
        """Loc, scale, shape in the network's units, and scenes."""
        scaled, codes = scaled.clamp(), self._codes(batch)
        base = self.linear(self._inputs(batch, scaled), codes)
        scenes = Scenes.of(batch)
        with networks():
            tokens = self.encode(batch, scaled, base, self.embedding.horizon_tokens)
            moved, shape = promote(*self.decoder(tokens))
            if self.pairs is not None:  # learns from the likelihood, as the shape does
                scenes = scenes._replace(links=self.pairs(tokens.detach(), batch, scenes))
        if self.market is not None:
            scenes = scenes._replace(loads=self.market(scaled.relative, batch.present, scenes))
        if self.shared is not None:
            scenes = scenes._replace(shared=self.shared.loads(base.shape[1]))
        scale = self.linear.error_scale[codes] * self.unseen(batch)
        in_view = self.unseen.in_view(batch, scale, self.linear.error_scale[batch.types])
        scenes = scenes._replace(in_view=in_view)
        start = self._head.start(base, scale)
        moved = rearrange(moved, "p t (k d) -> k p t d", d=base.shape[-1])
        if self._head.pooled:
            shape = pool(shape, self._head.pooled, batch)
        return start + self._head.path(moved.reshape(start.shape)), scale, shape, scenes
