"""From horizon tokens to the numbers that a head needs, step by step, in one shot."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.batch import SceneBatch
from hierforecast.task import Task


class Decoder(nn.Module):
    """Each horizon token tells its patch of steps: where the mean lies, and the shape around it.

    The shape is read from tokens whose gradient is cut. The encoder thus learns for the mean alone,
    and the likelihood, steep wherever the law is sharp, cannot drown it: trained together, the mean
    stayed at the linear forecast for ten times as long.

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


def kind_of(batch: SceneBatch, n_types: int) -> Tensor:
    """Group type and whether a series is in sight at the cutoff, as one code (P,) below 2 n_types.

    A series out of sight is a different matter: it is further off, and where it went is unknown.
    """
    return batch.types + n_types * (~batch.present[:, -1])


class LinearForecast(nn.Module):
    """A linear forecast of each series from its own context, one for each kind (`kind_of`).

    It carries momentum and means past the network, which then learns what a line cannot say (the
    global residual of TiDE, arXiv 2304.08424). `fit` sets it to the ridge solution, so training
    starts from a good forecast instead of from nothing, and keeps the spread of its errors.

    Args:
        task: shapes of the data.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.shape = (2 * task.n_types, task.prediction_length, task.n_targets)
        out = 2 * task.n_types * task.prediction_length * task.n_targets
        self.weight = nn.Linear(task.context_length * task.n_targets, out)
        nn.init.zeros_(self.weight.weight)
        nn.init.zeros_(self.weight.bias)
        self.spread: Tensor
        self.register_buffer("spread", torch.ones(self.shape))

    def forward(self, history: Tensor, kind: Tensor) -> Tensor:
        """History (P, L, D) and kinds (P,) -> (P, H, D)."""
        every = self.weight(history.flatten(1)).unflatten(-1, self.shape)
        return every[torch.arange(len(kind), device=kind.device), kind]

    @torch.no_grad()
    def fit(
        self, history: Tensor, ahead: Tensor, present: Tensor, kind: Tensor, penalty: float = 1e-4
    ) -> None:
        """Ridge regression for each kind, each horizon step on the rows observed at it.

        Args:
            history: (P, L, D) inputs.
            ahead: (P, H, D) what they should forecast.
            present: (P, H) which of it is observed.
            kind: (P,) kind of each row.
            penalty: ridge penalty for each row, in units of the inputs' mean square. It counts at
                least as much as ten rows do, which keeps a fit to few windows from running wild.
        """
        n_kinds, steps, _ = self.shape
        weight = self.weight.weight.unflatten(0, self.shape)
        bias = self.weight.bias.unflatten(0, self.shape)
        inputs = F.pad(history.flatten(1), (0, 1), value=1.0).double()
        for code in range(n_kinds):
            for step in range(steps):
                rows = (kind == code) & present[:, step]
                x, y = inputs[rows], ahead[rows, step].double()
                gram = x.T @ x
                size = (gram.diagonal()[:-1].mean() / max(len(x), 1)).clamp(min=1e-6)
                ridge = size * max(penalty * len(x), 10.0)
                solution = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), x.T @ y)
                weight[code, step] = solution[:-1].T.to(weight)
                bias[code, step] = solution[-1].to(bias)
                error = (y - x @ solution).square().sum(0) / max(len(x), 1)
                self.spread[code, step] = torch.where(error > 0, error, 1.0).sqrt().to(bias)
