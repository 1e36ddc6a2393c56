"""Saved backbones: bit for bit, all or nothing, and no code from the file."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.nn import EVEN, ResNet, Sampling, resnet18, resnet50, small_resnet
from hierforecast.image_ssl.storage import (
    OPTIONS,
    check_folder,
    load_backbone,
    read_made_by,
    save_backbone,
)
from hierforecast.io.folders import OLD_WEIGHTS

NETWORKS = {
    "small C4": (lambda: small_resnet("C4", 3, image_size=33), 33),
    "plain": (lambda: small_resnet("C1", 3), 30),
    "D4, even, float64": (lambda: resnet18("D4", 1, halving=EVEN).double(), 64),
    "bottleneck": (lambda: resnet50("C2", 2, image_size=65, match="compute"), 65),
    "resized, own stem": (
        lambda: ResNet("D1", (1, 2), 2, stem=(Sampling(5, 2, 2),), image_size=30, resize=True),
        30,
    ),
}


def shaken(net):
    """A network none of whose weights and statistics are those it was built with."""
    for tensor in [*net.parameters(), *net.buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + 0.1
    return net


@pytest.fixture
def saved(tmp_path):
    save_backbone(shaken(small_resnet("C4", 2)), tmp_path / "net")
    return tmp_path / "net"


def change(folder, **entries):
    document = json.loads((folder / OPTIONS).read_text())
    (folder / OPTIONS).write_text(json.dumps({**document, **entries}))


@pytest.mark.parametrize("case", NETWORKS)
def test_options_build_the_same_layers(case):
    net = NETWORKS[case][0]()
    text = json.dumps(net.to_dict())
    again = ResNet.from_dict(json.loads(text))
    assert str(again) == str(net) and json.dumps(again.to_dict()) == text
    assert again.samplings == net.samplings
    assert (again.group, again.image_size, again.resize, again.channels) == (
        net.group, net.image_size, net.resize, net.channels,
    )  # fmt: skip
    net.to_dict()["stem"][0]["kernel"] = 99
    assert json.dumps(net.to_dict()) == text, "the options are not to be changed from outside"


@pytest.mark.parametrize("case", NETWORKS)
def test_a_loaded_network_is_the_saved_one_bit_for_bit(case, tmp_path):
    make, size = NETWORKS[case]
    net = shaken(make())
    save_backbone(net.train(), tmp_path / "net", {"method": "moco", "options": {"queue_size": 8}})
    assert net.training, "saving leaves it as it was"
    again = load_backbone(str(tmp_path / "net"))
    assert not any(module.training for module in again.modules())
    before, after = net.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for name, x in before.items():
        assert after[name].dtype == x.dtype and torch.equal(after[name], x), name
    images = torch.rand(2, 3, size, size, dtype=next(net.parameters()).dtype)
    with torch.no_grad():
        assert torch.equal(again(images), net.eval()(images))
    assert read_made_by(tmp_path / "net") == {"method": "moco", "options": {"queue_size": 8}}


def test_saving_replaces_an_older_save_and_nothing_else(saved, tmp_path):
    save_backbone(small_resnet("C1", 5), saved)
    assert load_backbone(saved).group.name == "C1" and read_made_by(saved) == {}
    (tmp_path / "thesis.tex").write_text("years")
    for place in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(DataError, match="something else than a saved backbone"):
            check_folder(place)
        with pytest.raises(DataError, match="something else than a saved backbone"):
            save_backbone(small_resnet(), place)
    with pytest.raises(TypeError):
        save_backbone(small_resnet("D4"), saved, {"optimizer": torch.optim.SGD})
    assert load_backbone(saved).group.name == "C1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "thesis.tex"]
    check_folder(saved)
    check_folder(tmp_path / "new")


def file_of(folder, which):
    (weights,) = folder.glob("weights*.safetensors")
    return folder / OPTIONS if which == "options" else weights


@pytest.mark.parametrize("which", ["options", "weights"])
def test_damaged_and_missing_files_are_named(which, saved):
    file = file_of(saved, which)
    content = file.read_bytes()
    for damage in (b"", content[: len(content) // 2], content[:20], b"\xff\xfe junk \x00"):
        file.write_bytes(damage)
        with pytest.raises(DataError, match=rf"{file}' is damaged .*: save the backbone again"):
            load_backbone(saved)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"holds no {file.name}"):
        load_backbone(saved)


def test_other_formats_classes_and_networks_are_named(saved):
    options = small_resnet("C4", 2).to_dict()
    change(saved, format=99)
    with pytest.raises(DataError, match="has format 99, this version reads 1 and 2"):
        load_backbone(saved)
    change(saved, format=2, **{"class": "os.system"})
    with pytest.raises(DataError, match=r"holds a 'os.system', which"):
        load_backbone(saved)
    change(saved, options={**options, "width": 3}, **{"class": "ResNet"})
    with pytest.raises(DataError, match="its key 'options' does not fit its SHA-256"):
        load_backbone(saved)
    with pytest.raises(DataError, match="its key 'options' does not fit its SHA-256"):
        read_made_by(saved)
    change(saved, options=options)
    assert load_backbone(saved).to_dict() == options
    change(saved, made_by={"steps": 10**6})
    with pytest.raises(DataError, match="its key 'made_by' does not fit its SHA-256"):
        load_backbone(saved)


@pytest.fixture
def unchecked(saved):
    """The same in the old format, which has no checksums."""
    file_of(saved, "weights").rename(saved / OLD_WEIGHTS)
    change(saved, format=1)
    return saved


@pytest.mark.parametrize(
    "other", [{"width": 3}, {"group": "D4"}, {"depths": [1, 1]}, {"bottleneck": True}], ids=str
)
def test_options_of_another_network_are_named(other, unchecked):
    change(unchecked, options={**small_resnet("C4", 2).to_dict(), **other})
    with pytest.raises(DataError, match="other weights than its key 'options' would"):
        load_backbone(unchecked)


@pytest.mark.parametrize(
    "bad",
    [
        {"group": "C5"},
        {"stem": [{"kernel": 3, "size": 1}]},
        {"halving": {}},
        {"width": "many"},
        {"colour": "red"},
        {"image_size": 32},
        {"width": 10**9},
        {"width": 10**5},
        {"depths": [1, 10**7, 1]},
        {"depths": [1] * 1000},
        {"stem": [{"kernel": 10**6, "stride": 1, "padding": 1}]},
    ],
    ids=lambda bad: str(bad)[:40],
)
def test_options_that_build_nothing_are_named(bad, unchecked):
    change(unchecked, options={**small_resnet("C4", 2).to_dict(), **bad})
    with pytest.raises(DataError, match=r"backbone.json' cannot be built by its key 'options'"):
        load_backbone(unchecked)


@pytest.mark.parametrize("dtype", ["float99", "save", "int8", None])
def test_a_dtype_that_is_none_is_named(dtype, saved):
    change(saved, dtype=dtype)
    with pytest.raises(DataError, match=r"backbone.json' has a key 'dtype' that cannot be used"):
        load_backbone(saved)


class Trap:
    """A pickle that does something when it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize("which", ["options", "weights"])
def test_loading_runs_no_code(which, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = file_of(saved, which)
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="damaged"):
        load_backbone(saved)
    torch.save({"x": Trap()}, file)
    with pytest.raises(DataError, match="damaged"):
        load_backbone(saved)
    assert not Path("trapped").exists()
