"""Newcomers: series that are announced but were never observed, from their group and covariates.

Nothing of a newcomer reaches the network, so nothing changes for the others. What is expected of it
is what is forecast of its mates, the observed series of its group, moved by how its covariates
differ from theirs; how far it strays from that was measured on held-out windows in which observed
series were hidden and then treated as newcomers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierforecast.frame import Panel
from hierforecast.frame.vocabulary import Vocabulary
from hierforecast.inference.forecast import Forecast
from hierforecast.inference.mates import Expected, n_features

# Quantiles over which a mean is taken where numbers are shown to the model bent.
POINTS = 64


class Answer(NamedTuple):
    """Numbers (k, n, H, D) of the newcomers of a batch, in the user's units."""

    expected: Expected
    values: np.ndarray

    def table(
        self, names: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Rows, cutoffs, and cells by name, one for each of the numbers; or all as draws."""
        cells = {"mean": self.values}
        if names is not None:
            cells = dict(zip(names, self.values, strict=True))
        return self.expected.rows, self.expected.cutoff, cells


@dataclass(frozen=True, eq=False)
class Newcomers:
    """How newcomers differ from their mates.

    Attributes:
        effect: (F, D) float64, of a covariate's difference from the mates', in units.
        root: (T, H * D, H * D) float64, a root of the covariance of what is left of their paths, in
            units.
        usual: (D,) float64, the unit; 0 where it is how far mates lie from each other.
    """

    effect: Tensor
    root: Tensor
    usual: Tensor

    @classmethod
    def check(
        cls, parts: Sequence[Tensor], vocabulary: Vocabulary, steps: int, targets: int
    ) -> Newcomers:
        """Those that were saved.

        Raises:
            ValueError: if they cannot be such.
        """
        cells = steps * targets
        types, features = max(len(vocabulary.types), 1), n_features(vocabulary)
        shapes = (features, targets), (types, cells, cells), (targets,)
        for found, shape in zip(parts, shapes, strict=True):
            if found.shape != shape or found.dtype != torch.float64:
                raise ValueError(f"shape {tuple(found.shape)} {found.dtype} for {shape}")
            if not bool(found.isfinite().all()):
                raise ValueError("numbers that are not finite")
        if bool((parts[2] < 0).any()):
            raise ValueError("units below zero")
        return cls(*parts)

    def unit(self, expected: Expected) -> np.ndarray:
        """(n, D)."""
        usual = self.usual.numpy()
        return np.where(usual > 0, usual, expected.unit)

    def middle(self, expected: Expected) -> np.ndarray:
        """What is expected (n, H, D), as the model sees numbers."""
        moved = expected.apart @ self.effect.numpy()
        return expected.center + self.unit(expected)[:, None] * moved

    def spread(self, expected: Expected) -> np.ndarray:
        """Standard deviations (n, H, D) of the same."""
        each = self.root.square().sum(-1).sqrt().numpy()[expected.types]
        return self.unit(expected)[:, None] * each.reshape(expected.center.shape)

    def quantiles(self, forecast: Forecast, panel: Panel, shares: Sequence[float]) -> Answer:
        """Means, then quantiles, of the newcomers' numbers."""
        expected = Expected.of(forecast, panel)
        middle, spread = self.middle(expected), self.spread(expected)
        normal = torch.distributions.Normal(0.0, 1.0)

        def at(share: float) -> Tensor:
            z = float(normal.icdf(torch.tensor(share, dtype=torch.float64)))
            # A quantile at 0 or 1 is infinite, as that of any normal number.
            return forecast.unbent(
                torch.from_numpy(np.where(spread > 0, middle + spread * z, middle))
            )

        grid = [at((i + 0.5) / POINTS) for i in range(POINTS)] if forecast.warp else [at(0.5)]
        values = [torch.stack(grid).mean(0), *map(at, shares)]
        return Answer(expected, np.stack([each.numpy() for each in values]))

    def draws(self, forecast: Forecast, panel: Panel, n: int) -> Answer:
        """Draws (n, ...) of whole paths, each newcomer by itself."""
        expected = Expected.of(forecast, panel)
        middle = self.middle(expected)
        paths = np.zeros((n, *middle.shape))
        for window in np.unique(expected.window).tolist():
            own = np.flatnonzero(expected.window == window)
            generator = forecast.generators[window]
            size = n, len(own), self.root.shape[1]
            white = torch.randn(size, generator=generator, dtype=torch.float64)
            root = self.root[torch.from_numpy(expected.types[own])]
            paths[:, own] = torch.einsum("rij,nrj->nri", root, white).reshape(paths[:, own].shape)
        found = torch.from_numpy(middle + self.unit(expected)[:, None] * paths)
        return Answer(expected, forecast.unbent(found).numpy())
