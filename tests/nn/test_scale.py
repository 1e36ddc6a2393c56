"""Scales: units from the context's present cells alone, one row at a time, and back again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hierforecast.batch import SceneBatch
from hierforecast.nn.coordinates import CoordinateScale, MirroredScale
from hierforecast.nn.scale import ReturnsScale, SeriesScale, make_scale
from hierforecast.nn.scaled import fill_gaps
from hierforecast.testing import assert_equivariant
from tests.nn.scales import fitted, make_batch
from tests.rows import FLAT, TASK, make_content, moves_of, pack

SCALES = {
    "coordinates": CoordinateScale,
    "mirrored": MirroredScale,
    "returns": ReturnsScale,
    "series": SeriesScale,
}
BY_ROW = [name for name in SCALES if name != "mirrored"]  # which looks at the whole scene


class OnContent(nn.Module):
    """A scale, called with values and presence."""

    def __init__(self, scale: nn.Module, batch: SceneBatch) -> None:
        super().__init__()
        self.scale, self.batch = scale, batch

    def forward(self, values: torch.Tensor, present: torch.Tensor) -> list[torch.Tensor]:
        scaled = self.scale(replace(self.batch, values=values, present=present))
        return [scaled.relative, scaled.absolute, scaled.loc, scaled.scale]


def test_fill_gaps_row_by_row():
    batch = make_batch()
    filled, last = fill_gaps(batch.values, batch.present)
    for row, (values, present) in enumerate(zip(batch.values, batch.present, strict=True)):
        seen = present.nonzero()[:, 0].numpy()
        for target in range(2):
            line = np.interp(np.arange(len(present)), seen, values[seen, target])
            np.testing.assert_allclose(filled[row, :, target], line, rtol=1e-12)
        assert torch.equal(filled[row][present], values[present])
        assert torch.equal(last[row, 0], values[seen[-1]])


def test_fill_gaps_of_rows_never_observed_is_zero():
    values = torch.full((2, 3, 1), torch.nan)
    values[0, 1] = 5
    present = torch.tensor([[False, True, False], [False] * 3])
    filled, last = fill_gaps(values, present)
    assert filled[..., 0].tolist() == [[5, 5, 5], [0, 0, 0]]
    assert last.flatten().tolist() == [5, 0]


@pytest.mark.parametrize("name", SCALES)
def test_there_and_back(name):
    batch = make_batch()
    scaled = fitted(name, batch)(batch)
    back = scaled.loc + scaled.scale * scaled.relative
    torch.testing.assert_close(back[batch.present], batch.values[batch.present], rtol=0, atol=1e-12)
    assert scaled.loc.shape == scaled.scale.shape
    assert (scaled.scale != 0).all() and ((scaled.scale > 0).all() or name == "mirrored")


@pytest.mark.parametrize("name", ["coordinates", "series"])
def test_what_the_units_mean(name):
    batch = make_batch()
    scale = fitted(name, batch)
    scaled, seen = scale(batch), batch.present
    if name == "series":
        for row in range(len(seen)):
            cells = batch.values[row, seen[row]]
            torch.testing.assert_close(scaled.loc[row, 0], cells.mean(0))
            spread = cells.std(0, correction=0)
            unit = torch.where(spread > 0, spread, scale.usual)
            torch.testing.assert_close(scaled.scale[row, 0], unit)
        assert scaled.absolute.shape == (len(seen), TASK.context_length, 0)
    else:
        cells = batch.values[seen]
        torch.testing.assert_close(scaled.scale[3, 0], cells.std(0, correction=0))
        wanted = (cells - cells.mean(0)) / cells.std(0, correction=0)
        torch.testing.assert_close(scaled.absolute[seen], wanted)
        last = torch.stack([v[p][-1] for v, p in zip(batch.values, seen, strict=True)])
        torch.testing.assert_close(scaled.loc[:, 0], last)


def test_the_unit_of_returns_is_their_recent_size():
    batch = make_batch()
    scale = fitted("returns", batch)
    assert isinstance(scale, ReturnsScale)
    scaled, usual = scale(batch), batch.values[batch.present].square().mean(0)
    torch.testing.assert_close(scale.usual.square(), usual)
    assert torch.equal(scaled.loc, torch.zeros_like(scaled.loc))
    for row, (values, present) in enumerate(zip(batch.values, batch.present, strict=True)):
        for step in range(len(present)):
            weight = 0.94 ** np.arange(step, -1, -1.0) * present[: step + 1].numpy()
            square = (weight[:, None] * values[: step + 1].square().numpy()).sum(0)
            size = np.sqrt((square + 3 * usual.numpy()) / (weight.sum() + 3))
            found = scaled.scale[row, 0] * scaled.absolute[row, step].exp()
            np.testing.assert_allclose(found, size, rtol=1e-12)
        assert torch.equal(scaled.relative[row][~present], torch.zeros(sum(~present), 2).double())
    assert torch.equal(scaled.absolute[:, -1], torch.zeros_like(scaled.absolute[:, -1]))


def test_the_unit_of_returns_follows_what_is_recent():
    """Of two series with the same cells in another order the one that ends wild has more unit."""
    values = torch.tensor([0.1, -0.1, 0.1, -0.1, 4, -4, 4, -4]).double()[None, :, None]
    batch = make_batch(missing=0.0)
    both = torch.cat([values, values.flip(1)]).expand(2, -1, 1)
    calm = replace(batch, values=both, present=torch.ones(2, 8, dtype=torch.bool))
    scale = make_scale("returns", 1).double()
    late, early = scale(calm).scale[:, 0, 0].tolist()
    assert late > 1.1 * early
    one = replace(calm, values=both[:, -1:] * 0, present=calm.present[:, :1])
    assert scale(one).scale.flatten().tolist() == pytest.approx([0.75**0.5] * 2)


@pytest.mark.parametrize("name", BY_ROW)
def test_rows_are_scaled_on_their_own(name):
    batch = make_batch()
    scale = fitted(name, batch)
    module, inputs = OnContent(scale, batch), (batch.values, batch.present)
    for perm in moves_of(FLAT, seeds=1):
        assert_equivariant(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023
    changed = batch.values.clone()
    changed[0] = 1000
    before, after = module(*inputs), module(changed, batch.present)
    for one, two in zip(before, after, strict=True):
        assert torch.equal(one[1:], two[1:])


@pytest.mark.parametrize("name", SCALES)
def test_junk_in_missing_cells_changes_exactly_nothing(name):
    batch = make_batch()
    junk = torch.where(batch.present[..., None], batch.values, torch.nan)
    scale, other = fitted(name, batch), fitted(name, replace(batch, values=junk))
    module = OnContent(scale, batch)
    for one, two in zip(
        module(batch.values, batch.present), module(junk, batch.present), strict=True
    ):
        assert torch.equal(one, two)
    for one, two in zip(scale.buffers(), other.buffers(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("value", [0.0, 7.0, -1e9])
def test_constant_and_empty_series_have_a_unit(name, value):
    batch = make_batch()
    present = batch.present.clone()
    present[2] = False
    flat = replace(batch, values=torch.full_like(batch.values, value), present=present)
    scale = fitted(name, flat)
    scaled = scale(flat)
    for x in (scaled.relative, scaled.absolute, scaled.loc, scaled.scale):
        assert x.isfinite().all()
    assert (scaled.scale != 0).all()
    nothing = replace(batch, present=torch.zeros_like(present))
    scale.fit(nothing)
    assert scale(nothing).relative.isfinite().all()


def test_names():
    assert isinstance(make_scale("auto", 1), SeriesScale)
    assert isinstance(make_scale("auto", 2), CoordinateScale)
    assert isinstance(make_scale("series", 2), SeriesScale)
    with pytest.raises(ValueError, match=r"scale='feet' is not one of \['auto', 'coordinates'"):
        make_scale("feet", 1)


def test_scales_keep_prices_apart_by_orders_of_magnitude():
    """A penny stock's forecast is no less precise beside one of a thousand dollars."""
    content = make_content(FLAT, TASK, missing=0.0)
    content["values"] *= torch.from_numpy(10.0 ** np.arange(-4, len(FLAT) - 4))[:, None, None]
    batch = pack(FLAT, content)
    relative = fitted("series", batch)(batch).relative
    assert (relative.std((1, 2), correction=0) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("name", SCALES)
def test_a_level_of_its_own_moves_what_is_absolute_and_nothing_else(name):
    batch = make_batch()
    scale, last = fitted(name, batch), fill_gaps(batch.values, batch.present)[1]
    if scale.origin == "zero":
        return
    values = torch.where(batch.present[..., None], batch.values - last, 0.0)
    moved = replace(batch, values=values, level=last)
    refitted = fitted(name, moved)
    for one, two in zip(scale.buffers(), refitted.buffers(), strict=True):
        torch.testing.assert_close(one, two)
    one, two = scale(batch), scale(moved)
    for field in ("relative", "absolute", "scale"):
        torch.testing.assert_close(getattr(one, field), getattr(two, field), rtol=0, atol=1e-10)
    torch.testing.assert_close(one.loc, two.loc + last, rtol=0, atol=1e-12)


def test_a_context_without_a_size_takes_the_median_one():
    batch = make_batch(missing=0.0)
    values, present = batch.values.clone(), batch.present.clone()
    values[2], values[5] = 7.0, 0.0  # constants
    present[3, :-1] = False  # a single cell
    idle = replace(batch, values=values, present=present)
    scale = fitted("series", idle)
    spread = values.std(1, correction=0)
    shown = torch.ones(len(values), dtype=torch.bool)
    shown[[2, 3, 5]] = False
    torch.testing.assert_close(scale.usual, spread[shown].median(0).values)
    scaled = scale(idle)
    assert (scaled.scale[[2, 3, 5], 0] == scale.usual).all()
    torch.testing.assert_close(scaled.scale[shown, 0], spread[shown])
    assert (scaled.relative[[2, 3, 5]] == 0).all()


@pytest.mark.parametrize("size", [1e-28, 1e28])
def test_spreads_whose_squares_do_not_fit_float32(size):
    batch = make_batch(missing=0.0).to(torch.float32)
    scale = make_scale("series", 2)
    wanted, found = scale(batch), scale(replace(batch, values=batch.values * size))
    torch.testing.assert_close(found.scale / size, wanted.scale)
    torch.testing.assert_close(found.relative, wanted.relative, rtol=1e-4, atol=1e-5)


def test_weights_saved_before_there_was_a_usual_size_keep_the_old_rule():
    """A hundredth of the level at least, and all of it for a single cell."""
    batch = make_batch(missing=0.0)
    values, present = batch.values.clone(), batch.present.clone()
    values[2], present[3, :-1] = 70.0, False
    scale = make_scale("series", 2).double()
    scale.load_state_dict({})
    found = scale(replace(batch, values=values, present=present)).scale[:, 0]
    torch.testing.assert_close(found[2], torch.tensor([0.7, 0.7]).double())
    torch.testing.assert_close(found[3], values[3, -1].abs())
    torch.testing.assert_close(found[4], values[4].std(0, correction=0))
