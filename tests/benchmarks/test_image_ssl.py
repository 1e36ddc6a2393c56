"""The tables of image SSL: runs are kept, arms are what they are called, ratios are of equals."""

from __future__ import annotations

from functools import cache, partial

import pandas as pd
import pytest
import torch

from benchmarks import _split, image_ssl, image_ssl_speed, image_ssl_split
from benchmarks.experiment import Options, tidy
from hierforecast.image_ssl.data import RenderedObjects, RenderedShapes, ShapeMasks
from hierforecast.image_ssl.evaluation import MLPProbe, RidgeProbe, SegmentedImages
from hierforecast.image_ssl.methods import ARMS


def test_every_method_and_arm_gives_a_row(tmp_path, monkeypatch):
    def few(name: str, size: int = image_ssl.SIZE) -> image_ssl.Sets:
        return image_ssl.Sets(*(RenderedShapes(48, seed, size).in_memory() for seed in (0, 1)))

    monkeypatch.setattr(image_ssl, "load", few)
    one = image_ssl.EXPERIMENTS["image-ssl"]
    given = one.given(tmp_path, seeds=(0,), effort=0.001, width=4, batch_size=16)
    scores = tidy(one.run(given, ["random-*", "jigsaw-*", "moco-*"]))
    assert len(scores) == (3 + 3 + 2) * 2 * 2 and scores["score"].between(0, 1).all()
    assert (tmp_path / "moco-plain-0.csv").exists()
    tables = {section.key: section.table for section in one.sections(one.found(given), given)}
    table = tables["image-ssl-shapes-linear-probe"]
    assert table.loc["moco"].iloc[-1] == "63.8 / 65.7 / 65.0"
    assert table.loc["random"].iloc[-1] == "-"


def test_arms_have_the_same_number_of_weights_and_the_groups_of_their_names():
    sizes = {}
    for name in ARMS:
        network = image_ssl.network(name, "C4", 16, "parameters")
        assert network.group.name == ("C1" if name == "plain" else "C4")
        sizes[name] = sum(p.numel() for p in network.parameters())
    assert max(sizes.values()) < 1.02 * min(sizes.values())


def test_layers_compared_do_the_same_arithmetic():
    for group in image_ssl_speed.GROUPS:
        layers = image_ssl_speed.pair(group, 16)
        bank = layers["group"].filters()
        assert bank.shape == layers["plain"].weight.shape
        x = torch.randn(2, 16, 7, 7)
        shaped = x.unflatten(1, (-1, layers["group"].group.order))
        layers["plain"].weight.data = bank.detach()
        torch.testing.assert_close(layers["group"](shaped).flatten(1, 2), layers["plain"](x))


def test_the_speed_table_at_tiny_sizes():
    table = image_ssl_speed.costs(1, ((1, 8, 5),))
    assert table.shape == (1, 4) and (table.astype(float) > 0).all(axis=None)


@pytest.fixture
def few_pictures(monkeypatch) -> None:
    """Tiny sets, and probes that learn for an epoch."""

    def few(name: str) -> _split.Sets:
        return _split.Sets(*(RenderedObjects(24, 2, seed, 17).in_memory() for seed in (0, 1)))

    @cache
    def masks() -> tuple[SegmentedImages, ...]:
        shapes = (ShapeMasks(RenderedShapes(16, seed, 17)) for seed in (0, 1))
        return tuple(SegmentedImages.of(images) for images in shapes)

    monkeypatch.setattr(_split, "load", few)
    monkeypatch.setattr(_split, "segmented", masks)
    monkeypatch.setattr(_split, "SIZE", 17)
    monkeypatch.setattr(_split, "other_views", lambda: (few("").test, torch.arange(48) // 2))
    quick = partial(MLPProbe, max_epochs=1)
    monkeypatch.setattr(_split, "MLPProbe", quick)
    for name in ("probe_transformations", "probe_poses"):
        probes = {"linear": RidgeProbe, "MLP": quick}
        shortened = partial(getattr(_split, name), probes=probes)
        monkeypatch.setattr(_split, name, shortened)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("objects", ("random", "SIE (rotation)", "reconstruction", "reconstruction, C4")),
        ("poses", ("SIE (pose)", "supervised")),
    ],
)
def test_every_probe_of_split_features_gives_rows(data, names, few_pictures, tmp_path, monkeypatch):
    one = image_ssl_split.EXPERIMENTS["image-ssl-split"]
    small = {"steps": 1, "batch_size": 8, "learning_rate": 1e-3, "width": 4, "device": "cpu"}
    given = one.given(tmp_path, data=data, seeds=(0,), **small)
    found, order = one.run(given, names), one.names(given)
    scores = tidy(found)
    table, parts = (f(scores, order) for f in (image_ssl_split.summary, image_ssl_split.halves))
    assert list(table.index) == sorted(names, key=order.index) and (table != "-").all(axis=None)
    shown = "rotation, MLP" if data == "objects" else "light hue, MLP"
    assert shown in table and ("flip, linear" in table) == (data == "objects")
    assert set(parts.index) == {name for name in names if "SIE" in name or "reconstr" in name}
    monkeypatch.setattr(image_ssl_split, "load", _split.load)
    assert len(list(one.sections(found, given))) == 3
    # A network that was trained is evaluated again without training.
    monkeypatch.setattr(_split, "train", None)
    again, old = one.measure(names[-1], given), found[names[-1], 0]
    pd.testing.assert_frame_equal(again.astype(old.dtypes), old, check_dtype=False, check_like=True)


def test_halves_are_all_of_the_features():
    for arm in (_split.ARMS["reconstruction"], _split.ARMS["reconstruction, C4"]):
        arm = arm.with_defaults(Options(weight=1.0, split=0.25))
        backbone = _split.network(arm.group, 8)
        x = torch.randn(5, backbone.channels, backbone.group.order)
        parts = [pool(x) for pool in _split.halves(arm, backbone).values()]
        if arm.group == "C1":
            assert parts[0].shape[1] == backbone.channels // 4
            torch.testing.assert_close(torch.cat(parts, 1), x.flatten(1))
        else:
            torch.testing.assert_close(parts[1].view_as(x) + parts[0][:, :, None], x)


def test_published_rows_stand_beside_ours():
    columns = [f"{name}, MLP" for name in ("rotation", "colour", "blur", "translation")]
    ours = pd.DataFrame("0.5", index=["VICReg", "reconstruction"], columns=columns)
    beside = image_ssl_split.beside_published(ours).iloc[:, 4:]
    assert beside.loc["VICReg"].tolist() == ["-", "-"]
    assert beside.loc["reconstruction"].tolist() == [
        "0.826 / 0.906 / 0.972 / 0.890", "0.815 / 0.879 / 0.944 / 0.878",
    ]  # fmt: skip
