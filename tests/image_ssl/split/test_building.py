"""Every method of part two by its name: it learns, is kept, and is trained by `pretrain`."""

import inspect

import pytest
import torch
from torch.nn import functional as F

from hierforecast.image_ssl import split
from hierforecast.image_ssl.augment import Compose, HorizontalFlip, RandomRotation
from hierforecast.image_ssl.contrastive import LEARNERS
from hierforecast.image_ssl.data import ArrayImages
from hierforecast.image_ssl.methods import build_method
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.split import KINDS, Supervised
from hierforecast.image_ssl.split.supervised import label_loss
from hierforecast.image_ssl.training import Schedule, pretrain
from hierforecast.image_ssl.views import Views

SIZE = 9
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}
DECODER = {"decoder": {"dim": 8, "heads": 2, "layers": 1}}
CASES = {
    "vicreg": ("vicreg", {}),
    "supervised": ("supervised", {"classes": 3}),
    "regression": ("regression", {"known": 0.5}),
    "sie": ("sie", {}),
    "one at a time": ("sie", {"fed": "one at a time", "known": 0.5, "equivariance": 1.0}),
    "between": ("reconstruction", {"between": True, "tokens": "maps", **DECODER}),
    **{f"on {name}": ("reconstruction", {"learner": name, **DECODER}) for name in LEARNERS},
}
CASES["on moco"][1]["queue_size"] = 8


def build(case, group="C1", **options):
    name, settings = CASES[case]
    torch.manual_seed(0)
    backbone = ResNet(group, (1, 1), 4, image_size=SIZE)
    augment = Compose([RandomRotation(45.0), HorizontalFlip()])
    options = {"augment": augment, **settings, **options}
    return build_method(name, backbone, size=SIZE, width=8, **options)


def pictures(count=12):
    images = torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8)
    return ArrayImages(images, torch.arange(count) % 3, ["a", "b", "c"])


def loss_of(method, images):
    return method.loss(Views(images, images, labels=torch.arange(len(images)) % 3))


@pytest.mark.parametrize("group", ["C1", "C4"])
@pytest.mark.parametrize("case", CASES)
def test_every_method_learns_and_is_kept(case, group):
    method, images = build(case, group), torch.rand(8, 3, SIZE, SIZE)
    loss = loss_of(method, images)
    loss.backward()
    assert loss.shape == () and loss.isfinite()
    assert all(p.grad is not None for p in method.backbone.parameters())
    other = build(case, group)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(method.state_dict())
    found = []
    for one in (method.eval(), other.eval()):
        torch.manual_seed(3)
        found.append(loss_of(one, images).item())
    assert found[0] == found[1]


@pytest.mark.parametrize("case", CASES)
def test_every_method_is_trained(case):
    method = build(case)
    before = [p.clone() for p in method.backbone.parameters()]
    curve = pretrain(method, pictures(), Schedule(2, batch_size=6), trainer=QUIET)
    assert curve["loss"].notna().all() and len(curve) == 2
    after = method.backbone.parameters()
    assert any(not torch.equal(x, y) for x, y in zip(before, after, strict=True))


def test_every_label_comes_once():
    method, seen = build("supervised"), []
    plain = method.loss
    method.loss = lambda views: seen.append(views.labels) or plain(views)
    pretrain(method, pictures(), Schedule(2, batch_size=6), trainer=QUIET)
    assert sorted(torch.cat(seen).tolist()) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_arms_differ_in_what_the_predictor_is_told(kind):
    method = build_method("sie", ResNet("C1", (1, 1), 2), size=SIZE, width=4, fed=kind).objective
    expected = sum(KINDS.values(), ()) if kind == "all" else KINDS[kind]
    assert sorted(method.predictor.encode.names) == sorted(expected)


def test_the_groups_split_stands_with_any_head():
    for head in (None, "C4", "C1"):
        backbone = ResNet("C4", (1, 1), 2, image_size=SIZE)
        method = build_method("reconstruction", backbone, head, size=SIZE, width=4, split="group")
        assert isinstance(method.objective.halves.split, split.SplitGroup)
    assert build("vicreg").objective.weights["invariance"] == 25
    assert build("sie", split=0.25).objective.halves.split.channels == 2


def test_unknown_choices_are_told():
    for option in ({"learner": "byol"}, {"tokens": "words"}, {"split": "half"}):
        ((name, value),) = option.items()
        with pytest.raises(ValueError, match=f"{name} '{value}' is none of"):
            build("between", **option)
    with pytest.raises(TypeError, match="classes"):
        build_method("supervised", ResNet("C1", (1, 1), 2))


def test_labels_of_one_and_of_several_classes():
    scores = torch.randn(4, 3)
    labels = torch.tensor([0, 2, 1, 1])
    torch.testing.assert_close(label_loss(scores, labels), F.cross_entropy(scores, labels))
    several = torch.tensor([[1, 0, torch.nan], [0, 0, 1], [torch.nan] * 3, [1, 1, 0.0]])
    terms = []
    for row, truth in zip(scores.sigmoid(), several, strict=True):
        for p, y in zip(row.tolist(), truth.tolist(), strict=True):
            if y == y:
                terms.append(-torch.tensor(p if y else 1 - p).log())
    torch.testing.assert_close(label_loss(scores, several), torch.stack(terms).mean())
    assert label_loss(scores, torch.full((4, 3), torch.nan)) == 0


def test_supervised_learns_its_labels():
    torch.manual_seed(0)
    backbone = ResNet("C1", (1, 1), 4, image_size=SIZE)
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(backbone.channels, 3))
    method, images, labels = (
        Supervised(backbone, head),
        torch.rand(6, 3, SIZE, SIZE),
        torch.arange(6),
    )
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    for _ in range(40):
        loss = method.loss(Views(images, images, labels=labels % 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_constructors_are_small():
    for name in split.__all__:
        made = getattr(split, name)
        if inspect.isclass(made):
            assert len(inspect.signature(made).parameters) < 10, name
