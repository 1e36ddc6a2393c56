"""``hierforecast ssl`` on folders in the layouts of real sets, with files that cannot be read."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import ArrayImages, ImageSet, _registry, named
from hierforecast.image_ssl.data.named import open_masks, open_posed, open_set
from hierforecast.image_ssl.storage import load_backbone, read_made_by
from tests.damage import truncate
from tests.image_ssl.cli.calling import PLAIN, call, complaint, evaluated, refused, warned


@pytest.fixture
def damaged(photographs, tmp_path):
    """The photographs, of which one is cut short and one has no header."""
    root = shutil.copytree(photographs, tmp_path / "damaged")
    truncate(root / "train" / "n02" / "3.JPEG")
    (root / "train" / "n03" / "5.JPEG").write_text("<html>")
    return root


def test_imagenet_s_layout_and_a_large_network(photographs, tmp_path):
    arguments = "--network resnet50 --size 65 --steps 2 --batch-size 6 --width 4 --head-width 8"
    for name in ("plain", "consistent"):
        out = tmp_path / name
        call("pretrain", out, "--data", photographs, "--arm", name, *arguments.split(),
             "--workers", 1, "--set", "queue_size=16", "--set", "temperature=0.5")  # fmt: skip
        assert read_made_by(out)["options"] == {"queue_size": 16, "temperature": 0.5}
        assert read_made_by(out)["images"] == 24
    files = ["--out", tmp_path / "t.csv", "--plot", tmp_path / "space.png"]
    shown = evaluated("probe", tmp_path / "plain", tmp_path / "consistent", *files)
    assert "24 images" in shown.stderr and "9 to test" in shown.stderr
    table = pd.read_csv(tmp_path / "t.csv")
    assert table.groupby("backbone", sort=False).size().tolist() == [2, 4]
    assert (tmp_path / "space.png").stat().st_size > 0


@pytest.mark.parametrize("method", ["reconstruction", "sie"])
def test_unreadable_photographs_are_refused_or_skipped(method, damaged, tmp_path):
    # Every image is asked for: a batch of all that there are.
    arguments = ["pretrain", tmp_path / "net", "--data", damaged, "--method", method]
    arguments += [*PLAIN, "--batch-size", 24, "--size", 17]
    message = complaint(*arguments)
    assert re.search(r"(n02/3|n03/5)\.JPEG' cannot be read", message)
    assert not (tmp_path / "net").exists()
    said = warned(*arguments, "--on-error", "skip")
    assert "1 of 24 image files" in said and "n03/5.JPEG" in said and "n02/3.JPEG" in said
    made_by = read_made_by(tmp_path / "net")
    assert made_by["images"] == 23 and made_by["finished"] is True
    assert all(x.isfinite().all() for x in load_backbone(tmp_path / "net").state_dict().values())


def test_a_worker_s_complaint_is_one_line(damaged, tmp_path):
    arguments = ["--data", damaged, "--method", "sie", *PLAIN, "--batch-size", 24, "--size", 17]
    message = complaint("pretrain", tmp_path / "net", *arguments, "--workers", 1)
    assert message.startswith("error: '") and "cannot be read" in message
    assert "Caught" not in message and "DataLoader" not in message and 'on_error="skip"' in message


@pytest.mark.parametrize("broken", ["val/n01/1.JPEG", "train/n02/2.JPEG"])
@pytest.mark.parametrize("verb", ["probe", "transformations"])
def test_what_is_evaluated_may_be_unreadable_too(verb, broken, photographs, halved, tmp_path):
    root = shutil.copytree(photographs, tmp_path / "damaged")
    truncate(root / broken)
    arguments = ["evaluate", halved, "--task", verb, "--data", root, "--size", 17]
    arguments += ["--transformation", "rot"] if verb == "transformations" else []
    assert broken in complaint(*arguments)
    assert "warning: " in (said := warned(*arguments, "--on-error", "skip"))
    assert broken in said


def test_parts_of_a_folder(photographs, saved):
    where = ["--data", photographs, "--size", 33]
    assert "9 images" in evaluated("probe", saved, *where, "--split", "val").stderr
    both = evaluated(
        "probe", saved, "--data", photographs / "train", "--test-split", ".", "--size", 33
    )
    assert "24 images" in both.stderr and "24 to test" in both.stderr
    other = ["--test", photographs / "train", "--test-split", "."]
    assert "24 to test" in evaluated("probe", saved, *where, *other).stderr
    assert "n01" in refused("probe", saved, *where, "--split", "n01")
    assert "neither val nor test" in refused("probe", saved, "--data", photographs / "train")
    assert "no folder" in refused("probe", saved, *where, "--test-split", "valid")


@pytest.mark.parametrize("pairs", ["augmented", "posed"])
def test_3diebench(pairs, models, tmp_path):
    data, net = f"threedie:{models}", tmp_path / "net"
    images = 120 if pairs == "posed" else 60
    arguments = ["--data", data, "--method", "reconstruction", "--pairs", pairs, "--size", 17]
    call("pretrain", net, *arguments, *PLAIN, "--split", "all", "--images", images)
    made_by = read_made_by(net)
    assert made_by["data"] == data and made_by["pairs"] == pairs
    assert made_by["images"] == (100 if pairs == "posed" else 60), "two objects of fifty views"


def test_3diebench_is_evaluated(models, halved, tmp_path):
    where = ["--data", f"threedie:{models}", "--size", 9]
    shown = evaluated("retrieval", halved, *where, "--out", tmp_path / "r.csv")
    assert "2 objects of 50 views" in shown.stderr
    table = pd.read_csv(tmp_path / "r.csv")
    assert set(table.queries) == {100} and set(table.candidates) == {99}
    shown = evaluated("poses", halved, *where, "--images", 50, "--out", tmp_path / "p.csv")
    assert "50 views to train on, 100 to test" in shown.stderr
    assert set(pd.read_csv(tmp_path / "p.csv").inputs) == {16, 4, 12}
    every = evaluated("retrieval", halved, *where, "--split", "all", "--images", 180)
    assert "3 objects of 50 views" in every.stderr
    assert "49 images are not one object" in refused("retrieval", halved, *where, "--images", 49)


def test_views_that_cannot_be_read(models, halved, tmp_path):
    root = shutil.copytree(models, tmp_path / "damaged")
    truncate(root / "03001627" / "ddd" / "image_7.jpg")
    arguments = [
        "evaluate",
        halved,
        "--task",
        "retrieval",
        "--data",
        f"threedie:{root}",
        "--size",
        9,
    ]
    assert "ddd/image_7.jpg" in complaint(*arguments)
    assert "image_7.jpg" in warned(*arguments, "--on-error", "skip")
    for split in ("train", "val"):
        (root / f"{split}_images.npy").unlink()
    message = complaint(*arguments)
    assert "val_images.npy" in message and "'all'" in message
    assert "val" in complaint(*arguments, "--split", "test")


def test_some_objects_are_taken_whole(models):
    name = f"threedie:{models}"
    whole, some = (open_posed(name, 9, "all", images=images) for images in (None, 170))
    assert (whole.n_objects, some.n_objects, len(some)) == (4, 3, 150)
    own = [int(number) for number in some.numbers[::50] // 50]
    assert len(set(own)) == 3 and own != [0, 1, 2], "drawn"
    assert torch.equal(some.labels[::50], whole.labels[::50][own])
    for row, number in ((0, 50 * own[0]), (123, 50 * own[2] + 23)):
        assert torch.equal(some[row][0], whole[number][0])
        shown, meant = some.parameters([row]), whole.parameters([number])
        assert shown.keys() == meant.keys() and int(shown.pop("object")) == row // 50
        assert all(torch.equal(value, meant[key]) for key, value in shown.items())
    again = open_posed(name, 9, "all", images=170)
    assert torch.equal(again.numbers, some.numbers), "always the same"
    pairs = some.pairs(range(150), torch.Generator().manual_seed(0))
    assert torch.equal(pairs.numbers[0] // 50, pairs.numbers[1] // 50)


def test_ade20k(scenes, halved, saved, tmp_path):
    where = ["--data", f"ade20k:{scenes}"]
    shown = evaluated(
        "segmentation", halved, *where, "--out", tmp_path / "m.csv", "--plot", tmp_path / "m.png"
    )
    assert "6 images to train on, 3 to test on" in shown.stderr
    table = pd.read_csv(tmp_path / "m.csv")
    assert set(table.features) == {"all", "invariant half", "equivariant half"}
    for _, rows in table.groupby("features"):
        iou = rows[rows["class"].notna()].set_index("class").score
        assert len(iou) == 151 and np.isnan(iou["unlabelled"])
        mean = rows[rows.metric == "mIoU"].score.item()
        assert mean == pytest.approx(np.nanmean(iou)) and f"{mean:.4f}" in shown.stdout
    assert (tmp_path / "m.png").stat().st_size > 0
    assert "4 images to train" in evaluated("segmentation", halved, *where, "--images", 4).stderr
    assert "ade20k:ROOT" in refused("segmentation", halved, "--data", "ade20k")
    assert "shapes, or ade20k:ROOT" in refused("segmentation", halved, "--data", "objects")
    assert "none of training, validation" in refused(
        "segmentation", halved, *where, "--split", "val"
    )
    root = shutil.copytree(scenes, tmp_path / "damaged")
    truncate(root / "annotations" / "training" / "ADE_2.png")
    arguments = ["evaluate", saved, "--task", "segmentation", "--data", f"ade20k:{root}"]
    assert "ADE_2.png" in complaint(*arguments)
    assert "ADE_2.png" in warned(*arguments, "--on-error", "skip")


def test_some_scenes_keep_their_masks(scenes):
    whole, some = (open_masks(f"ade20k:{scenes}", 9, images=images) for images in (None, 4))
    assert (len(whole), len(some)) == (6, 4)
    pairs = [tuple(bytes(part.numpy()) for part in whole[number]) for number in range(6)]
    for number in range(4):
        assert tuple(bytes(part.numpy()) for part in some[number]) in pairs


def test_cifar_is_resized(shared_data, monkeypatch):
    if not (shared_data / "cifar10").is_dir():
        pytest.skip("CIFAR-10 is not there")
    monkeypatch.setenv("HIERFORECAST_DATA", str(shared_data))
    images = open_set("cifar10:lossless", 33, test=True)
    assert len(images) == 1017 and images[0][0].shape == (3, 33, 33)
    assert len(open_set("cifar10:lossless", 33, "train")) == 5085


def test_what_is_rendered_is_evaluated_on_another_seed():
    for name, counts in (("shapes", (48, 24)), ("objects", (48, 24)), ("objects:45", (48, 24))):
        train, test = open_set(name, 9), open_set(name, 9, test=True)
        assert (len(train), len(test)) == counts
        assert not torch.equal(train[0][0], test[0][0])
        assert len(open_set(name, 9, images=10)) == 10
    within = open_posed("objects:45", 9)
    assert (within.n_objects, within.views) == (12, 4)
    halves = within.parameters(range(48))["quaternion"][:, 0]  # cosines of half the angles
    anyhow = open_posed("objects", 9).parameters(range(48))["quaternion"][:, 0]
    assert halves.min() > np.cos(np.deg2rad(22.6)) > anyhow.min()
    assert len(open_posed("objects", 9, images=11)) == 8, "whole objects"


def test_some_images_are_drawn_from_all_classes(photographs):
    found = open_set(str(photographs), 9, images=12)
    assert len(found) == 12 and len(found.labels.unique()) == 3
    assert torch.equal(found.labels, open_set(str(photographs), 9, images=12).labels)
    assert len(open_set(str(photographs), 9, images=99)) == 24


def test_a_set_that_a_new_file_registers_is_opened_by_its_name(monkeypatch):
    monkeypatch.setattr(_registry, "SOURCES", {})
    made = ArrayImages(torch.zeros(9, 3, 4, 4, dtype=torch.uint8), range(9), "abcdefghi")
    _registry.register("mine:ROOT", openers={ImageSet: lambda request: made.resized(request.size)})
    monkeypatch.setattr(named, "SOURCES", _registry.SOURCES)
    found = open_set("mine:anywhere", 6, images=5)
    assert len(found) == 5 and found[0][0].shape == (3, 6, 6)
    assert named._names(ImageSet, "a folder") == "mine:ROOT, or a folder"
    with pytest.raises(DataError, match="no set of known poses"):
        open_posed("mine:anywhere", 6)
