"""Residual networks of group convolutions; with the group C1 they are the plain ones.

The plain baseline is the same class with the trivial group: its filters have one copy each, and
nothing else differs. Sizes and layers are those of He et al. 2016 (ImageNet) and their small
relatives with a 3 x 3 stem (CIFAR).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, astuple, dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast._options import choice, whole
from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import Group, GroupLike, as_group
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.nn.conv import GroupConv2d, LiftingConv2d
from hierforecast.image_ssl.nn.sizes import Sampling, SizeError, is_exact, nearest_exact


@dataclass(frozen=True)
class Halving:
    """The layers of stride 2: all of one parity, so that sizes of that parity stay exact.

    Attributes:
        conv: a block's first convolution.
        shortcut: beside it.
        large_stem: a convolution and a max-pooling, for images as large as ImageNet's.
    """

    conv: Sampling
    shortcut: Sampling
    large_stem: tuple[Sampling, ...]

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Halving:
        """The samplings that `dataclasses.asdict` gave."""
        large = tuple(Sampling(**one) for one in options["large_stem"])
        return cls(Sampling(**options["conv"]), Sampling(**options["shortcut"]), large)


# He et al.'s own, exact on 33, 65, 225 ...; and their even neighbors, exact on 32, 64, 224 ...
ODD = Halving(Sampling(3, 2, 1), Sampling(1, 2), (Sampling(7, 2, 3), Sampling(3, 2, 1)))
EVEN = Halving(Sampling(4, 2, 1), Sampling(2, 2), (Sampling(8, 2, 3), Sampling(2, 2)))
SMALL_STEM = (Sampling(3, 1, 1),)
# Deviation below which an image counts as flat: two or three steps of 8-bit color.
FLAT = 0.01
WHOLE = Halving(Sampling(3, 1, 1), Sampling(1), ())  # halves nothing
FORMER = {"standardise": "standardize"}  # names of options in folders saved earlier


class _Residual(nn.Module):
    """Convolutions with norms, beside a shortcut."""

    def __init__(self, convs: Sequence[GroupConv2d], shortcut: GroupConv2d | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for conv in convs:
            layers += [conv, nn.BatchNorm3d(conv.out_channels), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if shortcut is not None:
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm3d(shortcut.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in, g, h, w) to (b, out, g, h', w')."""
        return F.relu(self.layers(x) + self.shortcut(x))


class ResNet(Backbone):
    """A residual network that commutes with a group, exactly.

    ``act(a, network(x)) == network(act(a, x))`` for every element a of the group, with
    `ImageAction` on images and `FeatureAction` on the features: a turned image gives the same
    features, each channel's g entries in other places.

    Args:
        group: ``"C1"`` for a plain network, ``"C4"`` (p4), ``"D4"`` (p4m), or another `Group`.
        depths: residual blocks of each stage; every stage but the first halves the image.
        width: channels c of the first stage; each later stage has twice as many.
        bottleneck: blocks 1 x 1, 3 x 3, 1 x 1 with four times the channels behind them.
        stem: the first convolution, and a max-pooling if there is a second entry.
        halving: kernels of the layers with stride 2, `ODD` or `EVEN`.
        image_size: side of the images; None takes any, and checks those that come.
        resize: bring images of another size to the nearest exact one, instead of an error.
        standardize: bring each image to mean 0 and deviation 1, so that a small tile, dark or pale,
            looks like the whole images that the features are wanted for.

    Raises:
        SizeError: if the group is not trivial and `image_size` is not exact for these layers.
        DataError: if there is no stage, a stage without blocks, or no channel.
    """

    def __init__(
        self,
        group: GroupLike = "C1",
        depths: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        *,
        bottleneck: bool = False,
        stem: Sequence[Sampling] = SMALL_STEM,
        halving: Halving = ODD,
        image_size: int | None = None,
        resize: bool = False,
        standardize: bool = True,
    ) -> None:
        super().__init__()
        depths, width = _checked(depths, width, stem)
        self.group = as_group(group)
        self._options: dict[str, Any] = {
            "group": self.group.name,
            "depths": depths,
            "width": width,
            "bottleneck": bottleneck,
            "stem": [asdict(sampling) for sampling in stem],
            "halving": asdict(halving),
            "image_size": image_size,
            "resize": resize,
            "standardize": standardize,
        }
        self.resize, self.image_size, self.standardize = resize, image_size, standardize
        # A block's shortcut samples the same size as its convolution and has the same parity.
        self.samplings = [*stem, *[halving.conv] * (len(depths) - 1)]
        if image_size is not None:
            self.image_size = self._accept(image_size)
        self.stem = _stem(self.group, width, *stem)
        self.channels, stages = width, []
        for number, depth in enumerate(depths):
            hidden = width * 2**number
            out = 4 * hidden if bottleneck else hidden
            for block in range(depth):
                first = halving if number > 0 and block == 0 else WHOLE
                stages.append(_block(self.group, self.channels, hidden, out, first))
                self.channels = out
        self.stages = nn.Sequential(*stages)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps (b, c, g, h', w') of images (b, 3, h, w)."""
        return self.block_maps(images)[-1]

    def block_maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps behind each residual block; raises as `maps`."""
        height, width = images.shape[-2:]
        wanted = (self._accept(height), self._accept(width))
        if wanted != (height, width):
            # Pixel centres, as align_corners=False has them, lie symmetric: resizing commutes.
            images = F.interpolate(images, wanted, mode="bilinear", antialias=True)
        found = [self.stem(standard(images) if self.standardize else images)]
        for block in self.stages:
            found.append(block(found[-1]))
        return found[1:]

    def to_dict(self) -> dict[str, Any]:
        """The options, as JSON holds them: `from_dict` builds the same layers of them."""
        return deepcopy(self._options)

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> ResNet:
        """A network, freshly initialized, of the options that `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: if an option is missing, unknown or out of its range.
        """
        options = {FORMER.get(name, name): value for name, value in options.items()}
        stem = [Sampling(**one) for one in options["stem"]]
        halving = Halving.from_dict(options["halving"])
        return cls(**{**options, "stem": stem, "halving": halving})

    def is_exact(self, size: int) -> bool:
        """Whether images with sides of `size` pixels are sampled symmetrically."""
        return self.group.order == 1 or is_exact(size, self.samplings)

    def _accept(self, size: int) -> int:
        """The size that is worked on."""
        if self.is_exact(size):
            return size
        exact = nearest_exact(size, self.samplings)
        if self.resize:
            return min(exact, key=lambda other: (abs(other - size), -other))
        raise SizeError(
            f"image size {size} is not exact for {self.group.name}: a layer of stride 2 would "
            f"sample off the center, and turning the image would change the features. Exact "
            f"sizes near it are {' and '.join(map(str, exact))}; give resize=True to have images "
            "resized to the nearer one, or halving=EVEN (ODD) for sizes of the other parity"
        )


