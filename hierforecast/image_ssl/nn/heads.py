"""Small networks behind the backbone; each may respect the group, or not.

A head of the backbone's own group keeps the symmetry. A head of the trivial group sees the entries
of the group's axis as so many more channels: that is the ordinary head of the literature, and the
symmetry ends there. The three arms of a comparison differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from hierforecast._options import one_of
from hierforecast.image_ssl.groups import Group, GroupLike, LabelAction, as_group
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.nn.conv import GroupConv2d, GroupLinear


class ForgetGroup(nn.Module):
    """Take the entries of the group's axis for channels: (b, c, g, ...) to (b, c * g, 1, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Reshape x; nothing is moved."""
        return x.flatten(1, 2).unsqueeze(2)


class AverageGroup(nn.Module):
    """The mean over the group's axis, which no element changes: (b, c, g, ...) to (b, c, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Average x."""
        return x.mean(2)


def respecting(
    group: GroupLike, backbone_group: GroupLike, channels: int
) -> tuple[nn.Module, Group, int]:
    """What stands between a backbone and a head of another group.

    Returns:
        the module, the head's group, and the channels that it sees.

    Raises:
        ValueError: if the head's group is neither the backbone's nor the trivial one.
    """
    wanted, given = as_group(group), as_group(backbone_group)
    if wanted == given:
        return nn.Identity(), wanted, channels
    if wanted.order == 1:
        return ForgetGroup(), wanted, channels * given.order
    raise ValueError(
        f"a head of {wanted.name} cannot stand behind a backbone of {given.name}: give the "
        "backbone's group (consistent), or 'C1' (ordinary)"
    )


def mlp(widths: Sequence[int], group: GroupLike = "C1", last_norm: bool = False) -> nn.Sequential:
    """Linear maps of a group with norms and ReLU between, on features (b, c, g).

    Args:
        widths: channels, from the input's to the output's.
        last_norm: normalize the output as well, without ReLU and without learned scales and shifts,
            as the authors of SimSiam do.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(widths), 2):
        last = number == len(widths)
        layers.append(GroupLinear(before, after, group, bias=last and not last_norm))
        if not last:
            layers += [nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        elif last_norm:
            layers.append(nn.BatchNorm1d(after, affine=False))
    return nn.Sequential(*layers)


class Projector(nn.Module):
    """From features (b, c, g) to vectors (b, d) that a loss compares.

    With the backbone's group the features are averaged over the group, and turning an image changes
    nothing behind it: the invariant losses of arXiv 2303.04427. The paper's place of the average is
    not established; here it is an option. With ``group="C1"`` it is the ordinary projector.

    Args:
        widths: hidden widths and d.
        group: of the projector: the backbone's if None, or ``"C1"``.
        average: ``"output"``, behind group-equivariant layers, or ``"input"``, before ordinary
            ones.
        last_norm: normalize the output by batch (SimSiam).
    """

    def __init__(
        self,
        backbone: Backbone,
        widths: Sequence[int] = (256, 64),
        group: GroupLike | None = None,
        average: str = "output",
        last_norm: bool = False,
    ) -> None:
        super().__init__()
        one_of("average", average, ("output", "input"))
        wanted = backbone.group if group is None else group
        between, group, channels = respecting(wanted, backbone.group, backbone.channels)
        early = average == "input"
        layers = mlp((channels, *widths), "C1" if early else group, last_norm=last_norm)
        if early:
            self.layers = nn.Sequential(between, AverageGroup(), nn.Unflatten(1, (-1, 1)), layers)
        else:
            self.layers = nn.Sequential(between, layers)
        self.average = AverageGroup()
        self.dim = widths[-1]

    def forward(self, features: Tensor) -> Tensor:
        """Map (b, c, g) to (b, d)."""
        vectors: Tensor = self.average(self.layers(features))
        return vectors


class ConstantRate(nn.Sequential):
    """Layers that learn at the schedule's peak rate from the first step to the last."""


class LabelReader(nn.Module):
    """From features (b, orbits, g) to a score for each label, (b, labels), keeping the symmetry.

    ``act_on_scores(a, reader(x)) == reader(act(a, x))`` with the action of `LabelAction`; labels
    that an element leaves alone are read from a mean over their stabilizer.
    """

    entries: Tensor

    def __init__(self, action: LabelAction) -> None:
        super().__init__()
        self.action = action
        self.register_buffer("entries", action.readers(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Read the scores of all labels."""
        read = x.flatten(1)[:, self.entries.flatten()]
        return read.unflatten(1, self.entries.shape).mean(-1)


class TileConv(nn.Module):
    """From features of tiles on a square grid, (b, tiles, c, g), to features (b, out, g).

    The features of the tiles are a feature map with a pixel for each tile, so that one group
    convolution as large as the grid keeps the symmetry: a turn moves the tiles and turns each. With
    the trivial group this is a linear map of all tiles' features side by side.
    """

    def __init__(self, channels: int, out_channels: int, group: GroupLike, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.conv = GroupConv2d(channels, out_channels, group, grid)

    def forward(self, x: Tensor) -> Tensor:
        """Map tiles in the order of reading to features of the whole."""
        tiles = x.movedim(1, -1).unflatten(-1, (self.grid, self.grid))
        found: Tensor = self.conv(tiles)
        return found.flatten(3).squeeze(-1)
