"""Learning from views of one object in known poses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import RandomRotation
from hierforecast.image_ssl.data import (
    RenderedObjects,
    RenderedShapes,
    as_float,
    relative_parameters,
)
from hierforecast.image_ssl.data.rotations import relative_rotation
from hierforecast.image_ssl.methods import METHODS, build_method
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.objective import Method
from hierforecast.image_ssl.split import (
    KINDS,
    POSE_KINDS,
    HyperPredictor,
    Poses,
    RelativeParameters,
    every_kind,
    parameters_of,
)
from hierforecast.image_ssl.training import Schedule, pretrain
from tests.helpers import newest

POSED = [name for name, made in METHODS.items() if made.posed]
SIZE, VIEWS = 9, 4
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}
OPTIONS = {
    "moco": {"queue_size": 16},
    "reconstruction": {"decoder": {"dim": 8, "heads": 2, "layers": 1}},
}
OBJECTS = RenderedObjects(16, VIEWS, size=SIZE).in_memory()


def build(name, group="C1", **options):
    torch.manual_seed(0)
    backbone = ResNet(group, (1, 1), 4, image_size=SIZE)
    options = {**OPTIONS.get(name, {}), **options}
    return build_method(name, backbone, size=SIZE, width=8, augment=Poses(), **options)


def floats(numbers=range(12), images=OBJECTS, seed=0):
    pairs = images.pairs(numbers, torch.Generator().manual_seed(seed))
    return pairs.map_images(as_float)


# What a predictor is conditioned on


def test_equal_views_are_the_identity_and_others_are_not():
    shown = RenderedObjects(200, 2).parameters(range(400))
    encode = parameters_of(Poses())
    none = encode(relative_parameters(shown, shown))
    torch.testing.assert_close(none, encode.identity().expand(400, encode.width))
    predictor = HyperPredictor(encode, 24)
    matrices = predictor.matrices(relative_parameters(shown, shown))
    torch.testing.assert_close(matrices, torch.eye(24).expand(400, 24, 24))
    first, second = ({n: v[k::2] for n, v in shown.items()} for k in (0, 1))
    moved = predictor.matrices(relative_parameters(first, second)) - predictor.identity()
    assert moved.abs().amax((1, 2)).min() > 1e-3


def test_columns_by_hand():
    def encode(name, *values):
        return RelativeParameters([name])({name: torch.tensor([[*values]])})[0].tolist()

    half = math.sqrt(0.5)
    assert encode("rotation", half, 0, -half, 0) == pytest.approx([half, 0, -half, 0])
    for name in ("background_hue", "light_hue"):
        assert encode(name, 0.25) == pytest.approx([0, 1], abs=1e-6)
        # A difference of three quarters of a turn is one of a quarter the other way.
        assert encode(name, 0.75) == pytest.approx(encode(name, -0.25), abs=1e-6)
    assert encode("light_phi", -math.pi / 2) == pytest.approx([0, -1], abs=1e-6)
    assert encode("light_phi", 2 * math.pi) == pytest.approx([1, 0], abs=1e-6)
    assert encode("light_theta", math.pi / 6) == pytest.approx([0, 1], abs=1e-6)


def test_turns_of_the_predictor_are_those_of_space():
    """One rotation after another is the product of their matrices, before any training."""
    shown = RenderedObjects(40, 3).parameters(range(120))
    views = [{name: value[k::3] for name, value in shown.items()} for k in range(3)]
    predictor = HyperPredictor(parameters_of(Poses(), "pose"), 8).double()
    there, on, whole = (
        predictor.matrices({"rotation": relative_rotation(a["quaternion"], b["quaternion"])})
        for a, b in ((views[0], views[1]), (views[1], views[2]), (views[0], views[2]))
    )
    # A quaternion and its opposite are one rotation, and matrices of opposite sign.
    sign = (whole * (on @ there)).sum((1, 2), keepdim=True).sign()
    torch.testing.assert_close(on @ there, sign * whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [*POSE_KINDS, "all"])
def test_kinds_of_poses(kind):
    expected = sum(POSE_KINDS.values(), ()) if kind == "all" else POSE_KINDS[kind]
    for encode in (
        parameters_of(Poses(), kind),
        build("sie", fed=kind).objective.predictor.encode,
        build("regression", fed=kind).objective.encode,
    ):
        assert encode.names == expected
    assert set(relative_parameters(*[OBJECTS.parameters([0])] * 2)) == set(Poses.names)


def test_kinds_of_poses_and_of_augmentations_are_apart():
    assert not set(KINDS) & set(POSE_KINDS)
    assert not set(sum(KINDS.values(), ())) & set(Poses.names)
    for kind in (*KINDS, "one at a time"):
        with pytest.raises(ValueError, match=f"kind '{kind}' is none of all, pose, hue, light"):
            build("sie", fed=kind)
    for kind in POSE_KINDS:
        with pytest.raises(ValueError, match=f"kind '{kind}' is none of all, rotation, color"):
            parameters_of(every_kind(), kind)
    assert parameters_of(RandomRotation(45.0), "rotation").names == ("angle",)


# Of which objects


class Watch(nn.Module):
    """Keeps the views that it is given."""

    def __init__(self):
        super().__init__()
        self.backbone, self.seen = nn.Linear(1, 1), []

    def loss(self, views):
        self.seen.append(views)
        return (views.first - 2 * views.second).sum() + self.backbone.weight.sum()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_an_object_is_known_whenever_it_comes_or_never(share):
    images = RenderedObjects(500, VIEWS, size=1).in_memory()
    source = Poses(share)
    known, again = (
        source(floats(range(2000), images, seed)).known.view(500, VIEWS) for seed in (0, 1)
    )
    assert torch.equal(known, again) and (known == known[:, :1]).all()
    for run in (known, known[:100], known[-100:]):
        assert float(run.float().mean()) == pytest.approx(share, abs=0.02)
    order = torch.randperm(2000)
    assert torch.equal(source(floats(order, images)).known, known.flatten()[order])


def test_an_objective_is_given_the_views_as_they_are():
    pairs, method = floats(), Method(Watch(), Poses())
    found = method.loss(pairs)
    (views,) = method.objective.seen
    assert torch.equal(views.first, pairs.first) and torch.equal(views.second, pairs.second)
    assert views.relative is pairs.relative and views.between is None and views.known.all()
    assert method.backbone is method.objective.backbone
    expected = (pairs.first - 2 * pairs.second).sum() + method.backbone.weight.sum()
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="known=2"):
        Poses(2)


@pytest.mark.parametrize("name", ["sie", "regression"])
def test_poses_of_unknown_objects_are_not_looked_at(name):
    method, pairs = build(name, known=0.5).eval(), floats()
    known = method.draw(pairs).known
    assert 0 < known.sum() < len(known)
    losses = []
    for value in (0.0, torch.nan):
        relative = {n: v.masked_fill(~known[:, None], value) for n, v in pairs.relative.items()}
        losses.append(method.loss(pairs._replace(relative=relative)))
    assert torch.equal(*losses) and losses[0].isfinite()
    relative = {n: v.masked_fill(known[:, None], 0.5) for n, v in pairs.relative.items()}
    assert not torch.equal(method.loss(pairs._replace(relative=relative)), losses[0])


# Methods by their names


@pytest.mark.parametrize("group", ["C1", "C4"])
@pytest.mark.parametrize("name", POSED)
def test_every_method_of_pairs_learns_from_poses(name, group):
    method = build(name, group)
    loss = method.loss(floats())
    loss.backward()
    assert method.posed and loss.shape == () and loss.isfinite()
    assert method.backbone.group.order == (4 if group == "C4" else 1)
    assert any(p.grad is not None and p.grad.any() for p in method.backbone.parameters())


@pytest.mark.parametrize("name", POSED)
def test_the_loss_falls(name):
    method = build(name)
    plan = Schedule(40, batch_size=16, learning_rate=1e-2)
    curve = pretrain(method, OBJECTS, plan, trainer=QUIET)
    loss = curve["loss"]
    assert len(loss) == 40 and loss.notna().all()
    assert loss.iloc[-5:].mean() < loss.iloc[:5].mean() - 0.1
    torch.rand(100)
    again = pretrain(build(name), OBJECTS, plan, trainer=QUIET)
    assert again.equals(curve)


def test_a_training_shows_pairs_of_the_set_as_floats():
    method, seen = build("sie"), []
    plain = method.loss
    method.loss = lambda pairs: seen.append(pairs) or plain(pairs)
    pretrain(method, OBJECTS, Schedule(4, batch_size=16), trainer=QUIET)
    assert sorted(torch.cat([pairs.numbers[0] for pairs in seen]).tolist()) == list(range(64))
    for pairs in seen:
        for images, numbers in zip((pairs.first, pairs.second), pairs.numbers, strict=True):
            assert torch.equal(images, as_float(OBJECTS.images[numbers]))
        expected = relative_parameters(*(OBJECTS.parameters(n) for n in pairs.numbers))
        assert all(torch.equal(pairs.relative[name], way) for name, way in expected.items())


@newest
@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_precision(precision):
    method = build("sie", known=0.5)
    trainer = {**QUIET, "precision": precision}
    curve = pretrain(method, OBJECTS, Schedule(2, batch_size=16), trainer=trainer)
    assert curve["loss"].between(0, 100).all()


def test_another_seed_draws_other_pairs():
    curves = [
        pretrain(build("vicreg"), OBJECTS, Schedule(2, batch_size=16, seed=n), trainer=QUIET)
        for n in (0, 1)
    ]
    assert not curves[0].equals(curves[1])


def test_options_reach_the_method():
    assert build("regression", known=0.25).source.known == 0.25
    method = build("sie", known=0.5, split=0.25, equivariance=3.0)
    assert method.source.known == 0.5
    assert method.objective.weights["equivariance"] == 3
    assert method.objective.halves.split.channels == 2
    assert build("reconstruction", weight=2.0, tokens="maps").objective.weight == 2


def test_methods_of_single_images_are_told_apart():
    rest = set(METHODS) - set(POSED)
    assert rest == {"context", "jigsaw", "rotation", "supervised"}
    for name in rest:
        with pytest.raises(ValueError, match=f"{name} learns from single images"):
            build(name, **({"classes": 3} if name == "supervised" else {}))
    with pytest.raises(ValueError, match="no image lies between two poses"):
        build("reconstruction", between=True)


def test_a_method_of_images_takes_a_posed_set_and_one_of_poses_no_other():
    backbone = ResNet("C1", (1, 1), 4, image_size=SIZE)
    ordinary = build_method("vicreg", backbone, size=SIZE, width=8)
    labelled = build_method("supervised", backbone, size=SIZE, width=8, classes=10)
    plan = Schedule(1, batch_size=8)
    for method in (ordinary, labelled):
        assert len(pretrain(method, OBJECTS, plan, trainer=QUIET)) == 1
    for images in (OBJECTS.subset(range(8)), RenderedShapes(8, size=SIZE)):
        with pytest.raises(DataError, match="tells no poses: give a PosedSet"):
            pretrain(build("vicreg"), images, plan, trainer=QUIET)
    for count, views in ((1, 4), (12, 1)):
        with pytest.raises(DataError, match=f"{count} objects of {views} views make no pairs"):
            pretrain(build("vicreg"), RenderedObjects(count, views, size=SIZE), plan, trainer=QUIET)
