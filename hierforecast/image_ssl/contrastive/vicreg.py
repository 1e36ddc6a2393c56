"""VICReg (Bardes, Ponce and LeCun, arXiv 2105.04906)."""

from __future__ import annotations

from torch import Tensor, nn

from hierforecast.image_ssl.augment import every_kind
from hierforecast.image_ssl.contrastive.losses import (
    covariance,
    invariance,
    variance,
    weighted,
    weights,
)
from hierforecast.image_ssl.contrastive.method import ViewObjective
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.views import Views


class VICReg(ViewObjective):
    """Bring the views together, while every number varies and no two of them vary together.

    The published forms differ. Here the weights are those of the authors' experiments: the squared
    difference is a mean over the d numbers and the variance term a mean over the two views; the
    covariance terms of both views are added. Eq. 6 as it is printed adds the variance terms and
    sums over the numbers: that is ``invariance=25 * d, variance=50``. Statistics are of one
    device's batch; the authors gather those of all.

    Args:
        projector: features to vectors (b, d); averaged over the group for the invariant loss. The
            authors' is wide: d is four times the features.
        invariance: weight of the term that brings the views together.
        variance: weight of the term that keeps each number's standard deviation near one.
        covariance: weight of the term that keeps numbers apart.
    """

    # Compared with SIE and the reconstruction: all of them see views of one recipe.
    usual_views = staticmethod(every_kind)

    def __init__(
        self,
        backbone: Backbone,
        projector: nn.Module,
        *,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
    ) -> None:
        super().__init__(backbone, projector)
        self.weights = weights(invariance=invariance, variance=variance, covariance=covariance)

    def compare(self, first: Tensor, second: Tensor, views: Views) -> Tensor:
        """The weighted sum of the three terms (eq. 6, with the means said above), zero or more."""
        terms = {
            "invariance": invariance(first, second),
            "variance": (variance(first) + variance(second)) / 2,
            "covariance": covariance(first) + covariance(second),
        }
        return weighted(self.weights, terms)
