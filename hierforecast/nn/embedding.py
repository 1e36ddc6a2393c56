"""Tokens: one for each patch of steps of each series, past and future."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.batch import SceneBatch, pad_to_patches, pad_to_patches_after
from hierforecast.nn.scaled import Scaled, clamp, clip_outliers, columns, root_mean_square
from hierforecast.task import Task

# Steps of a token, more or less, if it is not said how many.
PATCH = 20


def steps_in_token(patch: int | str, task: Task) -> int:
    """How many steps a token holds, see `HiPerformer`."""
    context, horizon = task.context_length, task.prediction_length
    if not isinstance(patch, str):
        return min(patch, context)
    if max(context, horizon) < PATCH:
        return max(context, horizon)
    tokens = round(horizon / PATCH)
    return -(-horizon // tokens) if tokens > 1 else max(PATCH, horizon)


class CovariateEmbedding(nn.Module):
    """Covariates as features: numbers standardized, categories embedded, missing ones zero.

    Args:
        categories: for each covariate its number of categories, or None if it is numeric.
        dim: features of an embedded category.
    """

    def __init__(self, categories: tuple[int | None, ...], dim: int = 8) -> None:
        super().__init__()
        self.numeric = [i for i, n in enumerate(categories) if n is None]
        self.categorical = [i for i, n in enumerate(categories) if n is not None]
        self.tables = nn.ModuleList(nn.Embedding(n + 1, dim) for n in categories if n is not None)
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.zeros(len(self.numeric)))
        self.register_buffer("scale", torch.ones(len(self.numeric)))
        self.n_features = 2 * len(self.numeric) + dim * len(self.categorical)

    def fit(self, x: Tensor) -> None:
        """Learn center and scale of the numeric covariates x (..., C)."""
        for column, i in enumerate(self.numeric):
            cells = x[..., i][x[..., i].isfinite()].double()
            if len(cells) > 1 and cells.std() > 0:
                self.center[column], self.scale[column] = cells.mean(), cells.std()

    def forward(self, x: Tensor) -> Tensor:
        """X (..., C) -> (..., n_features)."""
        numbers = columns(x, self.numeric)
        seen = numbers.isfinite()
        zero = numbers.new_zeros(())
        scaled = (torch.where(seen, numbers, zero) - self.center) / self.scale
        parts = [torch.where(seen, clamp(scaled), zero), seen.to(x.dtype)]
        parts += [
            table(x[..., i].nan_to_num(0).long())
            for i, table in zip(self.categorical, self.tables, strict=True)
        ]
        return torch.cat(parts, dim=-1)


class PlaceEmbedding(nn.Module):
    """Fourier features of a position (Tancik et al., arXiv 2006.10739).

    Their products fall off with distance, so attention finds who is near; from the coordinates
    themselves it would have to learn that.

    Args:
        dims: coordinates of a position.
        n_frequencies: how many, of wavelengths from about one to twelve of the positions' scales.
        width: features of a token.
    """

    def __init__(self, dims: int, n_frequencies: int, width: int) -> None:
        super().__init__()
        size = torch.logspace(math.log10(0.5), math.log10(8.0), n_frequencies)
        self.frequencies = nn.Parameter(torch.randn(dims, n_frequencies) * size)
        self.out = nn.Linear(2 * n_frequencies, width)

    def forward(self, x: Tensor) -> Tensor:
        """Positions x (..., dims) -> (..., width)."""
        phase = x @ self.frequencies
        return self.out(torch.cat([phase.sin(), phase.cos()], dim=-1))


class TokenEmbedding(nn.Module):
    """Context patches and horizon patches as tokens of one sequence.

    Each step shows the value relative to the scale's loc, its difference from the step before,
    the absolute position where the scale keeps it, presence and covariates. Position is added along
    time only: series carry none, so they stay interchangeable. Horizon tokens begin as a query for
    their step and the covariates known in advance.

    Args:
        task: shapes of the data.
        width: features of a token.
        patch: steps in a token.
        n_absolute: features of absolute position per step.
        n_frequencies: of Fourier features of the position at the end of each patch; 0: no such
            features.
    """

    def __init__(
        self, task: Task, width: int, patch: int, n_absolute: int, n_frequencies: int = 0
    ) -> None:
        super().__init__()
        self.patch = patch
        self.context_tokens = -(-task.context_length // patch)
        self.horizon_tokens = -(-task.prediction_length // patch)
        self.past = CovariateEmbedding(task.past)
        self.known = CovariateEmbedding(task.known)
        self.static = CovariateEmbedding(task.static)
        self.step: Tensor
        self.register_buffer("step", torch.ones(task.n_targets))
        n_step = 2 * task.n_targets + n_absolute + 1 + self.past.n_features + self.known.n_features
        self.read = nn.Sequential(
            nn.Linear(patch * n_step, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.ask = _linear(patch * self.known.n_features, width)
        self.describe = _linear(self.static.n_features, width)
        self.place: nn.Module | None = None
        if n_frequencies and n_absolute:
            self.place = PlaceEmbedding(n_absolute, n_frequencies, width)
        self.types = nn.Embedding(task.n_types, width)
        self.position = nn.Parameter(
            0.02 * torch.randn(self.context_tokens + self.horizon_tokens, width)
        )

    def fit(self, batch: SceneBatch, scaled: Scaled) -> None:
        """Learn the units of covariates and of a typical step from training windows."""
        self.past.fit(batch.past)
        self.known.fit(batch.known)
        self.static.fit(batch.static)
        both = batch.present[:, 1:] & batch.present[:, :-1]
        step = clip_outliers(scaled.relative.diff(dim=1), both)
        self.step.copy_(root_mean_square(step, both))

    def forward(self, batch: SceneBatch, scaled: Scaled) -> tuple[Tensor, Tensor]:
        """Tokens (P, t, width), and which of them exist as keys (P, t)."""
        length = batch.present.shape[1]
        known = self.known(batch.known)
        steps = torch.cat(
            [
                scaled.relative,
                self.velocity(scaled.relative),
                scaled.absolute,
                batch.present[..., None].to(scaled.relative.dtype),
                self.past(batch.past),
                known[:, :length],
            ],
            dim=-1,
        )
        series = self.types(batch.types) + self.describe(self.static(batch.static))
        context = self.read(self._patches(steps))
        ahead = pad_to_patches_after(known[:, length:], self.patch)
        tokens = torch.cat([context, self.ask(self._patches(ahead))], dim=1)
        if self.place is not None:
            # A horizon token is shown where its series was last.
            at = self._patches(scaled.absolute)[..., -scaled.absolute.shape[-1] :]
            at = torch.cat([at, at[:, -1:].expand(-1, self.horizon_tokens, -1)], dim=1)
            tokens = tokens + self.place(at)
        tokens = tokens + self.position + series[:, None]
        seen = pad_to_patches(batch.present[..., None], self.patch)
        seen = rearrange(seen, "p (t k) 1 -> p t k", k=self.patch).any(-1)
        queries = seen.any(1, keepdim=True).expand(-1, self.horizon_tokens)
        return tokens, torch.cat([seen, queries], dim=1)

    def velocity(self, relative: Tensor) -> Tensor:
        """The difference from the step before, in typical ones: (P, L, D) -> (P, L, D)."""
        return F.pad(relative.diff(dim=1), (0, 0, 1, 0)) / self.step

    def _patches(self, x: Tensor) -> Tensor:
        """Steps to patches: (P, t * patch, d) -> (P, t, patch * d)."""
        return rearrange(pad_to_patches(x, self.patch), "p (t k) d -> p t (k d)", k=self.patch)


# What a model's option may name: makes the embedding of (task, width, patch, n_absolute,
# n_frequencies). One of your own is saved by its name once it is here.
TOKENS: dict[str, Callable[..., TokenEmbedding]] = {"patches": TokenEmbedding}


def _linear(inputs: int, outputs: int) -> nn.Module:
    """A linear layer; of no inputs, the constant zero (torch warns when it initialises none)."""
    return nn.Linear(inputs, outputs) if inputs else _Nothing(outputs)


class _Nothing(nn.Module):
    """A linear layer of no inputs: zeros."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """Inputs x (..., 0) -> zeros (..., outputs)."""
        return x.new_zeros(*x.shape[:-1], self.outputs)
