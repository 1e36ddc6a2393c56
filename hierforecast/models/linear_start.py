"""`LinearStart`: a network that starts from a linear forecast, and what may answer in its place.

A network adds moves to a linear forecast and shapes a distribution around it. With few windows
the moves may be noise while the shape is worth having, so the two are chosen one by one.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Self

import torch
from torch import Tensor

from hierforecast._waiting import at_hand
from hierforecast.batch import Future, SceneBatch
from hierforecast.models.base import Model, Rung
from hierforecast.nn.decoder import Decoder, ShapeDecoder
from hierforecast.nn.embedding import TokenEmbedding
from hierforecast.nn.encoder import Encoder
from hierforecast.nn.head import Head, Loads, Scenes
from hierforecast.nn.linear import Inputs, LinearForecast, type_and_visibility
from hierforecast.nn.market import MarketStart
from hierforecast.nn.relations import Geometry
from hierforecast.nn.scaled import Scaled, clamp, clip_outliers
from hierforecast.nn.shared import SharedStart
from hierforecast.nn.unseen import Unseen
from hierforecast.nn.views import Scale

# A network whose locs are not closer than those below by this share of the distance is refused.
MARGIN = 0.005


class LinearStart(Model):
    """A model whose locs are a linear forecast of each series and a network's moves.

    Attributes:
        scaler, embedding, encoder, decoder: its parts; the decoder makes the moves.
        geometry: tells blocks how series stand to one another, if any of them uses that.
        linear, unseen: the linear forecast, and the scale of its errors.
        market, shared: who errs with whom to begin with, where the head asks for it.
        horizon_scale: (H, D), units of the steps ahead.
    """

    _head: Head
    market: MarketStart | None
    shared: SharedStart | None

    scaler: Scale
    embedding: TokenEmbedding
    encoder: Encoder
    geometry: Geometry | None
    decoder: Decoder | ShapeDecoder
    linear: LinearForecast
    unseen: Unseen
    horizon_scale: Tensor

    def encode(
        self, batch: SceneBatch, scaled: Scaled, base: Tensor, last: int | None = None
    ) -> Tensor:
        """Tokens (P, last or t, width) of a context and of its horizon.

        Args:
            batch: the context.
            scaled: the same in the network's units, clamped.
            base: (P, H, D), its linear forecast.
            last: how many tokens at the end of time are wanted; None: all of them.
        """
        tokens, present = self.embedding(batch, scaled)
        seen = None if at_hand(present) and present.all() else present  # a mask takes time
        edges = None
        if self.geometry is not None:
            edges = self.geometry(batch, scaled, (base * self.horizon_scale).detach())
        return self.encoder(tokens, batch.hierarchy, seen, last, edges)

    @torch.no_grad()
    def fit_linear(self, batch: SceneBatch, future: Future, scaled: Scaled | None = None) -> None:
        """Solve the linear forecast in the units learned already; `scaled`: the batch in them."""
        self.linear.fit_units(batch, self.horizon_scale / self.embedding.step)
        inputs, ahead, codes = self._examples(batch, future, scaled)
        inputs = inputs.clipped()
        self.linear.fit(inputs, ahead, future.present, codes, batch.scene)
        self.unseen.fit(ahead - self.linear(inputs, codes), future.present, batch)

    @torch.no_grad()
    def fit_dependence(self, batch: SceneBatch, scaled: Scaled, future: Future) -> None:
        """Learn who errs with whom to begin with, where the head asks for it.

        Args:
            batch, future: training windows.
            scaled: their contexts in the network's units, clamped.
        """
        truth, codes = clamp(scaled.apply(future.values)), self._codes(batch)
        scale = self.linear.error_scale[codes] * self.unseen(batch)
        if self.shared is not None:
            line = self.linear(self._inputs(batch, scaled), codes)
            error = (truth / self.horizon_scale - line) / scale
            self.shared.fit(error, future.present, Scenes.of(batch))
        if self.market is None:
            return
        features = self._head.features(truth.shape[-1], len(Scenes.of(batch).owners))

        def likelihood(loads: Loads, rows: Tensor, steps: Tensor, scenes: Scenes) -> Tensor:
            at = rows[:, None], steps
            size, seen = (scale * self.horizon_scale)[at], future.present[at]
            shape = size.new_zeros(*size.shape[:2], features)
            found = self._head(0 * size, size, shape, scenes._replace(loads=loads))
            return found.log_prob(truth[at], seen).sum() / seen.sum().clamp(min=1)

        self.market.fit(scaled.relative, batch.present, Scenes.of(batch), likelihood)

    @torch.no_grad()
    def fit_baseline(self, batch: SceneBatch, future: Future) -> None:
        """Put the best of the scale's baselines in the place of the linear forecast."""
        assert self.task is not None
        inputs, ahead, codes = self._examples(batch, future)
        found: list[tuple[float, int, Tensor, Tensor]] = []
        for values in self.scaler.baselines(self.task).to(self.horizon_scale):
            weights = values[..., None] * self.embedding.step / self.horizon_scale[:, None]
            self.linear.repeat(weights)
            error = clip_outliers(ahead - self.linear(inputs, codes), future.present)
            found.append((float(error[future.present].abs().sum()), len(found), weights, error))
        *_, weights, error = min(found)
        self.linear.repeat(weights)
        self.linear.fit_errors(error, future.present, codes)
        self.unseen.fit(error, future.present, batch)

    @torch.no_grad()
    def fit_halfway(self, batch: SceneBatch, future: Future) -> None:
        """Put the mean of the baseline and the linear forecast in the place of the latter."""
        self.fit_linear(batch, future)
        baseline = deepcopy(self)
        baseline.fit_baseline(batch, future)
        self._meet(baseline)

    def _meet(self, other: Self) -> None:
        """Take the mean of one's own linear forecast, and scale of its errors, and another's."""
        for own, its in ((self.linear, other.linear), (self.unseen, other.unseen)):
            state = its.state_dict()
            own.load_state_dict({k: (x + state[k]) / 2 for k, x in own.state_dict().items()})

    def rungs(self, start: Self, seen: tuple[SceneBatch, Future] | None) -> list[list[Rung]]:
        """See `Model`.

        - ``"baseline"``: the last value, the mean or the season before, or ``"smoothing"`` of
          demand; see `Scale.baselines`.
        - ``"halfway"``: the mean of what is below and above, if `Scale.halfway`; the baseline must
          then be closer by a margin, as the network must.
        - ``"linear start"``: ridge regression, from which the network starts.
        - ``"halfway to the network"``: the mean of both beside it, which errs less than
          either where they err apart (Bates and Granger, "The combination of forecasts", 1969).
        - ``"network"``: that and the network's moves.

        Those below have the shape from before the training, or as ``", trained shape"`` the
        network's own. A warm start has no baseline, and ``"start"`` is what it goes on with. Where
        no moves are learned (returns) the network is the linear start with the trained shape.
        """
        levels, name = [], "start"
        if seen is not None:
            baseline, name = deepcopy(start), "linear start"
            baseline.fit_baseline(*seen)
            pairs = self._shapes(self.scaler.baseline, baseline)
            # What is learned has all training windows for it: where the mean of both may answer, a
            # few late ones must be sure that nothing was.
            unsure = MARGIN if self.scaler.halfway else 0.0
            levels.append([Rung(each, model, unsure, model.fit_baseline) for each, model in pairs])
            if self.scaler.halfway:
                middle = deepcopy(start)
                middle._meet(baseline)
                pairs = self._shapes("halfway", middle)
                levels.append([Rung(each, model, learn=model.fit_halfway) for each, model in pairs])
        pairs = self._shapes(name, start)
        levels.append([Rung(each, model, learn=model.fit_linear) for each, model in pairs])
        if not self.scaler.learns_loc:
            levels[-1][-1] = Rung("network", self, learn=self.fit_linear)
            return levels
        trained = [[Rung("network", self, MARGIN)]]
        if start.decoder.moves:  # they would be those of another encoder
            del levels[-1][-1]
        else:
            between = deepcopy(self)
            between.decoder.halve()
            between._meet(start)
            trained.insert(0, [Rung("halfway to the network", between, MARGIN / 2)])
        return [*levels, *trained]

    def relearned(self, start: Self, seen: tuple[SceneBatch, Future]) -> list[list[Rung]]:
        """See `Model`: ``"linear start"``, ridge regression on the new windows in the old units."""
        if not self.scaler.learns_loc:
            return []
        line = deepcopy(start)
        line.decoder.hold()
        line.fit_linear(*seen)
        pairs = self._shapes("linear start", line)
        return [[Rung(each, model, MARGIN, model.fit_linear) for each, model in pairs]]

    def _shapes(self, name: str, other: Self) -> list[tuple[str, Self]]:
        """Another model, and this one with the other's linear forecast and no moves."""
        shaped = deepcopy(self)
        shaped.decoder.hold()
        shaped.linear.load_state_dict(other.linear.state_dict())
        shaped.unseen.load_state_dict(other.unseen.state_dict())
        return [(name, other), (f"{name}, trained shape", shaped)]

    def _examples(
        self, batch: SceneBatch, future: Future, scaled: Scaled | None = None
    ) -> tuple[Inputs, Tensor, Tensor]:
        """Inputs, what came after in the network's units (P, H, D), and codes (P,)."""
        scaled = self.scaler(batch) if scaled is None else scaled
        ahead = clip_outliers(scaled.apply(future.values), future.present) / self.horizon_scale
        return self._inputs(batch, scaled), ahead, self._codes(batch)

    def _codes(self, batch: SceneBatch) -> Tensor:
        assert self.task is not None
        return type_and_visibility(batch, self.task.n_types)

    def _inputs(self, batch: SceneBatch, scaled: Scaled) -> Inputs:
        """What the linear forecast sees of a context, see `LinearForecast.inputs`."""
        return self.linear.inputs(batch, scaled, self.embedding.step)
