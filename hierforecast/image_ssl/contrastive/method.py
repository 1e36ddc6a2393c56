"""What methods of two views have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import as_group
from hierforecast.image_ssl.nn.backbone import Backbone

__all__ = ["ViewMethod"]


class ViewMethod(nn.Module):
    """Learning from two augmented views of each image: backbone + projector + loss.

    The arms of a comparison are compositions, and a method does not know which one it is in::

        MoCo(plain, Projector(plain))               # plain
        MoCo(network, Projector(network))           # equivariant model, invariant loss
        MoCo(network, Projector(network, group="C1"))  # equivariant model, ordinary loss

    Subclasses give `compare`. The two views go through the networks one after the other, never as
    one batch: batch norms take the statistics of one view at a time, in all methods alike, so that
    methods differ in nothing but their loss. (The authors of MoCo and SimSiam do so too; those of
    SwAV put views of the same size in one batch.) It costs the same arithmetic.

    Args:
        backbone: images (b, 3, h, w) to features (b, c, g), with `group` and `channels`.
        projector: features to vectors (b, d); `Projector(backbone)`.

    Attributes:
        dim: numbers d of a vector.

    Raises:
        ValueError: if the projector does not fit the backbone.
    """

    def __init__(self, backbone: Backbone, projector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.projector = backbone, projector
        self.dim = _measure(backbone, projector)

    def embed(self, images: Tensor) -> Tensor:
        """Vectors (b, d) of images (b, 3, h, w), of any length."""
        vectors: Tensor = self.projector(self.backbone(images))
        return vectors

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """Loss of two views of the same images, the same for both orders of them.

        In training mode this also updates what a method keeps between batches: queues, a momentum
        encoder, running statistics.

        Args:
            first: (b, 3, h, w), floats.
            second: of the same shape; row i shows the same image as row i of `first`.

        Raises:
            DataError: for whole numbers, differing shapes, no image, or a single one in training.
        """
        self._check(first, second)
        return self.compare(first, second)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of two views that have been checked."""
        raise NotImplementedError(f"{type(self).__name__} must define compare(first, second)")

    def _check(self, first: Tensor, second: Tensor) -> None:
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


def _measure(backbone: Backbone, projector: nn.Module) -> int:
    """Numbers that a projector puts out, found by giving it features of zeros."""
    group, channels = as_group(backbone.group), backbone.channels
    like = next(projector.parameters(), torch.empty(0))
    features = torch.zeros(2, channels, group.order, dtype=like.dtype, device=like.device)
    modes = {module: module.training for module in projector.modules()}
    try:
        with torch.no_grad():
            vectors: Tensor = projector.eval()(features)
    except RuntimeError as error:
        raise ValueError(
            f"the projector does not take this backbone's features (b, {channels}, {group.order}): "
            "make it for this very backbone, Projector(backbone, ...)"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    if vectors.ndim != 2:
        raise ValueError(
            f"the projector maps features {tuple(features.shape)} to {tuple(vectors.shape)}: it "
            "must give vectors (b, d), as Projector(backbone, ...) does"
        )
    return vectors.shape[1]
