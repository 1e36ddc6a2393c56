"""The queue, the momentum encoder and the prototypes."""

from collections import deque
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hierforecast.image_ssl.contrastive import KeyQueue, MomentumEncoder, Prototypes
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.nn.heads import Projector


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("batches", [[3, 3, 3], [2, 5, 1, 8, 7], [9, 2], [1] * 9, [20]])
def test_queue_holds_the_last_keys_in_order(size, batches):
    queue = KeyQueue(3, size).double()
    slow = deque(queue.keys.clone(), maxlen=size)
    for seed, batch in enumerate(batches):
        generator = torch.Generator().manual_seed(seed)
        keys = torch.randn(batch, 3, generator=generator, dtype=torch.float64)
        queue.push(keys)
        slow.extend(key / key.norm() for key in keys)
        place = int(queue.count) % size
        oldest_first = torch.cat([queue.keys[place:], queue.keys[:place]])
        torch.testing.assert_close(oldest_first, torch.stack(list(slow)), rtol=0, atol=1e-12)
    assert int(queue.count) == sum(batches)


def test_queue_is_full_when_no_random_key_is_left():
    queue = KeyQueue(2, 5)
    filled = []
    for _ in range(3):
        filled.append(queue.is_full)
        queue.push(torch.ones(2, 2))
    assert filled == [False, False, False]
    assert queue.is_full
    assert torch.allclose(queue.keys, torch.full((5, 2), 0.5**0.5))


def test_queue_keeps_no_gradient_and_unit_length():
    queue = KeyQueue(3, 4)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(4))
    queue.push((50 * torch.randn(3, 3)).requires_grad_())
    assert not queue.keys.requires_grad
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(4))
    assert not list(queue.parameters())


def test_queue_takes_an_empty_batch_and_another_dtype():
    queue = KeyQueue(3, 4)
    before = queue.keys.clone()
    queue.push(torch.empty(0, 3))
    assert torch.equal(queue.keys, before)
    assert int(queue.count) == 0
    queue.push(torch.randn(2, 3, dtype=torch.float64))
    assert queue.keys.dtype == torch.float32


def test_queue_is_saved():
    queue = KeyQueue(3, 4)
    queue.push(torch.randn(6, 3))
    other = KeyQueue(3, 4)
    other.load_state_dict(queue.state_dict())
    more = torch.randn(3, 3)
    queue.push(more)
    other.push(more)
    assert torch.equal(queue.keys, other.keys)


def test_wrong_keys_are_named_with_their_remedy():
    with pytest.raises(ValueError, match=r"build KeyQueue\(dim=5, size=4\)"):
        KeyQueue(3, 4).push(torch.ones(2, 5))
    with pytest.raises(ValueError, match="a whole number of at least 1"):
        KeyQueue(3, 0)


def shaken(module):
    """The module with other parameters and other buffers of floats."""
    other = deepcopy(module)
    with torch.no_grad():
        for tensor in [*other.parameters(), *other.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) + 0.5)
    return other


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 1.0])
def test_momentum_update_moves_every_parameter_by_the_formula(momentum):
    first, second = nn.Linear(3, 4).double(), nn.BatchNorm1d(4).double()
    encoder = MomentumEncoder(first, second, momentum=momentum)
    moved = [shaken(first), shaken(second)]
    expected = [
        momentum * old.detach() + (1 - momentum) * new.detach()
        for one, other in zip([first, second], moved, strict=True)
        for old, new in zip(one.parameters(), other.parameters(), strict=True)
    ]
    encoder.update(*moved)
    for found, wanted in zip(encoder.parameters(), expected, strict=True):
        torch.testing.assert_close(found, nn.Parameter(wanted, False), rtol=0, atol=1e-14)


def test_momentum_update_leaves_the_modules_and_its_own_buffers():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    encoder = MomentumEncoder(module)
    moved = shaken(module)
    theirs = {name: value.clone() for name, value in moved.state_dict().items()}
    own = {name: value.clone() for name, value in encoder.named_buffers()}
    encoder.update(moved)
    assert all(torch.equal(value, theirs[name]) for name, value in moved.state_dict().items())
    assert all(torch.equal(value, own[name]) for name, value in encoder.named_buffers())


def test_momentum_encoder_gathers_its_own_running_statistics():
    module = nn.BatchNorm1d(2)
    encoder = MomentumEncoder(module)
    encoder(torch.randn(8, 2) + 5)
    (statistics,) = (value for name, value in encoder.named_buffers() if name.endswith("_mean"))
    assert statistics.min() > 0.3
    assert torch.equal(module.running_mean, torch.zeros(2))


def test_momentum_encoder_starts_as_a_copy_and_has_no_gradients():
    module = nn.Linear(3, 4)
    encoder = MomentumEncoder(module)
    x = torch.randn(2, 3)
    assert torch.equal(encoder(x), module(x))
    assert not encoder(x.requires_grad_()).requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_group_convolutions_follow_the_update():
    backbone = ResNet("C4", (1, 1), 2, image_size=9)
    projector = Projector(backbone, (4, 3))
    encoder = MomentumEncoder(backbone, projector, momentum=0.0).eval()
    images, moved = torch.randn(2, 3, 9, 9), deepcopy(backbone)
    before = encoder(images)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.5).add_(0.1)
    encoder.update(moved, projector)
    assert (encoder(images) - before).abs().max() > 1e-3
    torch.testing.assert_close(encoder(images), projector.eval()(moved.eval()(images)))


def test_wrong_modules_are_named_with_their_remedy():
    encoder = MomentumEncoder(nn.Linear(3, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="same ones in the same order"):
        encoder.update(nn.Linear(4, 2), nn.Linear(3, 4))
    with pytest.raises(ValueError, match="momentum="):
        MomentumEncoder(nn.Linear(3, 4), momentum=1.01)


def test_prototypes_score_by_cosine_whatever_the_weights_length():
    prototypes = Prototypes(3, 5).double()
    with torch.no_grad():
        prototypes.weight.mul_(torch.tensor([[0.1], [1], [3], [50], [2]]))
    torch.testing.assert_close(prototypes.directions.norm(dim=1), torch.ones(5).double())
    x = F.normalize(torch.randn(4, 3, dtype=torch.float64), dim=1)
    expected = [[float(row @ w / w.norm()) for w in prototypes.weight.detach()] for row in x]
    torch.testing.assert_close(prototypes(x).tolist(), expected, rtol=0, atol=1e-12)
    assert [name for name, _ in prototypes.named_parameters()] == ["weight"]  # no bias


def test_prototypes_come_back_to_unit_length():
    prototypes = Prototypes(3, 5)
    with torch.no_grad():
        prototypes.weight.mul_(7)
    before = prototypes.directions.clone()
    prototypes.normalize_()
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(prototypes.directions, before)


def test_frozen_prototypes_pass_the_gradient_to_the_vectors_only():
    prototypes, x = Prototypes(3, 5), torch.randn(4, 3, requires_grad=True)
    prototypes(x, frozen=True).pow(2).sum().backward()
    assert prototypes.weight.grad is None
    assert x.grad.abs().max() > 1e-3
    prototypes(x).pow(2).sum().backward()
    assert prototypes.weight.grad.abs().max() > 1e-3


def test_prototypes_need_a_size():
    with pytest.raises(ValueError, match="a whole number of at least 1"):
        Prototypes(3, 0)
