"""What a probe may see of a frozen network besides its pooled features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.image_ssl.nn.resnet import ResNet


class BlockReadout(nn.Module):
    """The maps of every block, averaged over the cells of a grid: what is seen, and roughly where.

    Pooled features of the last block alone say neither where a thing is nor what the earlier blocks
    saw, and a short training leaves much to them. The literature of pretext tasks probes such maps
    too (Noroozi and Favaro 2016; Coates and Ng 2011 pool over quadrants).

    Args:
        grid: cells along a side.
    """

    def __init__(self, backbone: ResNet, grid: int = 2) -> None:
        super().__init__()
        self.backbone, self.grid = backbone, grid

    def forward(self, images: Tensor) -> Tensor:
        """Features (b, blocks' c * cells, g) of images (b, 3, h, w)."""
        maps = self.backbone.block_maps(images)
        cells = [F.adaptive_avg_pool2d(m.flatten(1, 2), self.grid).flatten(2) for m in maps]
        parts = [
            c.unflatten(1, m.shape[1:3]).transpose(2, 3) for c, m in zip(cells, maps, strict=True)
        ]
        return torch.cat([part.flatten(1, 2) for part in parts], 1)


class MirrorMean(nn.Module):
    """The mean of the features of an image and of its mirror image, which tell the same."""

    def __init__(self, readout: nn.Module) -> None:
        super().__init__()
        self.readout = readout

    def forward(self, images: Tensor) -> Tensor:
        """Features of images (b, 3, h, w), shaped as the readout's."""
        both: Tensor = self.readout(images) + self.readout(images.flip(-1))
        return both / 2
