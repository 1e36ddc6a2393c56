"""Networks of pretext tasks: scores move with the labels, losses stay; what can be learned."""

from __future__ import annotations

from functools import partial
from math import log

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import Group, ImageAction
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.objective import Method
from hierforecast.image_ssl.pretext import (
    ContextPrediction,
    Draw,
    Pretext,
    PretextHead,
    RotationPrediction,
)
from hierforecast.image_ssl.views import Views
from hierforecast.testing import assert_equivariant, in_modes, randomize_
from tests.image_ssl.pretext.drawing import NAMES, PLACED, SIZES, every_label, images_for, jigsaw


def learner(task, group: str, head: str | None = None) -> Pretext:
    backbone = ResNet(group, (1, 1), 3)
    return randomize_(Pretext(backbone, task, PretextHead(backbone, task, 6, head))).double()


TASKS = {
    "context": (partial(ContextPrediction, **PLACED), NAMES, SIZES[3]),
    "jigsaw 3": (jigsaw, ("C2", "C4", "D4"), SIZES[3]),
    "jigsaw 2": (partial(jigsaw, grid=2), NAMES, SIZES[2]),
    "rotation": (RotationPrediction, ("C1", "C2", "C4"), 9),
}
CASES = [(task, name) for task, (_, names, _) in TASKS.items() for name in names if name != "C1"]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_scores_move_with_the_labels_and_the_loss_stays(kind, name):
    make, _, size = TASKS[kind]
    task = make(name)
    draw = every_label(task, copies=1)
    images, image = images_for(draw, size), ImageAction(name)
    consistent, ordinary = learner(task, name), learner(task, name, "C1")
    for a in range(1, image.order):
        moved = task.turn(a, draw)
        turned = images if kind == "rotation" else image.act(a, images)
        errors = {}
        for network in (consistent, ordinary):
            for _mode in in_modes(network):
                with torch.no_grad():
                    before, after = network.scores(images, draw), network.scores(turned, moved)
                losses = F.cross_entropy(before, draw.labels), F.cross_entropy(after, moved.labels)
                wanted = task.action.act_on_scores(a, before)
                error = (wanted - after).abs().max() / before.abs().max().clamp(min=1)
                errors.setdefault(network, []).append((float(error), float(losses[0] - losses[1])))
        for error, change in errors[consistent]:
            assert error <= 1e-10 and abs(change) <= 1e-9
        for error, _ in errors[ordinary]:
            assert error > 1e-3


def test_the_loss_draws_and_compares():
    class Fixed(ContextPrediction):
        given: Draw

        def draw(self, batch: int, generator: torch.Generator | None = None) -> Draw:
            return self.given

    task = Fixed("D4", **PLACED)
    draw = task.given = every_label(ContextPrediction("D4", **PLACED))
    images, image, network = images_for(draw, 23), ImageAction("D4"), learner(task, "D4").eval()
    loss = network.loss(Views(images, images))
    torch.testing.assert_close(loss, F.cross_entropy(network.scores(images, draw), draw.labels))
    for a in image.elements():
        task.given = task.turn(a, draw)
        turned = image.act(a, images)
        torch.testing.assert_close(network.loss(Views(turned, turned)), loss)
        task.given = draw
    prepared = Method(network, lambda views: views.map_images(lambda images: 1 - images))
    torch.testing.assert_close(
        prepared.loss(Views(images, images)),
        F.cross_entropy(network.scores((1 - images.float()).double(), draw), draw.labels),
    )


def four_turns(images: Tensor) -> Tensor:
    return torch.cat([torch.rot90(images, turn, (-2, -1)) for turn in range(4)])


@pytest.mark.parametrize("seed", range(8))
def test_rotation_is_at_chance_on_turned_copies_whatever_the_weights(seed):
    task, images = RotationPrediction("C4"), four_turns(torch.rand(4, 3, 9, 9).double())
    network, ordinary = learner(task, "C4"), learner(task, "C4", "C1")
    randomize_(network, 0.3 + seed, seed)
    for label in range(4):
        draw = Draw(torch.full((16,), label), torch.zeros(16, 1, 2, dtype=torch.int64))
        for _mode in in_modes(network):
            loss = F.cross_entropy(network.scores(images, draw), draw.labels, reduction="none")
            assert (loss.detach().view(4, 4).mean(0) >= log(4) - 1e-9).all()
    assert ordinary.scores(images, draw).shape == (16, 4)


def test_context_is_learnt_on_turned_copies_and_rotation_is_not():
    losses = {}
    for kind, make in (("context", TASKS["context"][0]), ("rotation", RotationPrediction)):
        torch.manual_seed(1)
        task, size = make("C4"), TASKS[kind][2]
        backbone = ResNet("C4", (1,), 4)
        network = Pretext(backbone, task, PretextHead(backbone, task, 16))
        images = four_turns(torch.rand(2, 3, size, size))
        one = every_label(task, 1)
        draws = Draw(one.labels[:2].repeat(4), one.shifts[:2].repeat(4, 1, 1))
        if kind == "context":
            turned = [task.turn(a, Draw(one.labels[:2], one.shifts[:2])) for a in range(4)]
            draws = Draw(*(torch.cat(parts) for parts in zip(*turned, strict=True)))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(30):
            loss = F.cross_entropy(network.scores(images, draws), draws.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[kind] = float(loss.detach())
    assert losses["rotation"] >= log(4) - 1e-5
    assert losses["context"] < log(8) / 2


def test_heads_that_do_not_fit_the_labels_are_refused():
    backbone = nn.Module()
    backbone.group, backbone.channels = Group("D4"), 3
    with pytest.raises(ValueError, match=r"head respects D4, the task's labels C4: .*'D4'"):
        PretextHead(backbone, ContextPrediction("C4"))
    ordinary = PretextHead(backbone, ContextPrediction("C4"), 4, "C1")
    assert ordinary(torch.randn(5, 2, 3, 8)).shape == (5, 8)


def test_commuting_is_judged_by_the_tester_too():
    task = ContextPrediction("D4", **PLACED)
    draw, network = every_label(task), learner(task, "D4")
    images, image = images_for(draw, 23), ImageAction("D4")

    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor, labels: Tensor, shifts: Tensor) -> Tensor:
            return self.network.scores(images, Draw(labels, shifts))

    for a in range(1, 8):
        moved = task.turn(a, draw)
        move = [partial(image.act, a), lambda _, m=moved: m.labels, lambda _, m=moved: m.shifts]
        after = partial(task.action.act_on_scores, a)
        assert_equivariant(Scores(), (images, *draw), move, after)
    with pytest.raises(DataError, match="must be square"):
        task.cut(torch.rand(16, 3, 23, 25), draw)
