"""Learning what a transformation does by reconstructing the transformed image.

arXiv 2412.03314: the invariant halves of two views' features go to an objective of two views, the
equivariant halves to a decoder that reconstructs one of the views. No transformation need be known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from hierforecast._options import choice, number
from hierforecast.image_ssl.augment import Compose, every_kind
from hierforecast.image_ssl.contrastive import LEARNERS, ViewObjective
from hierforecast.image_ssl.objective import Method, Objective, Setting, source_of
from hierforecast.image_ssl.split.decoder import (
    CrossAttentionDecoder,
    MapTokens,
    PooledTokens,
    squared_error,
    whitened_error,
)
from hierforecast.image_ssl.split.encoder import (
    Halves,
    InvariantHalf,
    SplitBackbone,
    split_for,
)
from hierforecast.image_ssl.views import Augmented, Between, Poses, Views

ERRORS = {"squared": squared_error, "whitened": whitened_error}
TOKENS = {"pooled": PooledTokens, "maps": MapTokens}


class Reconstruction(Objective):
    """A loss of two views on the invariant half, a reconstruction from the equivariant halves.

    ::

        halves = SplitBackbone(backbone, SplitChannels(backbone))
        learner = VICReg(halves.invariant, Projector(halves.invariant))
        decoder = CrossAttentionDecoder(33)
        tokens = PooledTokens(halves.split, decoder.dim, decoder.grid)
        method = Reconstruction(learner, tokens, decoder)

    As the paper is read here: the first view is reconstructed. Queries come from its own
    equivariant half, keys and values from the other view's, and queries are added to what attention
    finds. Without its own half there would be nothing to tell how it was transformed; the other
    half may add what both views show. Views are drawn alike, so that reconstructing the second as
    well would change no expectation, only the cost. Where an image is given that lies between the
    views (arXiv 2503.18753), that is reconstructed instead, for which both halves are needed.

    Args:
        learner: `VICReg`, `MoCo` or another objective of two views whose backbone is
            ``SplitBackbone.invariant``.
        tokens: equivariant maps (b, c, g, h, w) to tokens (b, n, dim); `PooledTokens`.
        decoder: tokens of two views to images (b, 3, h, w); `CrossAttentionDecoder`.
        weight: of the error of the reconstruction.
        error: standardized reconstruction and view, (b, 3, h, w) both, to a number;
            `squared_error`, or `whitened_error`, by which photographs keep more of their colors.

    Raises:
        ValueError: if the learner's backbone is no invariant half, or the weight is below zero.
    """

    posed = True

    def __init__(
        self,
        learner: ViewObjective,
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
        self.learner, self.tokens, self.decoder = learner, tokens, decoder
        self.weight, self.error = number("weight", weight, 0), error

    @classmethod
    def build(
        cls,
        setting: Setting,
        *,
        learner: str = "vicreg",
        split: float | str = 0.5,
        tokens: str = "pooled",
        weight: float = 20.0,
        error: str = "squared",
        decoder: Mapping[str, Any] | None = None,
        between: bool = False,
        augment: Compose | Poses | None = None,
        **options: Any,
    ) -> Method:
        """The method with a `CrossAttentionDecoder`.

        Args:
            between: reconstruct what lies between the views, for which they must be augmented.
            augment: makes the views, or `Poses`; `every_kind` if None.

        Raises:
            ValueError: for an unknown learner, split or kind of tokens, or one between poses.
        """
        learners = choice("learner", learner, LEARNERS)
        make_tokens, error_of = choice("tokens", tokens, TOKENS), choice("error", error, ERRORS)
        halves, setting = split_for(setting, split)
        projector = learners.projector_for(halves.invariant, setting)
        decodes = CrossAttentionDecoder(setting.size, **(decoder or {}))
        objective = cls(
            learners(halves.invariant, projector, **options),
            make_tokens(halves.split, decodes.dim, decodes.grid),
            decodes,
            weight=weight,
            error=error_of,
        )
        augment = augment or every_kind(setting.size)
        if not between:
            return Method(objective, source_of(augment))
        if isinstance(augment, Poses):
            raise ValueError(
                "between=True reconstructs augmented views: no image lies between two poses"
            )
        return Method(objective, Augmented(augment, None, Between()))

    @property
    def halves(self) -> SplitBackbone:
        """The network that is trained, in halves."""
        return cast(InvariantHalf, self.learner.backbone).halves

    @property
    def backbone(self) -> nn.Module:
        """The network that is trained."""
        return self.halves.backbone

    def loss(self, views: Views) -> Tensor:
        """The learner's loss plus the weighted error of the reconstruction.

        Reconstructed is the first view, or what lies between the views if that is given.
        """
        learned, error = self.terms(views)
        return learned + self.weight * error

    def terms(self, views: Views) -> tuple[Tensor, Tensor]:
        """The learner's loss and the error of the reconstruction, without weights."""
        self.learner.check(views)
        first, second = self.halves(views.first), self.halves(views.second)
        one, other = (halves.pooled().invariant for halves in (first, second))
        learned = self.learner.loss_of_features(one, other, views)
        target = views.first if views.between is None else views.between
        return learned, self.error(self._decode(first, second), target)

    def reconstruct(self, first: Tensor, second: Tensor) -> Tensor:
        """The standardized image (b, 3, h, w) that is reconstructed from two views."""
        return self._decode(self.halves(first), self.halves(second))

    def _decode(self, first: Halves, second: Halves) -> Tensor:
        tokens = (self.tokens(halves.equivariant) for halves in (first, second))
        image: Tensor = self.decoder(*tokens)
        return image
