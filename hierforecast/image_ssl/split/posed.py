"""Learning from two views of one object in known poses, instead of two augmented views."""

from __future__ import annotations

from torch import Tensor, nn

from hierforecast.image_ssl.augment import View
from hierforecast.image_ssl.augment.base import check_probability
from hierforecast.image_ssl.data.views import ViewPairs
from hierforecast.image_ssl.split.pairs import Pair

__all__ = ["PosedViews"]

# Multiples of it spread evenly over the circle: every run of objects has its share of known ones.
GOLDEN = (5**0.5 - 1) / 2


class PosedViews(nn.Module):
    """A method of pairs, as one that learns from `PosedPairs`; nothing is done to the views.

    Args:
        method: `SIE` or another module with `backbone` and ``pair_loss(pair)``, or `VICReg` or
            another one with `backbone` and ``loss(first, second)``.
        known: share of the *objects* whose poses are known. An object is known whenever it comes
            or never, by its number in the set.

    Raises:
        ValueError: if `known` is no share.
    """

    def __init__(self, method: nn.Module, known: float = 1.0) -> None:
        super().__init__()
        self.method, self.known = method, check_probability(known)

    @property
    def backbone(self) -> nn.Module:
        """The network that is trained."""
        return self.method.get_submodule("backbone")

    def pair(self, pairs: ViewPairs) -> Pair:
        """What a method of pairs with parameters is shown."""
        first, second = (View(images, {}) for images in (pairs.first, pairs.second))
        known = pairs.objects.double() * GOLDEN % 1 < self.known
        return Pair(first, second, pairs.relative, known)

    def views_loss(self, pairs: ViewPairs) -> Tensor:
        """Loss of pairs whose images (b, 3, h, w) are floats in [0, 1].

        Raises:
            DataError: if a method needs more pairs, or a parameter that these lack.
        """
        told = hasattr(self.method, "pair_loss")
        shown = (self.pair(pairs),) if told else (pairs.first, pairs.second)
        loss: Tensor = getattr(self.method, "pair_loss" if told else "loss")(*shown)
        return loss
