"""``hierforecast ssl pretrain``, and what it says when something is wrong."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from hierforecast.cli import app
from hierforecast.errors import Interrupted
from hierforecast.image_ssl import training
from hierforecast.image_ssl.cli import output, pretraining
from hierforecast.image_ssl.data import as_float
from hierforecast.image_ssl.data.named import open_posed, open_set
from hierforecast.image_ssl.methods import (
    ARMS,
    METHODS,
    build_method,
    head_weights,
    options_of,
)
from hierforecast.image_ssl.nn import small_resnet
from hierforecast.image_ssl.objective import Method
from hierforecast.image_ssl.split import Poses, every_kind, standardized
from hierforecast.image_ssl.storage import load_backbone, read_made_by
from hierforecast.image_ssl.views import Augmented, Between, Views
from tests.image_ssl.cli.calling import FEW, PLAIN, call, complaint, evaluated


def test_help():
    listed = call("--help").stdout
    for name in ("pretrain", "evaluate", "show"):
        assert name in listed
        assert "Usage" in call(name, "--help").stdout
    assert "segment" not in listed, "commands of earlier versions are hidden"
    assert any(group.name == "ssl" for group in app.registered_groups)


@pytest.mark.parametrize("arm", ARMS)
def test_pretrain_and_probe_in_every_arm(arm, tmp_path):
    result = call("pretrain", tmp_path / "net", "--method", "jigsaw", "--arm", arm, *FEW)
    assert "loss" in result.stderr and f"saved {tmp_path / 'net'}" in result.stderr
    made_by = read_made_by(tmp_path / "net")
    expected = {"method": "jigsaw", "arm": arm, "data": "shapes", "size": 33, "steps": 2}
    assert expected.items() <= made_by.items() and made_by["finished"] is True
    net = load_backbone(tmp_path / "net")
    assert net.group.name == ("C1" if arm == "plain" else "C4")
    assert net.channels == (16 if arm == "plain" else 8), "four and two, doubled twice"
    evaluated("probe", tmp_path / "net", "--out", tmp_path / "a" / "scores.csv")
    table = pd.read_csv(tmp_path / "a" / "scores.csv")
    kinds = {"all"} if arm == "plain" else {"invariant", "equivariant"}
    assert set(table.features) == kinds and set(table.classifier) == {"linear probe", "kNN"}
    assert table.score.between(0, 1).all() and set(table.metric) == {"accuracy"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method, tmp_path):
    call("pretrain", tmp_path / "net", "--method", method, "--optimizer", "sgd", *FEW)
    made_by, net = read_made_by(tmp_path / "net"), load_backbone(tmp_path / "net")
    assert made_by["learning_rate"] == 0.03
    part_two = ("vicreg", "reconstruction", "sie", "regression", "supervised")
    assert net.standardize is made_by["standardize"] is (method not in part_two)
    halved = {"split": 0.5} if method in ("reconstruction", "sie") else {}
    assert made_by["options"] == halved
    modules = {"group", "backbone", "projector", "augment", "decoder", "classes"}
    assert set(pretraining.settable(method)) <= set(options_of(method)) - modules


@pytest.mark.parametrize(
    ("method", "standardize", "asked"),
    [("rotation", True, []), ("sie", False, []), ("sie", True, ["--standardize"])],
)
def test_what_is_trained_is_what_the_library_trains(method, standardize, asked, tmp_path):
    call("pretrain", tmp_path / "net", "--method", method, "--seed", 3, *FEW, *asked)
    torch.manual_seed(3)
    backbone = small_resnet("C4", 4, match="parameters", image_size=33, standardize=standardize)
    learning = build_method(method, backbone, "C4", size=33, width=8)
    plan = training.Schedule(2, batch_size=8, seed=3)
    quiet = {"enable_progress_bar": False}
    training.pretrain(learning, open_set("shapes", 33, images=24), plan, trainer=quiet)
    saved = load_backbone(tmp_path / "net").state_dict()
    assert all(torch.equal(x, saved[k]) for k, x in backbone.state_dict().items())
    assert read_made_by(tmp_path / "net")["standardize"] is standardize


def test_heads_of_all_arms_have_as_many_weights_if_asked_for(tmp_path, monkeypatch):
    found, real = {}, training.pretrain

    def keep(method, *rest, **more):
        found[len(found)] = head_weights(method)
        return real(method, *rest, **more)

    monkeypatch.setattr(training, "pretrain", keep)
    for arm in ARMS:
        asked = ("--arm", arm, "--head-width", 32, "--match-heads")
        call("pretrain", tmp_path / arm, *FEW, *asked)
        assert read_made_by(tmp_path / arm)["match_heads"] is True
    assert len(found) == 3 and max(found.values()) / min(found.values()) < 1.1, found


def test_posed_pairs_are_what_the_library_trains_on(tmp_path):
    posed = ["--pairs", "posed", "--data", "objects:45", "--size", 17]
    call("pretrain", tmp_path / "net", "--method", "sie", "--set", "fed=pose", *posed, *PLAIN)
    torch.manual_seed(0)
    backbone = small_resnet("C1", 4, image_size=17, standardize=False)
    learning = build_method("sie", backbone, size=17, width=8, augment=Poses(), fed="pose")
    images = open_posed("objects:45", 17, images=24)
    plan = training.Schedule(2, batch_size=8)
    training.pretrain(learning, images, plan, trainer={"enable_progress_bar": False})
    saved = load_backbone(tmp_path / "net").state_dict()
    assert all(torch.equal(x, saved[k]) for k, x in backbone.state_dict().items())
    made_by = read_made_by(tmp_path / "net")
    assert made_by["pairs"] == "posed" and made_by["options"] == {"split": 0.5, "fed": "pose"}
    assert "from poses: moco" in complaint("pretrain", tmp_path / "new", "--method", "rotation",
                                           *posed, *PLAIN)  # fmt: skip
    none = complaint("pretrain", tmp_path / "new", "--pairs", "posed", *PLAIN)
    assert "'shapes' is no set of known poses: give objects" in none
    assert "none of augmented, posed" in complaint("pretrain", tmp_path / "new", "--pairs", "both")


def test_a_picture_of_reconstructions(tmp_path):
    plot, few = (
        tmp_path / "new" / "reconstructed.png",
        ["--size", 17, "--set", "between=true", *PLAIN],
    )
    call("pretrain", tmp_path / "net", "--method", "reconstruction", "--plot", plot, *few)
    with Image.open(plot) as picture:
        assert picture.width > picture.height > 100
    other = complaint("pretrain", tmp_path / "a", "--method", "sie", "--plot", plot, *PLAIN)
    assert "a reconstruction" in other
    assert ".png" in complaint("pretrain", tmp_path / "a", "--plot", "reconstructed.gif", *PLAIN)


class Painter(nn.Module):
    """Paints what it is to paint, which it is told; or else the second view."""

    def __init__(self, target):
        super().__init__()
        self.target = target
        self.held = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def reconstruct(self, first, second):
        assert not self.training and first.dtype == torch.float64
        return standardized(second if self.target is None else self.target)


@pytest.mark.parametrize("between", [False, True])
def test_a_reconstruction_has_the_colors_of_what_it_is_to_show(between, monkeypatch):
    seen = []
    monkeypatch.setattr(output, "plot_reconstructions", lambda *images: seen.append(images))
    images = output.images_to_draw("reconstruction", "augmented", "objects", 17, "raise")
    assert len(images) == output.COLUMNS and len(images.labels.unique()) > 2
    source = Augmented(every_kind(17), between=Between((0.3, 0.3)) if between else None)
    originals, _ = images.__getitems__(list(range(len(images))))
    shown = as_float(originals)
    drawn = source(Views(shown, shown), torch.Generator().manual_seed(5))
    target = drawn.between if between else drawn.first
    for told in (target, None):
        output.reconstruction(Method(Painter(told), source), images, 5)
    shown, first, second, found = seen[0]
    assert torch.equal(shown, originals) and not torch.equal(first, second)
    torch.testing.assert_close(found, target, rtol=0, atol=1e-3, check_dtype=False)
    assert (seen[1][3] - target).abs().max() > 0.1


def test_nothing_to_reconstruct_is_said_before_the_training(photographs, tmp_path):
    arguments = ["--data", photographs / "train", "--method", "reconstruction", *PLAIN]
    message = complaint("pretrain", tmp_path / "net", "--plot", tmp_path / "a.png", *arguments)
    assert "leave it out" in message and "neither val nor test" in message
    assert not (tmp_path / "net").exists()


def test_a_training_goes_on_from_its_checkpoints(tmp_path):
    arguments = ["pretrain", tmp_path / "net", "--method", "rotation", *FEW]
    kept = ["--checkpoints", tmp_path / "kept"]
    call(*arguments, *kept)
    assert (tmp_path / "kept" / "last.ckpt").exists()
    net = load_backbone(tmp_path / "net").state_dict()
    assert "at step 1" in call(*arguments, *kept, "--resume").stderr
    again = load_backbone(tmp_path / "net").state_dict()
    assert all(torch.equal(x, again[name]) for name, x in net.items())
    message = complaint(*arguments, *kept, "--resume", "--steps", 4)
    assert "last.ckpt is of another training: --steps was 2 and is 4" in message
    assert "start the training again without --resume" in message
    message = complaint(*arguments, *kept, "--resume", "--images", 23)
    assert "number of images was 24 and is 23" in message
    assert "--checkpoints" in complaint(*arguments, "--resume")
    message = complaint(*arguments, "--checkpoints", tmp_path / "none", "--resume")
    assert "nothing to resume" in message


def test_an_interrupted_training_is_saved(tmp_path, monkeypatch):
    def stop(*args, **options):
        raise Interrupted("training was interrupted at step 1; the weights so far are kept")

    monkeypatch.setattr(training, "pretrain", stop)
    result = call("pretrain", tmp_path / "net", "--method", "rotation", *FEW, code=130)
    assert "step 1" in result.stderr and "saved" in result.stderr
    assert read_made_by(tmp_path / "net")["finished"] is False
    load_backbone(tmp_path / "net")


def test_errors_are_one_line(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit = ["pretrain", tmp_path / "new", *FEW]
    assert "is none of context, jigsaw" in complaint(*fit, "--method", "mocco")
    assert "is none of plain, consistent" in complaint(*fit, "--arm", "flat")
    assert "C1, C2, C4" in complaint(*fit, "--group", "C8")
    assert "is none of small, resnet18" in complaint(*fit, "--network", "vit")
    assert "is none of adamw, sgd" in complaint(*fit, "--optimizer", "lars")
    assert "is none of parameters, compute, none" in complaint(*fit, "--match", "speed")
    assert "queue_size" in complaint(*fit, "--set", "queue=3")
    assert "nothing to set" in complaint(*fit, "--method", "rotation", "--set", "queue=3")
    assert "C4" in complaint(*fit, "--method", "rotation", "--group", "D4")
    nowhere = complaint(*fit, "--data", "nowhere")
    assert "no folder 'nowhere'" in nowhere and "objects:DEGREES" in nowhere
    assert "voc2007:ROOT" in complaint(*fit, "--data", "voc2007")
    assert "threedie:ROOT" in complaint(*fit, "--data", "threedie")
    assert "no parts" in complaint(*fit, "--split", "train")
    assert "no parts" in complaint(*fit, "--data", "objects", "--split", "train")
    assert "objects:45" in complaint(*fit, "--data", "objects:far")
    assert "within=" in complaint(*fit, "--data", "objects:181")
    assert "none of raise, skip" in complaint(*fit, "--on-error", "ignore")
    assert "3 x 3 grid" in complaint(*fit, "--method", "jigsaw", "--size", 9)
    none = complaint(*fit, "--method", "sie", "--arm", "plain", "--set", "split=group")
    assert "no group to split by" in none
    assert "share=1.5" in complaint(*fit, "--method", "sie", "--set", "split=1.5")
    inexact = complaint(*fit, "--size", 32)
    assert "image size 32 is not exact for C4" in inexact and "29 and 33" in inexact
    for devices in ("none", "0", "-1"):
        assert "--devices" in complaint(*fit, "--devices", devices)
    assert "recision" in complaint(*fit, "--precision", "7")
    assert "something else" in complaint("pretrain", photographs, *FEW)
    assert not (tmp_path / "new").exists()
