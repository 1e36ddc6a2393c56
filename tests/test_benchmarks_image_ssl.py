"""The tables of image SSL: runs are kept, arms are what they are called, ratios are of equals."""

from __future__ import annotations

import argparse

import pandas as pd
import pytest
import torch

from benchmarks import image_ssl, image_ssl_speed
from hierforecast.image_ssl.data import RenderedShapes
from hierforecast.image_ssl.methods import ARMS


@pytest.fixture
def given(tmp_path, monkeypatch) -> argparse.Namespace:
    """Options of a tiny table, on few pictures."""

    def few(name: str, size: int = image_ssl.SIZE) -> image_ssl.Sets:
        return image_ssl.Sets(*(RenderedShapes(48, seed, size).in_memory() for seed in (0, 1)))

    monkeypatch.setattr(image_ssl, "load", few)
    options = ["--folder", str(tmp_path), "--effort", "0.001", "--width", "4", "--batch-size", "16"]
    return image_ssl.parser().parse_args(options)


def test_every_method_and_arm_gives_a_row_and_is_not_run_again(given, monkeypatch):
    paths = [
        image_ssl.run(method, name, 0, given)
        for method in ("random", "jigsaw", "moco")
        for name in ARMS
    ]
    scores = pd.concat(map(pd.read_csv, paths))
    assert len(scores) == 3 * 3 * 2 * 2 and scores["score"].between(0, 1).all()
    monkeypatch.setattr(image_ssl, "evaluate", None)  # would be called
    assert image_ssl.run("moco", "plain", 0, given) == paths[6]
    table = image_ssl.summary(scores, "linear probe")
    assert table.loc["moco"].iloc[-1] == "63.8 / 65.7 / 65.0"
    assert table.loc["random"].iloc[-1] == "-"


def test_mean_and_spread_are_over_seeds():
    rows = [
        {"method": "moco", "arm": "plain", "features": "invariant", "classifier": "kNN"}
        | {"seed": seed, "score": score}
        for seed, score in enumerate((0.1, 0.2, 0.3))
    ]
    assert image_ssl.summary(pd.DataFrame(rows), "kNN").loc["moco", "plain"] == "0.200 ± 0.100"


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
