"""Features in two halves: one that a transformation shall not change, and one that shall tell it.

Which features belong to which half is a module, the split: some channels each (`SplitChannels`), or
what an equivariant network's group axis says by itself (`SplitGroup`). A split takes pooled
features (b, c, g) and feature maps (b, c, g, h, w) alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor, nn

from hierforecast._options import choice, number
from hierforecast.image_ssl.groups import Group, as_group
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.objective import Setting


class Halves(NamedTuple):
    """Features in two halves.

    Attributes:
        invariant: (b, c, g, ...), with the invariant half's own c and g.
        equivariant: (b, c, g, ...), with the equivariant half's own c and g.
    """

    invariant: Tensor
    equivariant: Tensor

    def pooled(self) -> Halves:
        """The mean over space of both halves, which are maps."""
        return Halves(*(half.mean((-2, -1)) for half in self))


class Split(nn.Module):
    """What a split is: features (b, c, g, ...) to `Halves`.

    Attributes:
        group: of the invariant half; its g is ``group.order``.
        channels: c of the invariant half.
        equivariant_shape: (c, g) of the equivariant half.
    """

    group: Group
    channels: int
    equivariant_shape: tuple[int, int]

    @property
    def equivariant_dim(self) -> int:
        """Numbers of the equivariant half, c x g."""
        channels, order = self.equivariant_shape
        return channels * order


class SplitChannels(Split):
    """The first channels are the invariant half, the others the equivariant one.

    SIE and arXiv 2412.03314 split plain features so, in the middle. Of a group's network, both
    halves keep the group's axis; a projector that averages over it makes the first invariant.

    Args:
        share: of the channels that are invariant; at least one channel is left on each side.

    Raises:
        ValueError: if the share is not between 0 and 1, or there is but one channel.
    """

    def __init__(self, backbone: Backbone, share: float = 0.5) -> None:
        super().__init__()
        self.group, channels = as_group(backbone.group), backbone.channels
        number("share", share, 0, 1, ends=False)
        if channels < 2:
            raise ValueError("a backbone of one channel has no two halves: give a wider one")
        self.channels = min(max(1, round(share * channels)), channels - 1)
        self.equivariant_shape = (channels - self.channels, self.group.order)

    def forward(self, features: Tensor) -> Halves:
        """Cut (b, c, g, ...) along the channels."""
        return Halves(features[:, : self.channels], features[:, self.channels :])


class SplitGroup(Split):
    """The mean over the group is the invariant half, what is left the equivariant one.

    Both are exact: turning the image does not change the first, and moves the entries of the
    second. Features of the halves together are the features, in other coordinates: nothing is lost.
    It is invariance to the group's own turns that comes for free; a loss has to teach the rest.

    Raises:
        ValueError: if the group is trivial: nothing would be left.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        group, self.channels = as_group(backbone.group), backbone.channels
        if group.order == 1:
            raise ValueError(
                "a plain network has no group to split by: use SplitChannels, or a network of "
                "another group than C1"
            )
        self.group = Group("C1")
        self.equivariant_shape = (self.channels, group.order)

    def forward(self, features: Tensor) -> Halves:
        """Part (b, c, g, ...) into its mean (b, c, 1, ...) and the rest (b, c, g, ...)."""
        mean = features.mean(2, keepdim=True)
        return Halves(mean, features - mean)


class SplitBackbone(nn.Module):
    """A backbone whose features come in two halves."""

    def __init__(self, backbone: Backbone, split: Split) -> None:
        super().__init__()
        self.backbone, self.split = backbone, split

    @property
    def invariant(self) -> InvariantHalf:
        """The invariant half as a backbone: what `MoCo`, `VICReg` and their projectors take."""
        return InvariantHalf(self)

    def forward(self, images: Tensor) -> Halves:
        """Both halves of the feature maps (b, c, g, h', w') of images (b, 3, h, w)."""
        halves: Halves = self.split(self.backbone.maps(images))
        return halves


class InvariantHalf(Backbone):
    """The invariant half of a `SplitBackbone`, as a backbone: images to features (b, c, g).

    Args:
        halves: shared, not copied.
    """

    def __init__(self, halves: SplitBackbone) -> None:
        super().__init__()
        self.halves = halves
        self.group, self.channels = halves.split.group, halves.split.channels

    def maps(self, images: Tensor) -> Tensor:
        """Invariant maps (b, c, g, h', w') of images (b, 3, h, w)."""
        halves: Halves = self.halves(images)
        return halves.invariant


def split_for(setting: Setting, split: float | str) -> tuple[SplitBackbone, Setting]:
    """The backbone in halves, and the setting of the heads on the invariant half.

    Args:
        split: invariant share of the channels, or ``"group"`` for `SplitGroup`.
    """
    backbone, setting = setting.backbone, replace(setting, hidden=setting.width)
    if isinstance(split, str):
        made = choice("split", split, {"group": SplitGroup})
        return SplitBackbone(backbone, made(backbone)), replace(setting, head=Group("C1"))
    return SplitBackbone(backbone, SplitChannels(backbone, split)), setting
