"""The speed benchmarks run at tiny sizes, and the kernels that they compare agree."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from benchmarks import _speed_blocks, _speed_fitting, _speed_kernels, timing
from hierforecast.nn.attention import MATMUL_SETS, PRODUCT_SETS, attend, by_matmuls, by_products


def numbers(table: pd.DataFrame) -> list[float]:
    cells = table.replace("-", pd.NA).stack().dropna()
    return [float(x.strip("% ")) for cell in cells for x in cell.split("/")]


@pytest.mark.parametrize("size", [1, 2, 5, 11, 30])
@pytest.mark.parametrize("masked", [False, True])
def test_kernels_for_small_sets_are_the_fused_one_forward_and_backward(size, masked):
    n, batch, width = 3, 4, 6
    # Laid out as tokens are: members before heads.
    sides = [torch.randn(n, size, batch, width).double().transpose(1, 2) for _ in range(3)]
    mask = torch.rand(n, batch, 1, size) < 0.5 if masked else None
    if mask is not None:
        mask[..., 0] = True
    found = {}
    for kernel in (F.scaled_dot_product_attention, by_matmuls, by_products):
        leaves = [side.clone().requires_grad_() for side in sides]
        seen = kernel(*leaves, mask) if masked else kernel(*leaves)
        found[kernel] = (seen, *torch.autograd.grad(seen.sin().sum(), leaves))
    for kernel in (by_matmuls, by_products):
        wanted = found[F.scaled_dot_product_attention]
        torch.testing.assert_close(found[kernel], wanted, rtol=1e-12, atol=1e-12)


def test_one_key_mask_for_all_heads_serves_every_kernel():
    for size in (PRODUCT_SETS, MATMUL_SETS, MATMUL_SETS + 1):
        sides = [torch.randn(2, 3, size, 4).double() for _ in range(3)]
        present = torch.rand(2, 1, 1, size) < 0.5
        each = attend(*sides, present.expand(2, 3, 1, size))
        torch.testing.assert_close(attend(*sides, present), each, rtol=1e-12, atol=1e-12)


def test_ratios_are_medians_within_rounds():
    timings = timing.Timings({"a": [1.0, 30.0, 3.0], "b": [2.0, 10.0, 3.0]})
    assert timings.ratio("a", "b") == 1.0 and timings.median("a") == 3.0
    calls: list[str] = []
    arms = {name: lambda name=name: calls.append(name) for name in "ab"}
    found = timing.interleave(arms, rounds=2)
    assert calls == list("ababab") and all(len(found.seconds[name]) == 2 for name in "ab")


def test_no_further_round_begins_once_patience_is_over():
    times = iter(range(100))
    arms = {name: lambda: None for name in "ab"}
    for patience, kept in ((14, 2), (9, 1), (0, 1)):  # a round and its look at the clock: 5
        found = timing.interleave(arms, 50, patience, clock=lambda: next(times))
        assert [found.seconds[name] for name in "ab"] == [[1] * kept] * 2


def test_attention_tables_at_tiny_sizes():
    assert all(x > 0 for x in numbers(_speed_kernels.attention(1, sizes=(1, 2, 30), times=1)))
    assert all(x > 0 for x in numbers(_speed_kernels.small(1, tokens=64, steps=2)))


def test_operations_are_counted_as_torch_counts_them():
    flop_counter = pytest.importorskip("torch.utils.flop_counter")
    hierarchy, steps = _speed_blocks.grouped((30, 40), scenes=2), 26  # for matrix products only
    width = 64
    x = torch.randn(len(hierarchy.group), steps, width)
    with flop_counter.FlopCounterMode(display=False) as counter, torch.no_grad():
        _speed_blocks.SA3Block(width, heads=4)(x, hierarchy)
    counted = sum(v for k, v in counter.get_flop_counts()["Global"].items() if "addmm" in str(k))
    counted += counter.get_flop_counts()["Global"].get(torch.ops.aten.mm, 0)
    pairs = 4.0 * width * steps * (2 * (30**2 + 40**2) + 2 * 2**2 + 140 * steps)
    assert _speed_blocks.operations(hierarchy, steps, width) == counted + pairs


def test_fit_and_predict_tables_at_tiny_sizes(monkeypatch):
    monkeypatch.setattr(_speed_fitting, "SCENES_PER_BATCH", 2)
    fit = _speed_fitting.fit(2, widths=(8,), steps=1, scenes=3)
    assert list(fit.index) == ["width 8, progress bar off", "width 8, progress bar on"]
    assert all(0 < x < 200 for x in numbers(fit))
    assert all(0 < x < 200 for x in numbers(_speed_fitting.predict(1, widths=(8,), scenes=3)))
