"""Losses behind an averaging projector ignore every image's turn, ordinary ones do not."""

from copy import deepcopy

import pytest
import torch

from hierforecast.image_ssl.contrastive import MoCo, SimSiam, SwAV
from hierforecast.image_ssl.groups import ImageAction
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.views import Views
from hierforecast.testing import in_modes, randomize_

BATCH = 3
METHODS = {
    "moco": lambda *parts: MoCo(*parts, queue_size=5),
    "simsiam": SimSiam,
    # With room for one batch, so that the second step sees the queue.
    "swav": lambda *parts: SwAV(*parts, prototypes=4, queue_size=6),
}


def build(name, group, head=None, average="output"):
    torch.manual_seed(0)
    backbone = ResNet(group, (1, 1), 2, image_size=9)
    method = METHODS[name](backbone, Projector(backbone, (6, 5), head, average))
    method = randomize_(method.double())
    method.train().loss(Views(*views(seed=1)))  # fills the queue
    return method


def views(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, BATCH, 3, 9, 9)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def turned(pair, action, a, view, sample):
    moved = pair.clone()
    moved[view, sample] = action.act(a, pair[view, sample])
    return moved


def step(method, pair):
    """The loss, and the state behind it, of a copy."""
    method = deepcopy(method)
    with torch.no_grad():
        loss = method.loss(Views(*pair)).item()
    return loss, torch.cat([value.double().flatten() for value in method.state_dict().values()])


def everything_turned(group, pair):
    """One image turned by one element: all choices in C4, samples taken in turn in D4."""
    action = ImageAction(group)
    for a in range(1, action.order):
        for view in range(2):
            for sample in range(BATCH) if group == "C4" else [(a + view) % BATCH]:
                yield turned(pair, action, a, view, sample)


def assert_changes(method):
    expected, _ = step(method, views())
    changes = [abs(step(method, pair)[0] - expected) for pair in everything_turned("C4", views())]
    # Each is far above the invariant losses' tolerance of 1e-10.
    assert sum(changes) / len(changes) > 1e-3, changes
    assert min(changes) > 1e-5, changes


@pytest.mark.parametrize("average", ["output", "input"])
@pytest.mark.parametrize("group", ["C4", "D4"])
@pytest.mark.parametrize("name", METHODS)
def test_invariant_losses_ignore_the_turn_of_any_image(name, group, average):
    method = build(name, group, average=average)
    for mode in in_modes(method):
        expected, state = step(method, views())
        for pair in everything_turned(group, views()):
            found, found_state = step(method, pair)
            assert abs(found - expected) <= 1e-10, mode
            # Queues, running statistics and averaged weights do not notice either.
            torch.testing.assert_close(found_state, state, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", METHODS)
def test_ordinary_losses_of_the_same_backbone_change(name):
    method = build(name, "C4", head="C1")
    for _ in in_modes(method):
        assert_changes(method)


@pytest.mark.parametrize("name", METHODS)
def test_losses_of_a_plain_network_change(name):
    assert_changes(build(name, "C1"))


@pytest.mark.parametrize("name", METHODS)
def test_invariant_losses_learn_the_same_from_turned_images(name):
    def gradients(pair):
        copy = deepcopy(method).train()
        copy.loss(Views(*pair)).backward()
        return {key: p.grad for key, p in copy.named_parameters() if p.grad is not None}

    method = build(name, "C4")
    expected = gradients(views())
    assert len(expected) > 10
    found = gradients(turned(views(), ImageAction("C4"), 1, view=0, sample=1))
    scale = max(float(grad.abs().max()) for grad in expected.values())
    for key, grad in expected.items():
        torch.testing.assert_close(found[key], grad, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("group", ["C4", "D4"])
@pytest.mark.parametrize("name", METHODS)
def test_turning_every_image_its_own_way_changes_nothing(name, group):
    method, action, pair = build(name, group), ImageAction(group), views()
    for view in range(2):
        for sample in range(BATCH):
            pair = turned(pair, action, 1 + (2 * sample + view) % (action.order - 1), view, sample)
    assert abs(step(method, pair)[0] - step(method, views())[0]) <= 1e-10