def _checked(depths: Sequence[int], width: int, stem: Sequence[Sampling]) -> tuple[list[int], int]:
    """Depths and width as plain numbers."""
    whole_numbers = all(isinstance(n, Integral) for n in (*depths, width))
    if not depths or not stem or not whole_numbers or min(*depths, width) < 1:
        raise DataError(
            f"depths={tuple(depths)}, width={width}, stem={tuple(stem)}: depths and width must "
            "be 1 or more, and a stem has at least its convolution"
        )
    return [int(depth) for depth in depths], int(width)


def standard(images: Tensor) -> Tensor:
    """Images (b, c, h, w) with mean 0 and deviation 1 over all that each holds; a flat one is 0."""
    spread, mean = torch.std_mean(images, (1, 2, 3), correction=0, keepdim=True)
    return (images - mean) / (spread + FLAT)


def resnet18(
    group: GroupLike = "C1", width: int = 64, *, match: str | None = None, **options: Any
) -> ResNet:
    """ResNet-18, by default for ImageNet; `match` as in `matched_width`, options as `ResNet`."""
    options.setdefault("stem", options.get("halving", ODD).large_stem)
    return ResNet(group, (2, 2, 2, 2), matched_width(width, group, match), **options)


def resnet50(
    group: GroupLike = "C1", width: int = 64, *, match: str | None = None, **options: Any
) -> ResNet:
    """ResNet-50, by default for ImageNet; `match` as in `matched_width`, options as `ResNet`."""
    options.setdefault("stem", options.get("halving", ODD).large_stem)
    options.setdefault("bottleneck", True)
    return ResNet(group, (3, 4, 6, 3), matched_width(width, group, match), **options)


def small_resnet(
    group: GroupLike = "C1", width: int = 16, *, match: str | None = None, **options: Any
) -> ResNet:
    """Three stages of one block, for images of about 33 x 33; `match` as in `matched_width`."""
    return ResNet(group, (1, 1, 1), matched_width(width, group, match), **options)


def matched_width(width: int, group: GroupLike, match: str | None) -> int:
    """Width at which a network of a group costs what a plain one of `width` does.

    A group convolution between c channels has ``c * c * g * k * k`` weights and works as long as a
    plain one between ``c * g`` channels.

    Args:
        width: of the plain network.
        group: of the other.
        match: ``"parameters"``, ``"compute"``, or None for the same width.
    """
    order, width = as_group(group).order, whole("width", width)
    shares = {"None": 1.0, "parameters": order**0.5, "compute": float(order)}
    return max(1, round(width / choice("match", str(match), shares)))


def _conv(
    group: Group, channels: int, out: int, sampling: Sampling = WHOLE.shortcut
) -> GroupConv2d:
    kernel, stride, padding = astuple(sampling)
    return GroupConv2d(channels, out, group, kernel, stride, padding, bias=False)


def _stem(group: Group, width: int, first: Sampling, *pools: Sampling) -> nn.Module:
    kernel, stride, padding = astuple(first)
    lift = LiftingConv2d(3, width, group, kernel, stride, padding, bias=False)
    pooling = [SpatialMaxPool(*astuple(pool)) for pool in pools]
    return nn.Sequential(lift, nn.BatchNorm3d(width), nn.ReLU(inplace=True), *pooling)


def _block(group: Group, channels: int, hidden: int, out: int, first: Halving) -> _Residual:
    """A residual block, with a bottleneck where it has more channels behind it than inside."""
    if out == hidden:
        convs = [_conv(group, channels, out, first.conv), _conv(group, out, out, WHOLE.conv)]
    else:
        middle = _conv(group, hidden, hidden, first.conv)
        convs = [_conv(group, channels, hidden), middle, _conv(group, hidden, out)]
    direct = channels == out and first is WHOLE
    return _Residual(convs, None if direct else _conv(group, channels, out, first.shortcut))


class SpatialMaxPool(nn.MaxPool2d):
    """Max-pooling of feature maps (b, c, g, h, w) over space; exact as a convolution is."""

    def forward(self, input: Tensor) -> Tensor:
        """Pool to (b, c, g, h', w')."""
        pooled: Tensor = super().forward(input.flatten(1, 2))
        return pooled.unflatten(1, input.shape[1:3])
