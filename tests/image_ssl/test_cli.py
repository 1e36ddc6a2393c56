"""``hierforecast ssl`` from images to scores, and what it says when something is wrong."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from hierforecast.cli import app
from hierforecast.image_ssl import cli, training
from hierforecast.image_ssl.data import named
from hierforecast.image_ssl.methods import ARMS, METHODS, TAKES
from hierforecast.image_ssl.nn import small_resnet
from hierforecast.image_ssl.storage import load_backbone, read_made_by, save_backbone

SMALL = "--images 24 --steps 2 --batch-size 8 --width 4 --head-width 8"
FEW = SMALL.split()


def call(*arguments, code=0):
    """Run a command; a traceback or an unexpected exit code fails the test."""
    result = CliRunner().invoke(app, ["ssl", *map(str, arguments)])
    unexpected = result.exception if not isinstance(result.exception, SystemExit) else None
    assert unexpected is None and result.exit_code == code, (result.output, result.exception)
    return result


def complaint(*arguments):
    """The one line that a command ends with when it fails."""
    result = call(*arguments, code=2)
    assert "Traceback" not in result.output
    *news, last = result.stderr.strip().splitlines()
    assert last.startswith("error: ") and not any("error" in line for line in news)
    return last


@pytest.fixture(autouse=True)
def fewer_shapes(monkeypatch):
    monkeypatch.setattr(named, "SHAPES", (48, 24))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder as ImageNet's: train/ and val/, a folder a class, of JPEGs of any size."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for kind in ("n01", "n02", "n03"):
            folder = root / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (70 + number, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.JPEG")
    return root


@pytest.fixture
def saved(tmp_path):
    save_backbone(small_resnet("C4", 2, image_size=33), tmp_path / "net", {"data": "shapes"})
    return tmp_path / "net"


def test_help():
    listed = CliRunner().invoke(app, ["--help"]).stdout
    assert "ssl" in listed and "Learn from images alone" in listed
    for name in ("pretrain", "probe", "show"):
        assert name in call("--help").stdout
        assert "Usage" in call(name, "--help").stdout


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
    call("probe", tmp_path / "net", "--out", tmp_path / "a" / "scores.csv")
    table = pd.read_csv(tmp_path / "a" / "scores.csv")
    kinds = {"plain"} if arm == "plain" else {"invariant", "equivariant"}
    assert set(table.features) == kinds and set(table.classifier) == {"linear probe", "kNN"}
    assert table.score.between(0, 1).all() and set(table.metric) == {"accuracy"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method, tmp_path):
    call("pretrain", tmp_path / "net", "--method", method, "--optimiser", "sgd", *FEW)
    assert read_made_by(tmp_path / "net")["learning_rate"] == 0.03
    options = inspect.signature(TAKES[method]).parameters
    assert set(cli._settable(method)) <= set(options) - {
        "group",
        "backbone",
        "projector",
        "augment",
    }


def test_what_is_trained_is_what_the_library_trains(tmp_path):
    call("pretrain", tmp_path / "net", "--method", "rotation", "--seed", 3, *FEW)
    torch.manual_seed(3)
    backbone = small_resnet("C4", 4, match="parameters", image_size=33)
    learning = cli.build_method("rotation", backbone, "C4", size=33, width=8)
    images = named.open_set("shapes", 33, images=24)
    plan = training.Schedule(2, batch_size=8, seed=3)
    training.pretrain(learning, images, plan, trainer={"enable_progress_bar": False})
    saved = load_backbone(tmp_path / "net").state_dict()
    assert all(torch.equal(x, saved[k]) for k, x in backbone.state_dict().items())


def test_imagenet_s_layout_and_a_large_network(photographs, tmp_path):
    arguments = "--network resnet50 --size 65 --steps 2 --batch-size 6 --width 4 --head-width 8"
    for name in ("plain", "consistent"):
        out = tmp_path / name
        call("pretrain", out, "--data", photographs, "--arm", name, *arguments.split(),
             "--workers", 1, "--set", "queue_size=16", "--set", "temperature=0.5")  # fmt: skip
        assert read_made_by(out)["options"] == {"queue_size": 16, "temperature": 0.5}
        assert read_made_by(out)["images"] == 24
    shown = call("probe", tmp_path / "plain", tmp_path / "consistent", "--out", tmp_path / "t.csv",
                 "--plot", tmp_path / "space.png")  # fmt: skip
    assert "24 images" in shown.stderr and "9 to judge" in shown.stderr
    table = pd.read_csv(tmp_path / "t.csv")
    assert table.groupby("backbone", sort=False).size().tolist() == [2, 4]
    assert (tmp_path / "space.png").stat().st_size > 0


def test_parts_of_a_folder(photographs, saved, tmp_path):
    where = ["--data", photographs, "--size", 33]
    assert "9 images" in call("probe", saved, *where, "--split", "val").stderr
    both = call("probe", saved, "--data", photographs / "train", "--test-split", ".", "--size", 33)
    assert "24 images" in both.stderr and "24 to judge" in both.stderr
    other = ["--test", photographs / "train", "--test-split", "."]
    assert "24 to judge" in call("probe", saved, *where, *other).stderr
    assert "n01" in complaint("probe", saved, *where, "--split", "n01")
    assert "neither val nor test" in complaint("probe", saved, "--data", photographs / "train")
    assert "no folder" in complaint("probe", saved, *where, "--test-split", "valid")


def test_cifar_is_resized(shared_data, saved, monkeypatch):
    if not (shared_data / "cifar10").is_dir():
        pytest.skip("CIFAR-10 is not there")
    monkeypatch.setenv("HIERFORECAST_DATA", str(shared_data))
    images = named.open_set("cifar10:lossless", 33, test=True)
    assert len(images) == 1017 and images[0][0].shape == (3, 33, 33)
    assert len(named.open_set("cifar10:lossless", 33, "train")) == 5085


def test_shapes_are_judged_on_another_seed():
    train, test = named.open_set("shapes", 9), named.open_set("shapes", 9, test=True)
    assert (len(train), len(test)) == (48, 24)
    assert not torch.equal(train[0][0], test[0][0])


def test_some_images_are_drawn_from_all_classes(photographs):
    found = named.open_set(str(photographs), 9, images=12)
    assert len(found) == 12 and len(found.labels.unique()) == 3
    assert torch.equal(found.labels, named.open_set(str(photographs), 9, images=12).labels)
    assert len(named.open_set(str(photographs), 9, images=99)) == 24


def test_learning_curves(saved, tmp_path):
    result = call(
        "probe", saved, "--curve", "--plot", tmp_path / "c.png", "--out", tmp_path / "c.csv"
    )
    table = pd.read_csv(tmp_path / "c.csv")
    assert sorted(table.labels.unique()) == [8, 48] and table.seed.nunique() == 3
    best = table[table.labels == 48].accuracy
    assert f"{best.mean():.4f}" in result.stdout
    assert (tmp_path / "c.png").stat().st_size > 0


def test_few_labels_are_drawn_from_every_class(saved, monkeypatch):
    seen = []
    monkeypatch.setattr(
        cli._judging, "all_scores", lambda nets, train, test, device: seen.append(train) or 1 / 0
    )
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        call("probe", saved, "--labels", 16)
    assert seen[0].labels.bincount().tolist() == [2] * 8
    assert "1 to 48" in complaint("probe", saved, "--labels", 49)


def test_show_draws_a_turning_map(saved, tmp_path):
    call("show", saved, "--out", tmp_path / "new" / "turning.png", "--image", 3)
    assert (tmp_path / "new" / "turning.png").stat().st_size > 0
    assert "no image 48" in complaint("show", saved, "--image", 48)
    save_backbone(small_resnet(), tmp_path / "plain")
    assert "give --data" in complaint("show", tmp_path / "plain")
    assert "plain network" in complaint("show", tmp_path / "plain", "--data", "shapes")


def test_a_training_goes_on_from_its_checkpoints(tmp_path):
    arguments = ["pretrain", tmp_path / "net", "--method", "rotation", *FEW]
    kept = ["--checkpoints", tmp_path / "kept"]
    call(*arguments, *kept)
    assert (tmp_path / "kept" / "last.ckpt").exists()
    assert "at step 3" in call(*arguments, *kept, "--resume", "--steps", 4).stderr
    assert read_made_by(tmp_path / "net")["steps"] == 4
    assert "was at its end" in call(*arguments, *kept, "--resume", "--steps", 4).stderr
    assert "--checkpoints" in complaint(*arguments, "--resume")
    message = complaint(*arguments, "--checkpoints", tmp_path / "none", "--resume")
    assert "nothing to resume" in message


def test_an_interrupted_training_is_saved(tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt("training was interrupted at step 1; the weights so far are kept")

    monkeypatch.setattr(training, "pretrain", stop)
    result = call("pretrain", tmp_path / "net", "--method", "rotation", *FEW)
    assert "step 1" in result.stderr and "saved" in result.stderr
    assert read_made_by(tmp_path / "net")["finished"] is False
    load_backbone(tmp_path / "net")


def test_errors_are_one_line(photographs, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit = ["pretrain", tmp_path / "new", *FEW]
    assert "is none of context, jigsaw" in complaint(*fit, "--method", "mocco")
    assert "is none of plain, consistent" in complaint(*fit, "--arm", "flat")
    assert "C1, C2, C4" in complaint(*fit, "--group", "C8")
    assert "is none of small, resnet18" in complaint(*fit, "--network", "vit")
    assert "is none of adamw, sgd" in complaint(*fit, "--optimiser", "lars")
    assert "is none of parameters, compute, none" in complaint(*fit, "--match", "speed")
    assert "queue_size" in complaint(*fit, "--set", "queue=3")
    assert "nothing to set" in complaint(*fit, "--method", "rotation", "--set", "queue=3")
    assert "C4" in complaint(*fit, "--method", "rotation", "--group", "D4")
    assert "no folder 'nowhere'" in complaint(*fit, "--data", "nowhere")
    assert "voc2007:ROOT" in complaint(*fit, "--data", "voc2007")
    assert "no parts" in complaint(*fit, "--split", "train")
    assert "3 x 3 grid" in complaint(*fit, "--method", "jigsaw", "--size", 9)
    inexact = complaint(*fit, "--size", 32)
    assert "image size 32 is not exact for C4" in inexact and "29 and 33" in inexact
    for devices in ("none", "0", "-1"):
        assert "--devices" in complaint(*fit, "--devices", devices)
    assert "recision" in complaint(*fit, "--precision", "7")
    assert "something else" in complaint("pretrain", photographs, *FEW)
    assert not (tmp_path / "new").exists()
    assert "nowhere holds no backbone.json" in complaint("probe", "nowhere")
    assert ".csv" in complaint("probe", saved, "--out", "scores.xlsx")
    assert ".png" in complaint("probe", saved, "--plot", "space.gif")
    assert "not exact" in complaint("probe", saved, "--size", 32)


def test_a_plain_network_takes_any_size(tmp_path):
    arguments = ["--arm", "plain", "--method", "rotation", "--size", 20]
    call("pretrain", tmp_path / "net", *arguments, *FEW)
    assert read_made_by(tmp_path / "net")["size"] == 20
    assert "48 images" in call("probe", tmp_path / "net").stderr
