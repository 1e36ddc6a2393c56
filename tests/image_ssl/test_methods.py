"""Methods put together: every method in every arm, and tiles that fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.contrastive import ViewObjective
from hierforecast.image_ssl.data import RenderedObjects
from hierforecast.image_ssl.groups import Group, ImageAction
from hierforecast.image_ssl.methods import (
    ARMS,
    METHODS,
    arm,
    build_method,
    head_weights,
    options_of,
)
from hierforecast.image_ssl.nn import EVEN, ResNet, resnet18, resnet50, small_resnet
from hierforecast.image_ssl.nn.heads import ForgetGroup
from hierforecast.image_ssl.objective import Method
from hierforecast.image_ssl.pretext.task import TileGrid, largest_tiles
from hierforecast.image_ssl.training import Schedule, pretrain
from hierforecast.image_ssl.views import Poses, Views

QUICK = {
    "moco": {"queue_size": 16},
    "jigsaw": {"count": 16},
    "supervised": {"classes": 3},
    "reconstruction": {"decoder": {"dim": 8, "patch": 11}},
}


def test_arms_are_two_choices():
    plain, group = Group("C1"), Group("D4")
    assert [arm(name, "D4") for name in ARMS] == [(plain, plain), (group, group), (group, plain)]
    assert arm("consistent") == (Group("C4"), Group("C4"))
    with pytest.raises(ValueError, match="arm 'ours' is none of plain, consistent, inconsistent"):
        arm("ours")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("which", ARMS)
def test_every_method_learns_in_every_arm(name, which):
    group, head = arm(which)
    backbone = small_resnet(group, 4)
    method = build_method(name, backbone, head, size=33, width=8, **QUICK.get(name, {}))
    assert method.backbone is backbone
    forgets = any(isinstance(module, ForgetGroup) for module in method.modules())
    # A regression of parameters averages nowhere: its head is an ordinary one in every arm.
    assert forgets == (which == "inconsistent" and name != "regression")
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    for _ in range(2):
        images = torch.rand(8, 3, 33, 33)
        loss = method.loss(Views(images, images, labels=torch.arange(8) % 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.shape == () and loss.isfinite()
    for parameter in backbone.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    assert any(parameter.grad.any() for parameter in backbone.parameters())


@pytest.mark.parametrize("name", ["context", "jigsaw", "rotation", "moco", "swav", "simsiam"])
@pytest.mark.parametrize("group", ["C4", "D4"])
def test_arms_have_as_many_weights_with_matched_heads(name, group):
    if name == "rotation" and group == "D4":
        return  # whose labels have no mirror images
    plain = small_resnet("C1", 16)
    state, weights, dims = torch.get_rng_state(), {}, set()
    for which in ARMS:
        symmetry, head = arm(which, group)
        backbone = small_resnet(symmetry, 16, match="parameters")
        options = {"symmetry": group, **QUICK.get(name, {})}
        torch.set_rng_state(state)
        method = build_method(name, backbone, head, match_head=plain, **options)
        weights[which] = [count_of(backbone), head_weights(method)]
        dims.add(getattr(method.objective, "dim", None))
        if which == "plain":  # and it is the head that it would be without, to the last draw
            torch.set_rng_state(state)
            same = build_method(name, plain, **options).state_dict()
            heads = {k: v for k, v in method.state_dict().items() if "backbone" not in k}
            assert all(torch.equal(same[k], v) for k, v in heads.items() if "key_encoder" not in k)
    assert len(dims) == 1  # the loss compares vectors of the same length
    backbones, heads = np.array([*weights.values()]).T
    assert (abs(heads / heads[0] - 1) < 0.03).all()
    assert (
        abs((backbones + heads) / (backbones + heads)[0] - 1) < (0.03 if group == "C4" else 0.1)
    ).all()


def count_of(module):
    return sum(p.numel() for p in module.parameters())


def test_heads_of_split_features_are_not_matched():
    backbone = small_resnet("C4", 4)
    with pytest.raises(ValueError, match="heads of sie cannot be matched"):
        build_method("sie", backbone, match_head=small_resnet("C1", 8))


def test_arms_of_a_method_ask_the_same_question():
    for name in ("context", "jigsaw", "rotation"):
        asked = []
        for which in ARMS:
            group, head = arm(which, "C4")
            method = build_method(
                name, small_resnet(group, 2), head, width=4, **QUICK.get(name, {})
            )
            asked.append(method.objective.task)
        for task in asked[1:]:
            assert torch.equal(task.action.moves, asked[0].action.moves)
            if name == "jigsaw":
                assert torch.equal(task.permutations, asked[0].permutations)
            if name != "rotation":
                assert vars(task.grid) == vars(asked[0].grid)


@pytest.mark.parametrize("size", [33, 45, 49, 65, 96, 225])
@pytest.mark.parametrize("cells", [2, 3])
@pytest.mark.parametrize("build", [small_resnet, resnet18])
def test_tiles_do_not_depend_on_the_arm(build, cells, size):
    try:
        wanted = largest_tiles(size, cells, build("C4", 1))
    except DataError:
        return
    assert largest_tiles(size, cells, build("C1", 1)) == wanted


def test_names_and_groups_that_do_not_fit_are_told():
    with pytest.raises(
        ValueError, match="method 'byol' is none of context, jigsaw, rotation, moco"
    ):
        build_method("byol", small_resnet("C4", 2))
    with pytest.raises(ValueError, match="make the task with group='D4'"):
        build_method("context", small_resnet("D4", 2))
    assert (
        build_method("context", small_resnet("D4", 2), symmetry="D4").objective.task.action.order
        == 8
    )
    assert build_method("context", small_resnet("D4", 2), "C1").objective.task.action.order == 4
    with pytest.raises(ValueError, match="cannot stand behind"):
        build_method("simsiam", small_resnet("D4", 2), "C4")


class Agreement(ViewObjective):
    """All that an objective of two views must say."""

    def __init__(self, backbone, projector, *, power: int = 2):
        super().__init__(backbone, projector)
        self.power = power

    def compare(self, first, second, views):
        return (first - second).abs().pow(self.power).mean()


@pytest.mark.parametrize("augment", [None, Poses()])
def test_a_new_objective_is_one_class_and_one_line(augment, monkeypatch):
    monkeypatch.setitem(METHODS, "agreement", Agreement)
    assert options_of("agreement")["power"].default == 2
    method = build_method("agreement", small_resnet("C4", 2), width=8, power=4, augment=augment)
    assert method.objective.power == 4 and method.posed == (augment is not None)
    images = RenderedObjects(4, 2, size=33).in_memory()
    quiet = {"accelerator": "cpu", "enable_progress_bar": False}
    curve = pretrain(method, images, Schedule(2, batch_size=4), trainer=quiet)
    assert curve["loss"].notna().all()
    with pytest.raises(DataError, match="power='two' must"):
        build_method("agreement", small_resnet("C4", 2), power="two")


def test_options_reach_the_task():
    method = build_method("context", small_resnet("C4", 2), jitter=0)
    assert method.objective.task.grid.jitter == 0
    assert (
        build_method("jigsaw", small_resnet("C4", 2), grid=2, count=8).objective.task.grid.cells
        == 2
    )
    with pytest.raises(TypeError):
        build_method("context", small_resnet("C4", 2), momentum=0.9)


@pytest.mark.parametrize("cells", [2, 3])
@pytest.mark.parametrize("size", range(27, 71))
def test_tiles_fit_and_are_the_largest_that_do(size, cells):
    for backbone in (small_resnet("C4", 1), small_resnet("C4", 1, halving=EVEN)):
        fits = []
        for tile in range(3, size // cells + 1):
            left = size - cells * tile - (cells - 1) * max(1, tile // 4)
            odd = left % 2  # between two tiles a pixel more makes the grid lie in the middle
            gap = max(1, tile // 4) + (odd if cells == 2 else 0)
            left -= odd if cells == 2 else 0
            if left % 2 == 0 and left >= 2 * (gap // 2) and backbone.is_exact(tile):
                fits.append({"tile": tile, "gap": gap, "jitter": gap // 2})
        if not fits:
            with pytest.raises(
                DataError, match=f"images of {size} pixels hold no {cells} x {cells}"
            ):
                largest_tiles(size, cells, backbone)
            continue
        found = largest_tiles(size, cells, backbone)
        assert found == fits[-1]
        margin = TileGrid(cells, **found).margin(size)
        assert margin >= found["jitter"] >= 0 and found["gap"] >= found["tile"] // 4
        assert 2 * margin + cells * found["tile"] + (cells - 1) * found["gap"] == size


def test_tiles_of_large_images():
    assert largest_tiles(225, 3, resnet18("C4", 1)) == {"tile": 33, "gap": 8, "jitter": 4}
    assert largest_tiles(225, 2, resnet18("D4", 1))["tile"] == 65
    assert largest_tiles(225, 3, resnet50("D4", 1))["tile"] == 33
    assert largest_tiles(33, 3, small_resnet("C4", 1)) == {"tile": 9, "gap": 2, "jitter": 1}
    assert largest_tiles(224, 3, resnet18("C4", 1, halving=EVEN))["tile"] == 32
    with pytest.raises(DataError, match="hold no 3 x 3 grid"):
        largest_tiles(224, 3, resnet18("C4", 1))


def test_plain_networks_take_tiles_of_sizes_that_are_exact_for_none():
    assert largest_tiles(32, 3, small_resnet("C1", 1)) == {"tile": 8, "gap": 2, "jitter": 1}


class Difference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(1, 1)

    def loss(self, views: Views) -> torch.Tensor:
        assert not (views.first.requires_grad or views.second.requires_grad)
        self.seen = views
        return (views.first - views.second).sum() + self.backbone.weight.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_views_are_drawn_in_float32_and_without_gradients(dtype):
    def source(views: Views) -> Views:
        assert not torch.is_grad_enabled() and views.first.dtype == torch.float32
        return Views(views.first + 1, views.first + 2, {"angle": torch.ones(2)})

    objective = Difference()
    method = Method(objective, source)
    images = torch.rand(2, 3, 4, 4, dtype=dtype).requires_grad_()
    loss = method.loss(Views(images, images))
    assert loss.item() == pytest.approx(objective.backbone.weight.item() - 96, abs=0.5)
    loss.backward()
    assert method.backbone is objective.backbone and objective.backbone.weight.grad == 1
    assert objective.seen.first.dtype == objective.seen.second.dtype == dtype
    assert objective.seen.relative["angle"].dtype == torch.float32


@pytest.mark.parametrize("name", ["moco", "swav", "simsiam", "vicreg"])
def test_consistent_views_may_turn_and_the_ordinary_ones_may_not(name):
    turn, images = ImageAction("C4"), torch.rand(8, 3, 33, 33).double()
    for which, same in (("consistent", True), ("inconsistent", False)):
        group, head = arm(which)
        method = build_method(name, small_resnet(group, 4), head, width=8, **QUICK.get(name, {}))
        objective = method.double().eval().objective
        with torch.no_grad():
            one, other = (objective.embed(x) for x in (images, turn.act(1, images)))
        assert bool((one - other).abs().max() < 1e-10) == same


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule(max_steps=0), "max_steps=0 must be a whole number of at least 1"),
        (lambda: Schedule(batch_size="8"), "batch_size='8' must be a whole number"),
        (lambda: Schedule(learning_rate=float("nan")), "learning_rate=nan must be"),
        (lambda: Schedule(weight_decay=-1), "weight_decay=-1 must be a number of at least 0"),
        (lambda: Schedule(seed=-1), "seed=-1 must be a whole number of at least 0"),
        (lambda: small_resnet(width="16"), "width='16' must be a whole number"),
        (lambda: ResNet(depths=(1, 1.5)), "depths=.*must be 1 or more"),
        (lambda: build_method("moco", small_resnet(), queue_size="many"), "queue_size='many' must"),
        (lambda: build_method("moco", small_resnet(), momentum="big"), "momentum='big' must"),
        (lambda: build_method("vicreg", small_resnet(), width=0), "width=0 must be a whole number"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_named(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_scalars_of_numpy_are_numbers():
    schedule = Schedule(np.int64(5), np.int64(4), np.float64(1e-3), np.float32(0), np.int64(1))
    assert schedule == Schedule(5, 4, 1e-3, 0.0, 1) and type(schedule.max_steps) is int
    assert small_resnet(width=np.int64(4)).to_dict()["width"] == 4
