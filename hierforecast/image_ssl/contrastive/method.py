"""What objectives of two views have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Transformation, contrastive
from hierforecast.image_ssl.groups import as_group
from hierforecast.image_ssl.nn.backbone import Backbone, evaluating
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.objective import Method, Objective, Setting, source_of
from hierforecast.image_ssl.views import Poses, Views


class ViewObjective(Objective):
    """Learning from two augmented views of each image: backbone + projector + loss.

    The arms of a comparison are compositions, and an objective does not know which one it is in::

        MoCo(plain, Projector(plain))               # plain
        MoCo(network, Projector(network))           # equivariant model, invariant loss
        MoCo(network, Projector(network, group="C1"))  # equivariant model, ordinary loss

    Subclasses give `compare`. The two views go through the networks one after the other, never as
    one batch: batch norms take the statistics of one view at a time, in all objectives alike, so
    that they differ in nothing but their loss. (The authors of MoCo and SimSiam do so too; those of
    SwAV put views of the same size in one batch.) It costs the same arithmetic.

    Args:
        backbone: images (b, 3, h, w) to features (b, c, g), with `group` and `channels`.
        projector: features to vectors (b, d); `Projector(backbone)`.

    Attributes:
        dim: numbers d of a vector.
        last_norm: whether the usual projector normalizes its output.
        usual_views: size of the images to the augmentation that is used if none is given.

    Raises:
        ValueError: if the projector does not fit the backbone.
    """

    posed = True
    last_norm: ClassVar[bool] = False
    usual_views: ClassVar[Callable[[int], Transformation]] = staticmethod(contrastive)

    def __init__(self, backbone: Backbone, projector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.projector = backbone, projector
        channels, order = backbone.channels, as_group(backbone.group).order
        try:
            with evaluating(projector) as like, torch.no_grad():
                vectors: Tensor = projector(torch.zeros(2, channels, order).to(like))
        except RuntimeError as error:
            raise ValueError(
                f"the projector does not take this backbone's features (b, {channels}, {order}): "
                "make it for this very backbone, Projector(backbone, ...)"
            ) from error
        if vectors.ndim != 2:
            raise ValueError(
                f"the projector maps features (2, {channels}, {order}) to {tuple(vectors.shape)}: "
                "it must give vectors (b, d), as Projector(backbone, ...) does"
            )
        self.dim = vectors.shape[1]

    @classmethod
    def build(
        cls, setting: Setting, *, augment: Transformation | Poses | None = None, **options: Any
    ) -> Method:
        """The method with a projector of two layers; its options are those of the constructor."""
        objective = cls(setting.backbone, cls.projector_for(setting.backbone, setting), **options)
        return Method(objective, source_of(augment or cls.usual_views(setting.size)))

    @classmethod
    def projector_for(cls, backbone: Backbone, setting: Setting) -> Projector:
        """The usual projector of a backbone, or of the half of one."""
        widths = setting.hidden, setting.width
        return Projector(backbone, widths, setting.head, last_norm=cls.last_norm)

    def embed(self, images: Tensor) -> Tensor:
        """Vectors (b, d) of images (b, 3, h, w), of any length."""
        vectors: Tensor = self.projector(self.backbone(images))
        return vectors

    def loss(self, views: Views) -> Tensor:
        """Loss of two views of the same images, the same for both orders of them.

        In training mode this also updates what an objective keeps between batches: queues, a
        momentum encoder, running statistics.

        Raises:
            DataError: for whole numbers, differing shapes, no image, or a single one in training.
        """
        self.check(views)
        first, second = (self.backbone(images) for images in (views.first, views.second))
        return self.loss_of_features(first, second, views)

    def loss_of_features(self, first: Tensor, second: Tensor, views: Views) -> Tensor:
        """The loss of views whose features (b, c, g) are known."""
        return self.compare(self.projector(first), self.projector(second), views)

    def compare(self, first: Tensor, second: Tensor, views: Views) -> Tensor:
        """The loss of the vectors (b, d) of two views."""
        name = type(self).__name__
        raise NotImplementedError(f"{name} must define compare(first, second, views)")

    def check(self, views: Views) -> None:
        """Refuse views that cannot be compared, as `loss` says."""
        first, second = views.first, views.second
        if first.shape != second.shape or first.ndim != 4:
            raise DataError(
                f"views {tuple(first.shape)} and {tuple(second.shape)}: give two of the same shape "
                "(b, 3, h, w), two crops of each image"
            )
        if not (first.is_floating_point() and second.is_floating_point()):
            raise DataError(
                f"views of {first.dtype} and {second.dtype}: networks take floats in [0, 1], "
                "bytes become those by as_float"
            )
        if len(first) < (2 if self.training else 1):
            raise DataError(
                f"{len(first)} images in a batch, too few to compare and to take batch statistics "
                "of: use larger batches, and drop_last=True if this was the last of an epoch"
            )
