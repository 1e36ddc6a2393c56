"""From horizon tokens to the numbers that a head needs, step by step, in one shot."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

# By how much faster than other weights levels of steps are learned, as they are few and sure, and
# how far they go.
_FAST = 3.0


class _Steps(nn.Module):
    """What both decoders share: patches become the steps forecast.

    Args:
        width: features of a token.
        patch: steps in a token.
        n_locs: numbers for the loc of a step: D, or K * D of a head with K of them.
        n_features: F, numbers for the shape of a step that the head asks for.
        prediction_length: steps forecast; those beyond it in the last patch are cut.

    Attributes:
        level: (H, F), of the shape of each step, where there are several tokens; else None.
    """

    added = ("level",)  # earlier versions saved none
    level: nn.Parameter | None
    shape: nn.Sequential

    def __init__(
        self, width: int, patch: int, n_locs: int, n_features: int, prediction_length: int
    ) -> None:
        super().__init__()
        self.patch, self.n_locs, self.prediction_length = patch, n_locs, prediction_length
        self._build(width, n_features)
        # What all tokens share hardly tells the first step ahead, where next to nothing is unsure,
        # from the first one of a later token: draws would jump there.
        self.level = None
        if prediction_length > patch:
            self.level = nn.Parameter(torch.zeros(prediction_length, n_features))

    def _build(self, width: int, n_features: int) -> None:
        raise NotImplementedError

    @property
    def moves(self) -> bool:
        """Whether there is any loc but zero."""
        return False

    def hold(self) -> None:
        """Make the loc zero, whatever the tokens are."""

    def halve(self) -> None:
        """Make the loc half of what it is."""

    def _shapes(self, tokens: Tensor) -> Tensor:
        """Tokens (P, t, width) to the shapes of steps, (P, H, F)."""
        shape = self._steps(self.shape(tokens))
        return shape if self.level is None else shape + _FAST * self.level.tanh()

    def _steps(self, x: Tensor) -> Tensor:
        """Patches to steps: (P, t, patch * f) -> (P, H, f)."""
        return rearrange(x, "p t (k f) -> p (t k) f", k=self.patch)[:, : self.prediction_length]


class Decoder(_Steps):
    """Each horizon token gives loc and shape of the distribution in its patch of steps.

    The shape is read from tokens whose gradient is cut. The encoder thus learns for the loc alone,
    and the likelihood, steep wherever the distribution is sharp, cannot drown it: trained together,
    the loc hardly left the linear forecast (benchmarks/results/tried.md). The loc begins at zero:
    before the first step a forecast is the one that it is added to.
    """

    def _build(self, width: int, n_features: int) -> None:
        self.norm = nn.LayerNorm(width)
        self.mean = nn.Linear(width, self.patch * self.n_locs)
        self.shape = _shape_layers(width, self.patch * n_features)
        self.hold()

    @property
    def moves(self) -> bool:
        """See `_Steps`."""
        return any(bool(x.any()) for x in self.mean.parameters())

    def hold(self) -> None:
        """See `_Steps`."""
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)

    @torch.no_grad()
    def halve(self) -> None:
        """See `_Steps`."""
        for each in self.mean.parameters():
            each.mul_(0.5)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Horizon tokens (P, t, width) -> loc (P, H, n_locs), shape (P, H, F)."""
        return self._steps(self.mean(self.norm(tokens))), self._shapes(tokens.detach())


class ShapeDecoder(_Steps):
    """The same for data whose direction cannot be learned: the loc is zero, as the head starts it.

    The encoder learns for the shape, since there is no loc that it could drown.
    """

    def _build(self, width: int, n_features: int) -> None:
        self.shape = _shape_layers(width, self.patch * n_features)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Horizon tokens (P, t, width) -> loc (P, H, n_locs), shape (P, H, F)."""
        shape = self._shapes(tokens)
        return shape.new_zeros(*shape.shape[:2], self.n_locs), shape


def _shape_layers(width: int, outputs: int) -> nn.Sequential:
    """Layers whose outputs begin small: a distribution starts close to the linear forecast's."""
    last = nn.Linear(2 * width, outputs)
    layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), last)
    nn.init.normal_(last.weight, std=0.02)
    nn.init.zeros_(last.bias)
    return layers
