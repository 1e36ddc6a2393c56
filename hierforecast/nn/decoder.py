"""From horizon tokens to the numbers that a head needs, step by step, in one shot."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn


class Decoder(nn.Module):
    """Each horizon token tells its patch of steps: where the law lies, and the shape around it.

    The shape is read from tokens whose gradient is cut. The encoder thus learns for the mean alone,
    and the likelihood, steep wherever the law is sharp, cannot drown it: trained together, the mean
    hardly left the linear forecast (benchmarks/results/tried.md).

    Args:
        width: features of a token.
        patch: steps in a token.
        n_targets: numbers for the location of a step: D, or K * D of a head with K locations.
        n_features: F, numbers for the shape of a step that the head asks for.
        prediction_length: steps forecast; those beyond it in the last patch are cut.
        moves: whether there is a mean to learn. If not it is zero, and the encoder learns for the
            shape: there is nothing to drown.
    """

    def __init__(
        self,
        width: int,
        patch: int,
        n_targets: int,
        n_features: int,
        prediction_length: int,
        moves: bool = True,
    ) -> None:
        super().__init__()
        self.patch, self.prediction_length = patch, prediction_length
        self.n_targets, self.moves = n_targets, moves
        if moves:
            self.norm = nn.LayerNorm(width)
            self.mean = nn.Linear(width, patch * n_targets)
        shape = nn.Linear(2 * width, patch * n_features)
        self.shape = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), shape
        )
        for last in (self.mean, shape) if moves else (shape,):
            nn.init.normal_(last.weight, std=0.02)
            nn.init.zeros_(last.bias)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Horizon tokens (P, t, width) -> location (P, H, n_targets), shape (P, H, F)."""
        if not self.moves:
            found = self._steps(self.shape(tokens))
            return found.new_zeros(*found.shape[:2], self.n_targets), found
        return self._steps(self.mean(self.norm(tokens))), self._steps(self.shape(tokens.detach()))

    def _steps(self, x: Tensor) -> Tensor:
        """Patches to steps: (P, t, patch * f) -> (P, H, f)."""
        return rearrange(x, "p t (k f) -> p (t k) f", k=self.patch)[:, : self.prediction_length]
