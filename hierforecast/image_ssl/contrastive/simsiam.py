"""SimSiam (Chen and He, arXiv 2011.10566)."""

from __future__ import annotations

from torch import Tensor, nn

from hierforecast._options import whole
from hierforecast.image_ssl.contrastive.losses import negative_cosine
from hierforecast.image_ssl.contrastive.method import ViewObjective
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.nn.heads import ConstantRate
from hierforecast.image_ssl.views import Views


class SimSiam(ViewObjective):
    """Predict the vector of one view from that of the other, which stands still.

    As in the authors' code, the norm after the projector learns no scale and no shift, and the
    predictor's learning rate is not decayed (their ``--fix-pred-lr``; in the paper's table 1 it
    gives 68.1 against 67.7): the predictor can follow vectors that still change. Their projector
    for ImageNet has one layer more than `build_method` gives.

    Args:
        projector: features to vectors (b, d); averaged over the group for the invariant loss. Give
            it a norm after its last layer, ``Projector(backbone, last_norm=True)``, as the paper
            has it (section 4.4): without, learning is slower and may collapse.
        predictor_width: hidden numbers of the predictor; a quarter of d if None, as in the paper.
    """

    last_norm = True

    def __init__(
        self, backbone: Backbone, projector: nn.Module, *, predictor_width: int | None = None
    ) -> None:
        super().__init__(backbone, projector)
        usual = max(1, self.dim // 4)
        width = usual if predictor_width is None else whole("predictor_width", predictor_width)
        self.predictor = ConstantRate(
            nn.Linear(self.dim, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, self.dim),
        )

    def compare(self, first: Tensor, second: Tensor, views: Views) -> Tensor:
        """Mean of `negative_cosine` in both directions (eq. 4), from -1 to 1."""
        there = negative_cosine(self.predictor(first), second)
        back = negative_cosine(self.predictor(second), first)
        return (there + back) / 2
