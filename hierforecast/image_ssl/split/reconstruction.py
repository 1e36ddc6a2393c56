"""Learning what a transformation does by painting the transformed image.

arXiv 2412.03314: the invariant halves of two views' features go to a loss of part one, the
equivariant halves to a decoder that paints one of the views. No transformation need be known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from hierforecast.image_ssl.contrastive.losses import check_weights
from hierforecast.image_ssl.contrastive.method import ViewMethod
from hierforecast.image_ssl.split.decoder import squared_error
from hierforecast.image_ssl.split.encoder import Halves, InvariantHalf, SplitBackbone
from hierforecast.image_ssl.split.pairs import Pair

__all__ = ["Reconstruction"]


class Reconstruction(nn.Module):
    """A loss of two views on the invariant half, a reconstruction from the equivariant halves.

    ::

        halves = SplitBackbone(backbone, SplitChannels(backbone))
        learner = VICReg(halves.invariant, Projector(halves.invariant))
        decoder = CrossAttentionDecoder(33)
        tokens = PooledTokens(halves.split, decoder.dim, decoder.grid)
        method = Reconstruction(learner, tokens, decoder)

    As the paper is read here: the first view is painted. Queries come from its own equivariant
    half, keys and values from the other view's, and queries are added to what attention finds.
    Without its own half there would be nothing to tell how it was transformed; the other half may
    add what both views show. Views are drawn alike, so that painting the second as well would
    change no expectation, only the cost. Where a pair brings an image that lies between its views
    (arXiv 2503.18753), that is painted instead, for which both halves are needed.

    Args:
        learner: `VICReg`, `MoCo` or another method of two views whose backbone is
            ``SplitBackbone.invariant``.
        tokens: equivariant maps (b, c, g, h, w) to tokens (b, n, dim); `PooledTokens`.
        decoder: tokens of two views to images (b, 3, h, w); `CrossAttentionDecoder`.
        weight: of the error of painting.
        error: what is painted, standardised, and the view, (b, 3, h, w) both, to a number;
            `squared_error`, or `whitened_error`, by which photographs keep more of their colours.

    Raises:
        ValueError: if the learner's backbone is no invariant half, or the weight is below zero.
    """

    def __init__(
        self,
        learner: ViewMethod,
        tokens: nn.Module,
        decoder: nn.Module,
        *,
        weight: float = 20.0,
        error: Callable[[Tensor, Tensor], Tensor] = squared_error,
    ) -> None:
        super().__init__()
        if not isinstance(learner.backbone, InvariantHalf):
            raise ValueError(
                f"the learner's backbone is a {type(learner.backbone).__name__}: build it on "
                "SplitBackbone(backbone, split).invariant, so that it leaves the other half alone"
            )
        check_weights(weight=weight)
        self.learner, self.tokens, self.decoder = learner, tokens, decoder
        self.weight, self.error = weight, error

    @property
    def halves(self) -> SplitBackbone:
        """The network that is trained, in halves."""
        return cast(InvariantHalf, self.learner.backbone).halves

    @property
    def backbone(self) -> nn.Module:
        """The network that is trained."""
        return self.halves.backbone

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """The learner's loss plus the weighted error of painting the first view.

        Args:
            first: (b, 3, h, w), floats.
            second: of the same shape; row i shows the same image as row i of `first`.

        Raises:
            DataError: as `ViewMethod.loss` does.
        """
        return self._loss(first, second, first)

    def pair_loss(self, pair: Pair) -> Tensor:
        """The same of a pair, painting what lies between its views if the pair brings it."""
        first, second = pair.first.images, pair.second.images
        return self._loss(first, second, first if pair.between is None else pair.between)

    def reconstruct(self, first: Tensor, second: Tensor) -> Tensor:
        """The standardised image (b, 3, h, w) that is painted of two views."""
        return self._paint(self.halves(first), self.halves(second))

    def terms(self, first: Tensor, second: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The learner's loss and the error of painting `target`, without weights."""
        with _Watch(self.halves) as watch:
            learned = self.learner.loss(first, second)
        painted = self._paint(watch.halves_of(first), watch.halves_of(second))
        return learned, self.error(painted, target)

    def _loss(self, first: Tensor, second: Tensor, target: Tensor) -> Tensor:
        learned, error = self.terms(first, second, target)
        return learned + self.weight * error

    def _paint(self, first: Halves, second: Halves) -> Tensor:
        one, other = (self.tokens(halves.equivariant) for halves in (first, second))
        image: Tensor = self.decoder(one, other)
        return image


class _Watch:
    """Keeps the halves that a loss computes, so that no view goes through the network twice."""

    def __init__(self, halves: SplitBackbone) -> None:
        self.network = halves
        self.seen: list[tuple[Tensor, Halves]] = []

    def __enter__(self) -> _Watch:
        self.handle = self.network.register_forward_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def halves_of(self, images: Tensor) -> Halves:
        """The halves of these very images; computed if the loss has not."""
        for shown, halves in self.seen:
            if shown is images:
                return halves
        computed: Halves = self.network(images)
        return computed

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: Halves) -> None:
        self.seen.append((inputs[0], output))
