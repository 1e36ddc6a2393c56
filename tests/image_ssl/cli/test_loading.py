"""Networks as the commands load them: their kinds of features, their halves, their names."""

from __future__ import annotations

import pytest
import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.cli.task import load_all
from hierforecast.image_ssl.nn import small_resnet
from hierforecast.image_ssl.storage import save_backbone


def loaded(path, group="C4", **made_by):
    save_backbone(small_resnet(group, 2), path / "net", made_by)
    (one,) = load_all([path / "net"]).values()
    return one


def test_kinds_of_networks_without_halves(tmp_path):
    x, maps = torch.randn(3, 8, 4), torch.randn(3, 8, 4, 2, 2)
    plain = loaded(tmp_path, "C1", data="shapes", method="vicreg", options={})
    assert list(plain.kinds) == ["all"] and plain.data == "shapes"
    assert torch.equal(plain.kinds["all"](x[..., :1]), x[:, :, 0])
    turning = loaded(tmp_path, method="moco")
    assert list(turning.kinds) == ["invariant", "equivariant"] and turning.data is None
    assert torch.equal(turning.kinds["invariant"](x), x.mean(2))
    assert torch.equal(turning.kinds["equivariant"](x), x.reshape(3, 32))
    assert torch.equal(turning.kinds["invariant"](maps), maps.mean(2))
    assert torch.equal(turning.kinds["equivariant"](maps), maps.reshape(3, 32, 2, 2))


@pytest.mark.parametrize("options", [{}, {"split": 0.5}, {"split": 0.25}])
@pytest.mark.parametrize("method", ["reconstruction", "sie"])
def test_halves_by_channels(method, options, tmp_path):
    cut = 2 if options.get("split") == 0.25 else 4
    x, maps = torch.randn(3, 8, 4), torch.randn(3, 8, 4, 2, 2)
    one = loaded(tmp_path, method=method, options=options)
    assert list(one.kinds) == ["invariant", "equivariant", "invariant half", "equivariant half"]
    # A head of the group's makes the mean over the group invariant.
    assert torch.equal(one.kinds["invariant half"](x), x[:, :cut].mean(2))
    assert torch.equal(one.kinds["equivariant half"](x), x[:, cut:].flatten(1))
    invariant, equivariant = (one.kinds[f"{name} half"] for name in ("invariant", "equivariant"))
    assert torch.equal(invariant(maps), maps[:, :cut].mean(2))
    assert torch.equal(equivariant(maps), maps[:, cut:].flatten(1, 2))


def test_halves_by_the_group(tmp_path):
    x = torch.randn(3, 8, 4)
    one = loaded(tmp_path, method="sie", options={"split": "group"})
    mean = x.mean(2, keepdim=True)
    assert torch.equal(one.kinds["invariant half"](x), mean[..., 0])
    assert torch.equal(one.kinds["equivariant half"](x), (x - mean).flatten(1))


@pytest.mark.parametrize("options", [{"split": "thirds"}, {"split": 2}, {"split": None}, ["split"]])
def test_a_split_that_is_unknown(options, tmp_path):
    with pytest.raises(DataError, match="net was trained by no split that is known"):
        loaded(tmp_path, method="sie", options=options)


def test_what_others_say_of_a_network_does_no_harm(tmp_path):
    for made_by in ({}, {"method": ["sie"]}, {"method": "mine", "options": 3}, {"data": 5}):
        one = loaded(tmp_path, **made_by)
        assert len(one.kinds) == 2 and one.data is None


def test_names_are_short_and_differ(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a/net", "b/net", "b/other")]
    for path in paths:
        save_backbone(small_resnet(), path)
    monkeypatch.chdir(tmp_path)
    assert list(load_all(paths)) == [str(paths[0]), str(paths[1]), "other"]
    monkeypatch.chdir(paths[2])
    assert list(load_all([paths[2].relative_to(paths[2])])) == ["other"]
