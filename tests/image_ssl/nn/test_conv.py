"""Group convolutions against a slow second implementation."""

from __future__ import annotations

import io
import pickle
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from hierforecast.image_ssl.groups import FeatureAction, FeatureMapAction, Group, ImageAction
from hierforecast.image_ssl.nn import GroupConv2d, GroupLinear, LiftingConv2d
from hierforecast.testing import assert_equivariant, randomize_

NAMES = ("C1", "C2", "C4", "D1", "D2", "D4")
SAMPLINGS = [(3, 1, 1), (3, 2, 1), (1, 2, 0), (4, 2, 1), (2, 1, 0)]  # kernel, stride, padding


def turned(group: Group, a: int, filters: Tensor) -> Tensor:
    """Filters turned in space, by flip and rot90 written out."""
    if a >= group.turns:
        filters = filters.flip(-1)
    return torch.rot90(filters, a % group.turns * (4 // group.turns), (-2, -1))


def slow_lifting(layer: LiftingConv2d, x: Tensor) -> Tensor:
    """Eq. 10: the entry of g correlates the image with the filter turned by g."""
    found = []
    for g in layer.group.elements():
        filters = turned(layer.group, g, layer.weight[:, :, 0])
        found.append(F.conv2d(x, filters, layer.bias, layer.stride, layer.padding))
    return torch.stack(found, 2)


def slow_group_conv(layer: GroupConv2d, x: Tensor) -> Tensor:
    """Eq. 11: entry h of the input meets the filter's entry g^-1 h, turned by g."""
    group, found = layer.group, []
    for g in group.elements():
        total = 0
        for h in group.elements():
            filters = turned(group, g, layer.weight[:, :, group.compose(group.inverse(g), h)])
            total = total + F.conv2d(x[:, :, h], filters, None, layer.stride, layer.padding)
        bias = 0 if layer.bias is None else layer.bias[:, None, None]
        found.append(total + bias)
    return torch.stack(found, 2)


def slow_linear(layer: GroupLinear, x: Tensor) -> Tensor:
    group, found = layer.group, []
    for g in group.elements():
        total = 0 if layer.bias is None else layer.bias
        for h in group.elements():
            entry = layer.weight[:, :, group.compose(group.inverse(g), h), 0, 0]
            total = total + x[:, :, h] @ entry.T
        found.append(total)
    return torch.stack(found, 2)


def layers(name: str, bias: bool = True, sampling: tuple[int, int, int] = (3, 1, 1)):
    """Each kind of layer, its slow twin, an input, and how inputs and outputs move."""
    group, size = Group(name), 7 if sampling[0] % 2 else 6
    maps, features = FeatureMapAction(group), FeatureAction(group)
    image, kept = torch.randn(2, 2, size, size), torch.randn(2, 2, group.order, size, size)
    made = [
        (LiftingConv2d(2, 3, name, *sampling, bias=bias), slow_lifting, image, ImageAction(group)),
        (GroupConv2d(2, 3, name, *sampling, bias=bias), slow_group_conv, kept, maps),
        (GroupLinear(2, 3, name, bias=bias), slow_linear, kept[..., 0, 0], features),
    ]
    out = (maps, maps, features)
    return [
        (randomize_(layer).double(), slow, x.double(), action, after)
        for (layer, slow, x, action), after in zip(made, out, strict=True)
    ]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_those_of_the_definition(name, sampling):
    for layer, slow, x, _, _ in layers(name, sampling=sampling):
        x.requires_grad_()
        leaves = (x, layer.weight, layer.bias)
        fast, right = layer(x), slow(layer, x)
        torch.testing.assert_close(fast, right, rtol=1e-12, atol=1e-12)
        probe = torch.randn_like(right)
        got = torch.autograd.grad((fast * probe).sum(), leaves)
        wanted = torch.autograd.grad((right * probe).sum(), leaves)
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["C2", "C4", "D1", "D4"])
def test_gradients_by_differences_once_and_twice(name):
    group = Group(name)
    for layer, x in (
        (LiftingConv2d(1, 1, name, 2), torch.randn(1, 1, 2, 3)),
        (GroupConv2d(1, 1, name, 2), torch.randn(1, 1, group.order, 2, 3)),
        (GroupLinear(2, 1, name), torch.randn(1, 2, group.order)),
    ):
        layer.double()
        call = lambda weight, x, layer=layer: functional_call(layer, {"weight": weight}, (x,))  # noqa: E731
        inputs = (layer.weight.detach().requires_grad_(), x.double().requires_grad_())
        assert torch.autograd.gradcheck(call, inputs)
        assert torch.autograd.gradgradcheck(call, inputs)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("name", NAMES[1:])
def test_layers_commute_with_every_element(name, sampling):
    for layer, _, x, before, after in layers(name, sampling=sampling):
        for a in range(1, layer.group.order):
            assert_equivariant(layer, x, partial(before.act, a), partial(after.act, a))


def test_no_bias_and_one_bias_for_all_copies():
    for without, with_bias in zip(layers("D4", bias=False), layers("D4"), strict=True):
        layer, slow, x, _, _ = without
        assert layer.bias is None
        torch.testing.assert_close(layer(x), slow(layer, x), rtol=1e-12, atol=1e-12)
        assert with_bias[0].bias.shape == (3,)


def test_the_trivial_group_gives_the_ordinary_layers():
    x, maps = torch.randn(2, 3, 7, 7), torch.randn(2, 3, 1, 7, 7)
    plain = nn.Conv2d(3, 4, 3, 2, 1)
    for layer, seen in ((LiftingConv2d(3, 4, "C1", 3, 2, 1), x), (GroupConv2d, maps)):
        layer = layer if isinstance(layer, nn.Module) else layer(3, 4, "C1", 3, 2, 1)
        with torch.no_grad():
            layer.weight.copy_(plain.weight[:, :, None])
            layer.bias.copy_(plain.bias)
        image = seen if seen.ndim == 4 else seen[:, :, 0]
        for mode in (True, False):
            assert torch.equal(layer.train(mode)(seen)[:, :, 0], plain(image))
    linear, own = nn.Linear(3, 4), GroupLinear(3, 4, "C1")
    with torch.no_grad():
        own.weight.copy_(linear.weight[:, :, None, None, None])
        own.bias.copy_(linear.bias)
    assert torch.equal(own(x[:, :, :1, 0])[:, :, 0], linear(x[:, :, 0, 0]))


def test_only_weights_are_saved():
    for layer, _, x, _, _ in layers("D4"):
        with torch.no_grad():
            layer.eval()(x)
        assert set(layer.state_dict()) == {"weight", "bias"}
        for copy in (deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(copy(x), layer(x))
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        assert len(file.getvalue()) < 8 * sum(p.numel() for p in layer.parameters()) + 3000


def test_functorch_goes_through():
    layer = GroupConv2d(2, 3, "D4", 3, padding=1).double().eval()
    x, weights = torch.randn(4, 1, 2, 8, 5, 5).double(), torch.randn(4, *layer.weight.shape)
    call = lambda weight, x: functional_call(layer, {"weight": weight}, (x,))  # noqa: E731
    loss = lambda weight, x: call(weight, x).square().sum()  # noqa: E731
    weights = weights.double()
    with torch.no_grad():
        many = torch.vmap(call)(weights, x)
    each = torch.vmap(torch.func.grad(loss))(weights, x)
    for weight, image, found, grad in zip(weights, x, many, each, strict=True):
        torch.testing.assert_close(found, call(weight, image))
        weight = weight.clone().requires_grad_()
        torch.testing.assert_close(grad, torch.autograd.grad(loss(weight, image), weight)[0])


def test_inference_mode_and_frozen_filters():
    for layer, slow, x, _, _ in layers("C4"):
        layer.eval().requires_grad_(False)
        with torch.inference_mode():
            torch.testing.assert_close(layer(x), slow(layer, x))
        seen = x.clone().requires_grad_()
        layer(seen).sum().backward()  # frozen filters, a gradient of the image
        wanted = torch.autograd.grad(slow(layer, again := x.clone().requires_grad_()).sum(), again)
        torch.testing.assert_close(seen.grad, wanted[0])
