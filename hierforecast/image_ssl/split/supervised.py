"""Learning from answers: what self-supervised features are compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.image_ssl.augment import Compose, Transformation, every_kind
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.objective import Method, Objective, Setting, source_of
from hierforecast.image_ssl.split.parameters import RelativeParameters, parameters_of
from hierforecast.image_ssl.views import AugmentedOnce, Poses, Views


class Supervised(Objective):
    """Learn the labels: backbone + classifier + cross-entropy.

    Args:
        backbone: images (b, 3, h, w) to features (b, c, g).
        head: features to scores (b, classes); ``Projector(backbone, (classes,))``.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    @classmethod
    def build(
        cls, setting: Setting, *, classes: int, augment: Transformation | None = None
    ) -> Method:
        """The method with one linear layer, for so many `classes`; augmented by `every_kind`."""
        head = Projector(setting.backbone, (classes,), setting.head)
        source = AugmentedOnce(augment or every_kind(setting.size))
        return Method(cls(setting.backbone, head), source)

    def loss(self, views: Views) -> Tensor:
        """`label_loss` of the first views."""
        assert views.labels is not None
        return label_loss(self.head(self.backbone(views.first)), views.labels)


class ParameterRegression(Objective):
    """Learn the relative parameters of two views, where they are known.

    Args:
        backbone: images (b, 3, h, w) to features (b, c, g).
        head: both views' features, (b, 2 * c * g), to (b, k) numbers.
        parameters: the k numbers; see `parameters_of`.
    """

    posed = True

    def __init__(
        self, backbone: nn.Module, head: nn.Module, parameters: RelativeParameters
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.encode = backbone, head, parameters

    @classmethod
    def build(
        cls,
        setting: Setting,
        *,
        fed: str = "all",
        known: float = 1.0,
        augment: Compose | Poses | None = None,
    ) -> Method:
        """The method with a small network; `fed`, `known`, `augment` as for `SIE`.

        The network is an ordinary one whatever ``setting.head`` says: an average over the group
        would lose what it is to find.
        """
        backbone, width = setting.backbone, setting.width
        augment = augment or every_kind(setting.size)
        encode = parameters_of(augment, fed)
        layers = nn.Sequential(
            nn.Linear(2 * backbone.channels * backbone.group.order, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, encode.width),
        )
        return Method(cls(backbone, layers, encode), source_of(augment, known))

    def loss(self, views: Views) -> Tensor:
        """Mean squared error of the known rows' numbers; zero if none is known."""
        features = [self.backbone(images).flatten(1) for images in views[:2]]
        relative, known = views.known_relative()
        found = self.head(torch.cat(features, 1))[known]
        wanted = self.encode(relative).to(found)
        return F.mse_loss(found, wanted) if len(found) else found.sum() * 0


def label_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of scores (b, classes), in nats.

    Args:
        scores: of each class.
        labels: (b,) int64; or, where images show several classes, (b, classes) of 0 and 1, NaN
            where a class is unknown: then each class is a binary classification of its own.
    """
    if labels.ndim == 1:
        return F.cross_entropy(scores, labels)
    known = ~labels.isnan()
    terms = F.binary_cross_entropy_with_logits(
        scores, labels.nan_to_num().to(scores), known.to(scores)
    )
    return terms * known.numel() / known.sum().clamp(min=1)
