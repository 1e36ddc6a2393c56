"""The speed tables of whole blocks: rivals see the same tokens, and each arm does what it says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from benchmarks import (
    _speed_blocks,
    _speed_devices,
    _speed_fitting,
    _speed_joint,
    _speed_memory,
    _speed_parts,
    _speed_start,
)
from benchmarks._speed_blocks import CASES, FULL, RIVALS, TIME, Case
from hierforecast.nn.sa3 import SA3Block

TINY = Case((1, 3, 2), scenes=3, steps=4)
WIDTH, HEADS = _speed_blocks.WIDTH, _speed_blocks.HEADS


def numbers(table: pd.DataFrame) -> list[float]:
    cells = [str(cell).replace(",", "") for cell in table.to_numpy().ravel()]
    return [float(x.strip("% ")) for cell in cells for x in cell.split("/") if cell != "-"]


def plain(layer: nn.TransformerEncoderLayer, x: Tensor) -> Tensor:
    """The layer as it is defined, on rows of tokens x (b, s, d): every score written out."""
    attention, normed = layer.self_attn, layer.norm1(x)
    sides = (normed @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, -1)
    query, key, value = (side.unflatten(-1, (HEADS, -1)) for side in sides)
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / (WIDTH // HEADS) ** 0.5
    seen = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value).flatten(-2)
    x = x + attention.out_proj(seen)
    return x + layer.linear2(nn.functional.gelu(layer.linear1(layer.norm2(x))))


def test_packed_rows_come_back_by_scene_and_group():
    scene, group = TINY.labels
    order, _ = _speed_blocks.hierarchy_of(scene, group)
    label = torch.from_numpy(np.stack([scene, group[:, 0]], 1)[order])[:, None].float()
    found = TINY.by_scene(label)[:, :, 0]
    assert torch.equal(found[..., 0], torch.arange(3.0)[:, None].expand(3, 6))
    assert torch.equal(found[..., 1], torch.tensor([0.0, 1, 1, 1, 2, 2]).expand(3, 6))


def test_rivals_see_the_same_tokens():
    x = TINY.tokens()
    everything = x.flatten(0, 1)
    for name in (TIME, FULL):
        seen = RIVALS[name](TINY.by_scene(x))
        assert sorted(seen.flatten(0, 1)[:, 0].tolist()) == sorted(everything[:, 0].tolist())
    assert RIVALS[TIME](TINY.by_scene(x)).shape == (18, 4, WIDTH)
    assert RIVALS[FULL](TINY.by_scene(x)).shape == (3, 24, WIDTH)
    one = RIVALS["iTransformer-like: a token a series"](TINY.by_scene(x))
    assert one.shape == (3, 6, WIDTH)
    torch.testing.assert_close(one, TINY.by_scene(x).mean(2))


def test_full_attention_is_over_all_series_and_steps_of_a_scene_and_no_others():
    layer, x = _speed_blocks.transformer(), TINY.by_scene(TINY.tokens())
    found = layer(RIVALS[FULL](x))
    torch.testing.assert_close(found, plain(layer, x.flatten(1, 2)), rtol=1e-4, atol=1e-5)
    changed = x.clone()
    changed[0, 5, 3] += 1.0
    moved = (layer(RIVALS[FULL](changed)) - found).abs().amax(-1) > 1e-7
    assert moved[0].all() and not moved[1:].any()


def test_a_mask_gives_what_packed_rows_give():
    case = Case((1, 3, 2), scenes=1, steps=4)
    block, x = SA3Block(WIDTH, HEADS), case.tokens()
    with torch.no_grad():
        packed = block(x, case.hierarchy)
        block.series = _speed_memory.MaskedSeries(block, case.hierarchy.group)
        torch.testing.assert_close(block(x, case.hierarchy), packed)


def test_tables_of_blocks_at_tiny_sizes():
    table = _speed_blocks.rivals(1, {"tiny": TINY})
    assert list(table.columns) == list(RIVALS) and all(x > 0 for x in numbers(table))
    table = _speed_blocks.block(1, {"tiny": TINY}, [(16, 2), (16, 4)])
    assert list(table.index) == ["tiny, width 16, 2 heads of 8", "tiny, width 16, 4 heads of 4"]
    assert all(x >= 0 for x in numbers(table))
    table = _speed_blocks.growth(1, series=(4, 8, 16), size=2, full=8)
    assert set(table.loc["4 series"]) == {"1.00"}
    assert table.loc["16 series", "full, forward"] == "-" != table.loc["exponent", "full, forward"]
    assert all(x > 0 for x in numbers(_speed_blocks.missing(1, {"tiny": TINY})))


def test_uneven_groups_hold_all_series():
    sizes = _speed_blocks.uneven()
    assert sum(sizes) == 5000 and len(sizes) == 150 and min(sizes) >= 1
    assert len(set(sizes)) > 20 and max(sizes) > 5 * sorted(sizes)[75]
    assert sum(_speed_blocks.SECTORS) == 500
    assert all(sum(case.sizes) * case.scenes >= 184 for case in CASES.values())


def test_peak_memory_is_that_of_the_arm():
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    small, large = Case((8, 8), 1, 8), Case((400, 400), 1, 8)
    table = _speed_memory.memory({"large": large}, ["SA3"])
    kept = 800 * 8 * WIDTH * 4 / 1e6  # the tokens themselves, in MB
    assert 10 * kept < numbers(table)[0] < 200 * kept
    assert _speed_memory.measure("SA3", "forward", small) is not None


def test_devices_say_what_cannot_be_had(monkeypatch):
    monkeypatch.setattr(_speed_devices.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(_speed_devices, "_compiler", lambda: False)
    table = _speed_devices.devices(1, TINY)
    assert set(table.loc["GPU, float32"]) == {"no GPU here"}
    assert set(table.loc["CPU, float32, torch.compile"]) == {"no C++ compiler here"}
    assert table.loc["CPU, float32", "forward"] == "1"
    assert float(table.loc["CPU, bfloat16 by autocast", "forward + backward"]) > 0


def test_a_step_is_told_apart_into_all_its_parts(monkeypatch):
    monkeypatch.setattr(_speed_fitting, "SCENES_PER_BATCH", 2)
    table = _speed_fitting.step(2, width=8, patches=(20,), scenes=3)
    assert {"encoder", "likelihood, backward", "backward of the rest"} <= set(table.index)
    assert 90 <= sum(numbers(table)) <= 110


def test_every_head_is_asked():
    table = _speed_joint.joint(1, shrink=25)
    assert list(table.index) == list(_speed_joint.HEADS)
    assert min(numbers(table.iloc[:, 1:])) > 0


def test_every_part_is_run_at_its_size():
    table = _speed_parts.parts(1, shrink=25)
    assert list(table.index) == list(_speed_parts.PARTS)
    assert list(table["size"])[:3] == ["200 series", "10 images", "40 images"]
    assert all(x > 0 for x in numbers(table.drop(columns="size")))


def test_a_fit_is_timed_to_its_first_step(monkeypatch):
    monkeypatch.setattr(_speed_start, "LENGTHS", {"context_length": 24, "prediction_length": 6})
    frame = _speed_start.walks(1400)
    assert frame.groupby("unique_id").size().tolist() == [200] * _speed_start.SERIES
    table = _speed_start.start(1, rows=1400)
    assert list(table.index) == ["scale='series'", "scale='demand'"]
    assert all(x > 0 for x in numbers(table))


def test_beginnings_run_in_interpreters_of_their_own():
    table = _speed_start.imports(1)
    assert list(table.index) == list(_speed_start.BEGINNINGS)
    assert numbers(table)[0] == 1
    with pytest.raises(subprocess.CalledProcessError):
        _speed_start.run("import nothing_of_this_name")
