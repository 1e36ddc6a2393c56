"""Objectives of two views: what they compute, keep, learn and refuse."""

from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import contrastive
from hierforecast.image_ssl.contrastive import (
    MoCo,
    SimSiam,
    SwAV,
    info_nce,
    negative_cosine,
    sinkhorn,
    swapped_prediction,
)
from hierforecast.image_ssl.data import RenderedShapes, as_float
from hierforecast.image_ssl.methods import build_method
from hierforecast.image_ssl.nn import ResNet, small_resnet
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.training import Schedule, pretrain
from hierforecast.image_ssl.views import Views

METHODS = {
    "moco": lambda *parts: MoCo(*parts, queue_size=64),
    "simsiam": SimSiam,
    "swav": lambda *parts: SwAV(*parts, prototypes=6, queue_size=32, frozen_steps=2),
}
ARMS = {"plain": ("C1", None), "invariant": ("C4", None), "ordinary": ("C4", "C1")}


def build(name, arm="invariant", width=4, **options):
    torch.manual_seed(0)
    group, head = ARMS[arm]
    backbone = ResNet(group, (1, 1), width, image_size=9)
    projector = Projector(backbone, (16, 8), group=head, last_norm=name == "simsiam")
    made = METHODS[name] if isinstance(name, str) else name
    return made(backbone, projector, **options)


def views(batch=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, 9, 9, generator=generator)
    noise = torch.rand(2, batch, 3, 9, 9, generator=generator)
    return tuple(0.8 * images + 0.2 * noise)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("name", METHODS)
def test_every_arm_gives_every_trained_weight_a_gradient(name, arm):
    method = build(name, arm)
    method.loss(Views(*views()))
    method.loss(Views(*views()))
    loss = method.loss(Views(*views()))  # prototypes are free by now
    assert loss.shape == () and loss.isfinite()
    loss.backward()
    for key, parameter in method.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key
        assert parameter.requires_grad != key.startswith("key_encoder"), key


@pytest.mark.parametrize("name", METHODS)
def test_losses_are_symmetric_in_the_views(name):
    method = build(name).double()
    first, second = (view.double() for view in views())
    for mode in (True, False):
        one = deepcopy(method).train(mode).loss(Views(first, second))
        other = deepcopy(method).train(mode).loss(Views(second, first))
        assert abs((one - other).item()) <= 1e-12
    assert abs((method.loss(Views(first, second)) - method.loss(Views(first, first))).item()) > 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_evaluation_changes_no_state(name):
    method = build(name).eval()
    before = deepcopy(method.state_dict())
    assert method.loss(Views(*views())) == method.loss(Views(*views()))
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@pytest.mark.parametrize("name", METHODS)
def test_saved_and_loaded_methods_go_on_alike(name):
    method = build(name)
    for seed in range(5):
        method.loss(Views(*views(seed=seed)))
    other = build(name)
    other.load_state_dict(method.state_dict(), strict=True)
    for seed in range(5, 8):
        assert torch.equal(
            method.loss(Views(*views(seed=seed))), other.loss(Views(*views(seed=seed)))
        )


def test_moco_is_info_nce_both_ways_with_earlier_keys():
    method = build("moco").double()
    first, second = (view.double() for view in views())
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    slow, earlier = deepcopy(method), method.queue.keys.clone()
    found = method.loss(Views(first, second))
    own = [*slow.backbone.parameters(), *slow.projector.parameters()]
    for average, current in zip(slow.key_encoder.parameters(), own, strict=True):
        average.data = 0.99 * average.data + 0.01 * current.data
    queries = [F.normalize(slow.projector(slow.backbone(view)), dim=1) for view in (first, second)]
    keys = [F.normalize(slow.key_encoder(view), dim=1) for view in (first, second)]
    one = info_nce(queries[0], keys[1], earlier, 0.2)
    other = info_nce(queries[1], keys[0], earlier, 0.2)
    assert found.item() == pytest.approx((one + other).item() / 2, abs=1e-12)
    torch.testing.assert_close(method.queue.keys[:8], torch.cat(keys), rtol=0, atol=1e-12)
    assert torch.equal(method.queue.keys[8:], earlier[8:])


def test_simsiam_is_negative_cosine_both_ways():
    method = build("simsiam").double()
    first, second = (view.double() for view in views())
    one, other = method.embed(first), method.embed(second)
    there = negative_cosine(method.predictor(one), other)
    back = negative_cosine(method.predictor(other), one)
    found = method.loss(Views(first, second)).item()
    assert found == pytest.approx((there + back).item() / 2, abs=1e-12)


def test_simsiams_targets_get_no_gradient():
    """The gradient is that of a loss whose targets are constants, not of one without the stop."""
    first, second = (view.double() for view in views())

    def gradient(stop):
        method = build("simsiam").double()
        if stop is None:
            method.loss(Views(first, second)).backward()
        else:
            one, other = method.embed(first), method.embed(second)
            targets = [z.detach() if stop else z for z in (other, one)]
            cosines = [
                F.cosine_similarity(method.predictor(z), target, dim=1).mean()
                for z, target in zip((one, other), targets, strict=True)
            ]
            (-sum(cosines) / 2).backward()
        return method.backbone.stem[0].weight.grad

    found, scale = gradient(None), gradient(True).abs().max()
    torch.testing.assert_close(found, gradient(True), rtol=0, atol=1e-10 * float(scale))
    assert (found - gradient(False)).abs().max() > 1e-2 * scale


def test_simsiams_predictor_is_a_bottleneck():
    assert build("simsiam").predictor[0].out_features == 2
    assert build(SimSiam, predictor_width=5).predictor[0].out_features == 5


