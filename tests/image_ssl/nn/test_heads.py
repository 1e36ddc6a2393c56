"""Heads of the three arms: what they keep of the symmetry, and what they drop."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hierforecast.image_ssl.groups import FeatureAction, FeatureMapAction, Group, LabelAction
from hierforecast.image_ssl.nn import GroupConv2d
from hierforecast.image_ssl.nn.heads import (
    AverageGroup,
    ForgetGroup,
    LabelReader,
    Projector,
    TileConv,
    mlp,
    respecting,
)
from hierforecast.image_ssl.pretext.task import cell_moves
from hierforecast.testing import assert_equivariant, equivariance_error, randomize_

NAMES = ("C2", "C4", "D1", "D2", "D4")


def backbone(group: str, channels: int = 3) -> SimpleNamespace:
    return SimpleNamespace(group=Group(group), channels=channels)


def test_respecting():
    same, group, channels = respecting("D4", Group("D4"), 5)
    assert isinstance(same, nn.Identity) and (group, channels) == (Group("D4"), 5)
    forget, group, channels = respecting("C1", "D4", 5)
    assert (group, channels) == (Group("C1"), 40)
    x = torch.randn(2, 5, 8)
    assert torch.equal(forget(x)[:, 8 * 3 + 2, 0], x[:, 3, 2])
    assert forget(torch.randn(2, 5, 8, 4, 3)).shape == (2, 40, 1, 4, 3)
    assert isinstance(respecting("C1", "C1", 5)[0], nn.Identity)
    for wanted, given in (("C4", "D4"), ("D4", "C4"), ("C2", "D1"), ("C4", "C1")):
        with pytest.raises(ValueError, match=f"a head of {wanted} cannot stand behind .* {given}"):
            respecting(wanted, given, 5)


@pytest.mark.parametrize("name", NAMES)
def test_mlp_commutes(name):
    x, features = torch.randn(4, 3, Group(name).order).double(), FeatureAction(name)
    for options in ({}, {"last_norm": True}):
        head = randomize_(mlp((3, 5, 4), name, **options)).double()
        assert head(x).shape == (4, 4, Group(name).order)
        linear = head[-2] if options.get("last_norm") else head[-1]
        assert head[0].bias is None  # no bias before a norm
        assert (linear.bias is None) == ("last_norm" in options)
        assert linear is head[-1] or not [*head[-1].parameters()]  # which has no weights at the end
        for a in range(1, Group(name).order):
            assert_equivariant(head, x, partial(features.act, a), partial(features.act, a))


@pytest.mark.parametrize("average", ["output", "input"])
@pytest.mark.parametrize("last_norm", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_projector_is_invariant_and_the_ordinary_one_is_not(name, average, last_norm):
    features, x = FeatureAction(name), torch.randn(6, 3, Group(name).order).double()
    options = {"average": average, "last_norm": last_norm}
    invariant = randomize_(Projector(backbone(name), (7, 4), **options)).double()
    ordinary = randomize_(Projector(backbone(name), (7, 4), "C1", **options)).double()
    assert invariant(x).shape == ordinary(x).shape == (6, 4)
    assert invariant.dim == ordinary.dim == 4
    for a in range(1, Group(name).order):
        act = partial(features.act, a)
        assert_equivariant(invariant, x, act, None)
        assert equivariance_error(ordinary.eval(), x, act, None) > 1e-3
        with pytest.raises(AssertionError):
            assert_equivariant(ordinary, x, act, None)


def test_projector_averages_where_it_is_told_to():
    x = torch.randn(4, 3, 4)
    early = Projector(backbone("C4"), (5,), average="input").eval()
    flat = Projector(backbone("C1"), (5,)).eval()
    flat.load_state_dict({name.replace("3.", "1."): v for name, v in early.state_dict().items()})
    torch.testing.assert_close(early(x), flat(x.mean(2, keepdim=True)))
    late = Projector(backbone("C4"), (5,), average="output").eval()
    torch.testing.assert_close(late(x), late.layers(x).mean(2))
    assert sum(p.numel() for p in late.parameters()) == 3 * 5 * 4 + 5
    with pytest.raises(ValueError, match="average 'middle' is none of"):
        Projector(backbone("C4"), average="middle")
    with pytest.raises(ValueError, match="cannot stand behind"):
        Projector(backbone("C4"), group="D4")


def test_what_forgets_and_what_averages():
    x = torch.randn(2, 3, 8, 2, 2)
    torch.testing.assert_close(AverageGroup()(x), sum(x[:, :, k] for k in range(8)) / 8)
    assert torch.equal(ForgetGroup()(x).squeeze(2).reshape(x.shape), x)


@pytest.mark.parametrize("grid", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_tiles_are_one_feature_map(name, grid):
    group, features, moves = Group(name), FeatureAction(name), cell_moves(name, grid)
    head = randomize_(TileConv(3, 4, name, grid)).double()
    x = torch.randn(2, grid * grid, 3, group.order).double()

    def act(a: int, tiles: torch.Tensor) -> torch.Tensor:
        moved = torch.empty_like(tiles)
        for place in range(grid * grid):
            moved[:, moves[a, place]] = features.act(a, tiles[:, place])
        return moved

    for a in range(1, group.order):
        assert_equivariant(head, x, partial(act, a), partial(features.act, a))
        in_place = lambda tiles, a=a: torch.stack(  # noqa: E731
            [features.act(a, tile) for tile in tiles.unbind(1)], 1
        )
        assert equivariance_error(head, x, in_place, partial(features.act, a)) > 1e-3
    maps = FeatureMapAction(name)  # the same weights, as an ordinary group convolution
    conv = GroupConv2d(3, 4, name, grid).double()
    conv.load_state_dict(head.conv.state_dict())
    as_map = x.permute(0, 2, 3, 1).reshape(2, 3, group.order, grid, grid)
    torch.testing.assert_close(head(x), conv(as_map)[..., 0, 0])
    assert conv(maps.act(1, as_map)).shape == (2, 4, group.order, 1, 1)


def ring(name: str, count: int = 8) -> LabelAction:
    """Eight places on a ring: corners and sides, left alone by mirrors of D4."""
    group = Group(name)
    rows = []
    for a in group.elements():
        step = group.quarter_turns(a) * count // 4
        place = torch.arange(count)
        rows.append(((count // 2 - place if group.is_mirror(a) else place) + step) % count)
    return LabelAction(group, torch.stack(rows))


@pytest.mark.parametrize("name", NAMES)
def test_label_reader_moves_scores(name):
    action, features = ring(name), FeatureAction(name)
    reader = LabelReader(action)
    x = torch.randn(5, len(action.orbits), Group(name).order).double()
    assert reader(x).shape == (5, 8) and not reader.state_dict()
    for a in range(1, Group(name).order):
        assert_equivariant(
            reader, x, partial(features.act, a), partial(action.act_on_scores, a), tolerance=1e-14
        )
    assert len(reader(x)[0].unique()) == 8  # every label has a score of its own


def test_label_reader_of_the_trivial_group_reads_as_it_stands():
    action = LabelAction("C1", torch.arange(6)[None])
    x = torch.randn(2, 6, 1)
    assert torch.equal(LabelReader(action)(x), x[:, :, 0])
