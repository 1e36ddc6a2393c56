"""Learning from answers: what self-supervised features are judged against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast._random import with_generator
from hierforecast.image_ssl.augment import Transformation
from hierforecast.image_ssl.split.pairs import Pair
from hierforecast.image_ssl.split.parameters import RelativeParameters, rows

__all__ = ["ParameterRegression", "Supervised", "label_loss"]


class Supervised(nn.Module):
    """Learn the labels: backbone + classifier + cross-entropy.

    Args:
        backbone: images (b, 3, h, w) to features (b, c, g).
        head: features to scores (b, classes); ``Projector(backbone, (classes,))``.
        augment: what is done to images before; nothing if None.
    """

    generator: torch.Generator | None = None

    def __init__(
        self, backbone: nn.Module, head: nn.Module, augment: Transformation | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.augment = backbone, head, augment

    def labelled_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """`label_loss` of images (b, 3, h, w), floats in [0, 1].

        Raises:
            DataError: if the images are not such.
        """
        if self.augment is not None:
            with torch.no_grad():
                view = with_generator(self.augment)(images.float(), generator=self.generator)
                images = view.images.to(images.dtype)
        return label_loss(self.head(self.backbone(images)), labels)


class ParameterRegression(nn.Module):
    """Learn the relative parameters of two views, where they are known.

    Args:
        backbone: images (b, 3, h, w) to features (b, c, g).
        head: both views' features, (b, 2 * c * g), to (b, k) numbers.
        parameters: the k numbers; see `parameters_of`.
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, parameters: RelativeParameters
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.told = backbone, head, parameters

    def pair_loss(self, pair: Pair) -> Tensor:
        """Mean squared error of the known pairs' numbers; zero if there is no known pair.

        Raises:
            DataError: if the pair lacks a parameter.
        """
        features = [self.backbone(view.images).flatten(1) for view in (pair.first, pair.second)]
        found = self.head(torch.cat(features, 1))[pair.known]
        wanted = self.told(rows(pair.relative, pair.known)).to(found)
        return F.mse_loss(found, wanted) if len(found) else found.sum() * 0


def label_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of scores (b, classes), in nats.

    Args:
        scores: of each class.
        labels: (b,) int64; or, where images show several classes, (b, classes) of 0 and 1, NaN
            where a class is not to be judged: then each class is a question of its own.
    """
    if labels.ndim == 1:
        return F.cross_entropy(scores, labels)
    judged = ~labels.isnan()
    terms = F.binary_cross_entropy_with_logits(
        scores, labels.nan_to_num().to(scores), judged.to(scores)
    )
    return terms * judged.numel() / judged.sum().clamp(min=1)
