"""Convolutions that commute with turns and mirror images (Cohen and Welling 2016, eq. 10 and 11).

Feature maps are (b, c, g, h, w) with one entry of g for each element of the group. All of a layer's
filters are turned copies of a few: the copies are gathered into one bank, and one ordinary
convolution does the rest. With the group C1 these layers are the ordinary ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.image_ssl.groups import FeatureMapAction, Group, GroupLike, ImageAction, as_group


class _Gather(torch.autograd.Function):
    """Rows gathered by permutations; the way back gathers too, where autograd would scatter."""

    generate_vmap_rule = True  # `torch.func` goes through

    @staticmethod
    def forward(weight: Tensor, there: Tensor, back: Tensor) -> Tensor:
        """Weight (o, s) and `there` (g, s) give (o, g, s)."""
        return weight.index_select(1, there.flatten()).unflatten(1, there.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep the permutations of the way back."""
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """The sum over g of what each turned copy learned."""
        (back,) = ctx.saved_tensors
        turned = grads[0].flatten(1).index_select(1, back.flatten())
        return turned.unflatten(1, back.shape).sum(1), None, None


class _GroupFilters(nn.Module):
    """A bank of filters and all its turned copies; subclasses convolve with them.

    Args:
        bias: one for each output channel, shared by its copies.
        lifting: the input is an image, without an axis of the group.
    """

    weight: Tensor
    there: Tensor
    back: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group: GroupLike,
        kernel_size: int,
        bias: bool,
        lifting: bool = False,
    ) -> None:
        super().__init__()
        self.group = as_group(group)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = kernel_size
        depth = 1 if lifting else self.group.order
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels, depth, kernel_size, kernel_size)
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        there = turned_copies(self.group, in_channels, depth, kernel_size)
        last = torch.arange(self.group.order)[:, None] * there.shape[1]
        self.register_buffer("there", there, persistent=False)
        self.register_buffer("back", there.argsort(dim=1) + last, persistent=False)

    def filters(self) -> Tensor:
        """The whole bank, (out * g, in * depth, k, k)."""
        size = self.kernel_size
        if self.group.order == 1:
            return self.weight.flatten(1, 2)
        bank: Tensor = _Gather.apply(self.weight.flatten(1), self.there, self.back)
        return bank.reshape(self.out_channels * self.group.order, -1, size, size)

    def _biases(self) -> Tensor | None:
        if self.bias is None or self.group.order == 1:
            return self.bias
        return self.bias.repeat_interleave(self.group.order)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.in_channels}, {self.out_channels}, {self.group.name}, k={self.kernel_size}"


class LiftingConv2d(_GroupFilters):
    """From images to feature maps of a group: a convolution with every turned copy of each filter.

    Args:
        kernel_size: side of the filters, pixels.
        stride: pixels between samples; `nn.sizes` says for which image sizes it is exact.
        padding: zeros at each side.
    """

    lifts = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group: GroupLike,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, group, kernel_size, bias, self.lifts)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (b, in, h, w) to (b, out, g, h', w')."""
        found = F.conv2d(x, self.filters(), self._biases(), self.stride, self.padding)
        return found.unflatten(1, (self.out_channels, self.group.order))


class GroupConv2d(LiftingConv2d):
    """From feature maps of a group to feature maps of the group; arguments as `LiftingConv2d`."""

    lifts = False

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (b, in, g, h, w) to (b, out, g, h', w')."""
        return super().forward(x.flatten(1, 2))


class GroupLinear(_GroupFilters):
    """A linear map of pooled features that commutes with the group: a 1 x 1 group convolution."""

    def __init__(
        self, in_channels: int, out_channels: int, group: GroupLike, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, group, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (b, in, g) to (b, out, g)."""
        found = F.linear(x.flatten(1), self.filters().flatten(1), self._biases())
        return found.unflatten(1, (self.out_channels, self.group.order))


def turned_copies(group: Group, in_channels: int, depth: int, size: int) -> Tensor:
    """Which weight of a filter each weight of its turned copies is.

    The copy for element a is the filter moved as a feature map is: turned in space, and, where it
    looks at feature maps, with its axis of the group moved too.

    Returns:
        (g, in * depth * size * size) int64.
    """
    each = depth * size * size
    one = torch.arange(each).view(1, 1, depth, size, size)
    space, everything = ImageAction(group), FeatureMapAction(group)
    moved = [(space if depth == 1 else everything).act(a, one) for a in group.elements()]
    copies = torch.stack(moved).view(group.order, 1, each)
    return (torch.arange(in_channels)[:, None] * each + copies).flatten(1)
