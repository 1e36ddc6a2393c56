"""The optimizer of `fit`: orthogonalized momentum for hidden matrices, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from hierforecast.models import Model

# Coefficients of the quintic iteration: they drive singular values to about one, fast rather than
# exactly (K. Jordan et al., "Muon", 2024).
QUINTIC, ITERATIONS = (3.4445, -4.7750, 2.0315), 5


class Muon(AdamW):
    """Muon for matrices, AdamW for everything else, as one optimizer.

    A matrix moves along its momentum with all singular values set to about one, so that directions
    which the gradient hardly shows are learned too. On NBA tracking 200 such steps were worth 400
    of AdamW's (benchmarks/results/tried.md). torch has a Muon of its own, for matrices alone and in
    bfloat16, which a CPU without such units takes five times as long for; here matrices of one
    shape go through the iteration together, in their own precision.

    Args:
        matrices: weights (out, in) of hidden layers.
        others: embeddings, biases, norms, first and last layers.
        lr: of AdamW, for `others`.
        ratio: learning rate of `matrices` over `lr`, for a square one; a matrix of more rows than
            columns moves by the root of their ratio more.
        momentum: of `matrices`, Nesterov's.
        weight_decay: of both, decoupled.
        fused: of AdamW.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float = 1e-3,
        ratio: float = 4.0,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        fused: bool = False,
    ) -> None:
        groups: list[dict[str, Any]] = [{"params": list(others)}]
        groups.append({"params": list(matrices), "lr": ratio * lr, "momentum": momentum})
        super().__init__(groups, lr=lr, weight_decay=weight_decay, fused=fused)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both; `closure` computes gradients first, as torch's optimizers allow."""
        every = self.param_groups
        self.param_groups = [group for group in every if "momentum" not in group]
        try:
            loss: float | None = super().step(closure)
        finally:
            self.param_groups = every
        for group in every:
            if "momentum" in group:
                self._move(group)
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        """A step of the matrices, those of one shape together."""
        shapes: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in group["params"]:
            if matrix.grad is not None:
                shapes.setdefault(matrix.shape, []).append(matrix)
        for shape, matrices in shapes.items():
            lookahead = torch.stack([self._momentum(m, group["momentum"]) for m in matrices])
            step = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
            for matrix, move in zip(matrices, orthogonalize(lookahead), strict=True):
                matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(move, alpha=step)

    def _momentum(self, matrix: nn.Parameter, share: float) -> Tensor:
        """Nesterov's look ahead: the running mean of the gradients and the gradient again."""
        assert matrix.grad is not None
        state = self.state[matrix]
        if "momentum" not in state:
            state["step"] = torch.zeros(())  # AdamW looks for one when a state is loaded
            state["momentum"] = torch.zeros_like(matrix)
        running: Tensor = state["momentum"].lerp_(matrix.grad, 1 - share)
        return matrix.grad.lerp(running, share)


def orthogonalize(x: Tensor) -> Tensor:
    """Matrices (n, a, b) with their singular values set to about one, singular vectors kept."""
    tall = x.shape[-2] > x.shape[-1]
    y = x.mT if tall else x
    y = y / y.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    one, three, five = QUINTIC
    for _ in range(ITERATIONS):
        gram = y @ y.mT
        # Products that add: a fifth faster than one operation after the other.
        inner = torch.baddbmm(gram, gram, gram, beta=three, alpha=five)
        y = torch.baddbmm(y, inner, y, beta=one)
    return y.mT if tall else y


def matrices_and_others(model: Model) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trainable weights between hidden layers, and all others: see `Model.hidden`."""
    hidden = {
        id(parameter)
        for name in model.hidden
        for parameter in model.get_submodule(name).parameters()
        if parameter.ndim == 2
    }
    every = [p for p in model.parameters() if p.requires_grad]
    return [p for p in every if id(p) in hidden], [p for p in every if id(p) not in hidden]
