"""From horizon tokens to the numbers that a head needs, step by step, in one shot."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn


class Decoder(nn.Module):
    """Each horizon token tells its patch of steps: where the mean lies, and the shape around it.

    The shape is read from tokens whose gradient is cut. The encoder thus learns for the mean alone,
    and the likelihood, steep wherever the law is sharp, cannot drown it: trained together, the mean
    hardly left the linear forecast (benchmarks/RESULTS.md, "What was tried").

    Args:
        width: features of a token.
        patch: steps in a token.
        n_targets: D, numbers for the mean of a step.
        n_features: F, numbers for the shape of a step that the head asks for.
        prediction_length: steps forecast; those beyond it in the last patch are cut.
    """

    def __init__(
        self, width: int, patch: int, n_targets: int, n_features: int, prediction_length: int
    ) -> None:
        super().__init__()
        self.patch, self.prediction_length = patch, prediction_length
        self.norm = nn.LayerNorm(width)
        self.mean = nn.Linear(width, patch * n_targets)
        shape = nn.Linear(2 * width, patch * n_features)
        self.shape = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), shape
        )
        for last in (self.mean, shape):
            nn.init.normal_(last.weight, std=0.02)
            nn.init.zeros_(last.bias)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Horizon tokens (P, t, width) -> mean (P, H, D), shape (P, H, F)."""
        return self._steps(self.mean(self.norm(tokens))), self._steps(self.shape(tokens.detach()))

    def _steps(self, x: Tensor) -> Tensor:
        """Patches to steps: (P, t, patch * f) -> (P, H, f)."""
        return rearrange(x, "p t (k f) -> p (t k) f", k=self.patch)[:, : self.prediction_length]
