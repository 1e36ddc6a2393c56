"""What heads, splits and probes ask of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every part is then left in the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
