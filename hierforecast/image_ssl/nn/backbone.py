"""What heads, splits and probes ask of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hierforecast.image_ssl.groups import Group


class Backbone(nn.Module):
    """A network from images to features: `ResNet`, or one of your own that gives `maps`.

    Attributes:
        group: the `Group` of the features' axis g.
        channels: c of the features.
    """

    group: Group
    channels: int

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps (b, c, g, h', w') of images (b, 3, h, w)."""
        raise NotImplementedError(f"{type(self).__name__} must define maps(images)")

    def forward(self, images: Tensor) -> Tensor:
        """Features (b, c, g) of images (b, 3, h, w): the mean of `maps` over space."""
        return self.maps(images).mean((-2, -1))


@contextmanager
def evaluating(module: nn.Module, device: torch.device | str | None = None) -> Iterator[Tensor]:
    """Evaluation mode, on a device, for a while; gives a tensor of the weights' type and place.

    Every part is then left in the mode and the place that it was in.
    """
    modes = {part: part.training for part in module.modules()}
    held = next(iter([*module.parameters(), *module.buffers()]), torch.empty(0))
    dtype = held.dtype if held.is_floating_point() else torch.float32
    try:
        module.eval().to(held.device if device is None else device)
        yield torch.empty(0, dtype=dtype, device=held.device if device is None else device)
    finally:
        module.to(held.device)
        for part, mode in modes.items():
            part.training = mode