@pytest.mark.parametrize("steps", [0, 3, 4])
def test_swav_swaps_codes_and_assigns_with_a_full_queue(steps):
    """The queue of 32 fills by 8 a step: after three steps it is not used, after four it is."""
    method = build("swav").double()
    for seed in range(steps):
        method.loss(Views(*(view.double() for view in views(seed=seed + 1))))
    kept = deepcopy(method.queue.keys)
    with torch.no_grad():
        vectors = [F.normalize(method.embed(view.double()), dim=1) for view in views()]
        scores = [method.prototypes(vector) for vector in vectors]
        pools = [torch.cat([s, method.prototypes(kept)]) if steps == 4 else s for s in scores]
        codes = [sinkhorn(pool, 0.05, 3)[:4] for pool in pools]
        there = swapped_prediction(scores[0], codes[1], 0.1)
        back = swapped_prediction(scores[1], codes[0], 0.1)
    found = method.loss(Views(*(view.double() for view in views()))).item()
    assert found == pytest.approx((there + back).item() / 2, abs=1e-12)


def test_swav_holds_its_prototypes_in_the_first_steps():
    method = build(SwAV, frozen_steps=2, prototypes=6)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, weight_decay=0.1)
    weights = [method.prototypes.weight.detach().clone()]
    for _ in range(4):
        optimizer.zero_grad()
        method.loss(Views(*views())).backward()
        optimizer.step()
        weights.append(method.prototypes.weight.detach().clone())
    assert [torch.equal(a, b) for a, b in pairwise(weights)] == [True, True, False, False]


def train(method, pairs, lr=0.05, keep=()):
    """SGD; buffers whose names are in `keep` are put back after each step."""
    optimizer = torch.optim.SGD(method.parameters(), lr=lr, momentum=0.9)
    buffers = {key: value.clone() for key, value in method.named_buffers() if key in keep}
    losses = []
    for pair in pairs:
        optimizer.zero_grad()
        loss = method.loss(Views(*pair))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        for key, value in buffers.items():
            method.get_buffer(key).copy_(value)
    return losses


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("name", METHODS)
def test_a_few_steps_lower_the_loss_of_a_batch(name, arm):
    method = build(name, arm)
    # MoCo's own keys of this batch would come back as negatives: its queue is held still.
    losses = train(method, [views(8)] * 15, keep=("queue.keys", "queue.count"))
    assert losses[-1] < losses[0] - 0.05 * abs(losses[0]), losses


def spread(vectors):
    """Deviation of unit vectors over the samples: about one if they fill the sphere, or zero."""
    return float(F.normalize(vectors, dim=1).std(0).mean()) * vectors.shape[1] ** 0.5


@pytest.mark.parametrize("name", METHODS)
def test_thirty_steps_do_not_collapse(name):
    method = build(name)
    losses = train(method, [views(32, seed) for seed in range(30)])
    first, _ = views(32, seed=99)
    with torch.no_grad():
        assert spread(method.embed(first)) > 0.3
    assert all(torch.tensor(losses).isfinite())


def test_the_spread_tells_a_collapse():
    assert spread(torch.randn(4096, 8)) == pytest.approx(1, abs=0.05)
    assert spread(torch.ones(64, 8) + 1e-3 * torch.randn(64, 8)) < 0.01


@pytest.mark.parametrize("name", METHODS)
def test_a_single_image_is_refused_in_training_only(name):
    method = build(name)
    with pytest.raises(DataError, match="drop_last=True"):
        method.loss(Views(*views(1)))
    assert method.eval().loss(Views(*views(1))).isfinite()
    with pytest.raises(DataError, match="0 images"):
        method.loss(Views(*views(0)))


@pytest.mark.parametrize("name", METHODS)
def test_wrong_views_are_named_with_their_remedy(name):
    method, (first, second) = build(name), views()
    with pytest.raises(DataError, match="two crops of each image"):
        method.loss(Views(first, second[:3]))
    with pytest.raises(DataError, match="two crops of each image"):
        method.loss(Views(first[0], second[0]))
    with pytest.raises(DataError, match="as_float"):
        method.loss(Views((255 * first).byte(), (255 * second).byte()))


@pytest.mark.parametrize("made", [MoCo, SwAV])
@pytest.mark.parametrize("size", [3, 5])
def test_queues_smaller_than_the_batch_hold_its_last_vectors(made, size):
    method = build(made, queue_size=size)
    for seed in range(3):
        loss = method.loss(Views(*views(seed=seed)))
        loss.backward()
        assert loss.isfinite()
    assert method.queue.is_full
    torch.testing.assert_close(method.queue.keys.norm(dim=1), torch.ones(size))


@pytest.mark.slow
def test_moco_tells_its_own_batch():
    """By a little: a key beside the query's own images is nearer than one among others."""
    torch.manual_seed(0)
    images = RenderedShapes(2048, 0, 17, textures=("plain",), light=0.0).in_memory()
    method = build_method("moco", small_resnet(width=8), size=17, width=32, queue_size=1024)
    pretrain(method, images, Schedule(150, 32), trainer={"enable_progress_bar": False})
    moco, recipe, drawn = method.objective, contrastive(17), torch.Generator().manual_seed(3)
    pixels, order = as_float(images.images), torch.randperm(2048, generator=drawn)
    one, other = (recipe(pixels, drawn).images.split(32) for _ in range(2))
    mixed = torch.cat(other)[order].split(32)
    with torch.no_grad():
        queries = torch.cat([moco.embed(batch) for batch in one])
        beside, among = (torch.cat([*map(moco.key_encoder, keys)]) for keys in (other, mixed))
    cosines = [
        F.cosine_similarity(queries, keys).mean() for keys in (beside, among[order.argsort()])
    ]
    leak = float(cosines[0] - cosines[1])
    assert 0.005 < leak < 0.05, f"{leak:.3f} of {cosines[0]:.2f}"
