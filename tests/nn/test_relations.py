"""Relational attention against a plain second implementation, its symmetry, and its limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hierforecast import Columns, HiPerformer
from hierforecast.batch import SceneBatch
from hierforecast.errors import DataError
from hierforecast.nn.padding import ScenePadding, places_and_moves
from hierforecast.nn.relations import EDGE, Edges, Geometry, RelationalAttention, RelationalBlock
from hierforecast.nn.scale import make_scale
from hierforecast.nn.scaled import Scaled
from hierforecast.testing import assert_equivariant, randomize_
from tests.helpers import H, make_frame, tiny
from tests.rows import FLAT, NESTED, TASK, Rows, make_content, moves_of, pack, task_for

WIDTH, HEADS, STEPS, AHEAD = 12, 2, 3, 2
ALL = {"flat": FLAT, "nested": NESTED}


def gelu(x: Tensor) -> Tensor:
    return nn.functional.gelu(x)


def context(rows: Rows, content: dict[str, Tensor]) -> tuple[SceneBatch, Scaled, Tensor]:
    """A batch, scaled, and a path ahead that depends on each row's own content alone."""
    batch = pack(rows, content)
    scale = make_scale("coordinates", 2).double()
    scale.center.fill_(20.0)
    scale.scale.copy_(torch.tensor([2.0, 0.5]))
    scaled = scale(batch)
    drift = scaled.relative.mean(1, keepdim=True)
    return batch, scaled, drift * torch.arange(1, H + 1)[:, None]


def geometry(rows: Rows = FLAT) -> Geometry:
    found = randomize_(Geometry(task_for(rows), AHEAD).double(), scale=0.7)
    found.unit.fill_(1.7)
    found.speed.fill_(0.6)
    return found


# --- a plain second implementation: one pair at a time -------------------------------------------


def one_edge(geo: Geometry, batch: SceneBatch, ahead: Tensor, i: int, j: int) -> Tensor:
    """Features of the edge from row i to row j, from positions in the user's units."""
    place, moves = places_and_moves(batch)
    unit = torch.tensor([2.0, 0.5]).double()  # that the scale has
    middle, features = (H - 1) // 2, []
    paths = [torch.zeros_like(place), ahead[:, middle] * unit, ahead[:, -1] * unit]
    for path in paths:
        away = (place + path)[j] - (place + path)[i]
        away = away / geo.unit
        apart = away.norm()
        radial = [torch.exp(-apart / reach) for reach in (0.5, 1.0, 2.0, 4.0)]
        features += [*(away / (1 + apart)), torch.log(1 + apart), *radial]
    away, turn = (place[j] - place[i]) / geo.unit, (moves[j] - moves[i]) / geo.speed
    closing = away @ turn / (away.norm() + 0.1)
    features += [x / (1 + x.abs() / 5) for x in (*turn, turn.norm(), closing)]
    types, seen = batch.types, batch.present[:, -1]
    groups = [group[i] == group[j] for group in batch.hierarchy.groups]
    labels = [i == j, *groups, types[i] == types[j], seen[i], seen[j]]
    inputs = torch.stack([*features, *(torch.tensor(float(x)) for x in labels)])
    hidden = geo.read(inputs) + geo.types.weight[types[i] * 2 + types[j]]
    return gelu(geo.out(gelu(hidden)))


def slow(
    layer: RelationalAttention, x: Tensor, present: Tensor, edge: Any, scene: Tensor
) -> Tensor:
    """What each token hears, a key and a head at a time."""
    size, out = WIDTH // HEADS, torch.zeros_like(x)
    for i in range(len(x)):
        for t in range(x.shape[1]):
            keys = [j for j in range(len(x)) if scene[j] == scene[i] and present[j, t]]
            seen, passed = torch.zeros(WIDTH).double(), torch.zeros(HEADS, EDGE).double()
            for head in range(HEADS) if keys else ():
                part = slice(head * size, (head + 1) * size)
                q = layer.query(x[i, t])[part]
                scores = [
                    q @ layer.key(x[j, t])[part] / math.sqrt(size) + layer.lead(edge(i, j))[head]
                    for j in keys
                ]
                share = torch.stack(scores).softmax(0)
                seen[part] = sum(
                    s * layer.value(x[j, t])[part] for s, j in zip(share, keys, strict=True)
                )
                passed[head] = sum(s * edge(i, j) for s, j in zip(share, keys, strict=True))
            out[i, t] = layer.out(seen) + layer.message(passed.flatten())
    return out


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@torch.no_grad()
def test_agrees_with_a_plain_second_implementation(rows):
    batch, scaled, ahead = context(rows, make_content(rows, task_for(rows)))
    geo, layer = geometry(rows), randomize_(RelationalAttention(WIDTH, HEADS).double())
    edges = geo(batch, scaled, ahead)
    table = {
        (i, j): one_edge(geo, batch, ahead, i, j)
        for i in range(len(rows))
        for j in range(len(rows))
        if batch.scene[i] == batch.scene[j]
    }
    for (i, j), wanted in table.items():
        found = edges.features[batch.scene[i], edges.pad.slot[i], edges.pad.slot[j]]
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    x, present = torch.randn(len(rows), STEPS, WIDTH).double(), torch.rand(len(rows), STEPS) > 0.3
    present[batch.scene == 0, 1] = False  # a scene that is empty at a step
    found = layer(x, edges, present)
    wanted = slow(layer, x, present, lambda i, j: table[i, j], batch.scene)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    everyone = torch.ones_like(present)
    torch.testing.assert_close(layer(x, edges), layer(x, edges, everyone), rtol=1e-12, atol=1e-12)


# --- symmetry ------------------------------------------------------------------------------------


class OnContent(nn.Module):
    """A block over edges of some content, called with both in the user's order."""

    def __init__(self, block: nn.Module, rows: Rows) -> None:
        super().__init__()
        self.block, self.geometry, self.rows = block, geometry(rows), rows

    def forward(self, x: Tensor, content: dict[str, Tensor]) -> Tensor:
        batch, scaled, ahead = context(self.rows, content)
        edges = self.geometry(batch, scaled, ahead)
        present = batch.present[:, :STEPS]
        found = self.block(x[self.rows.order], batch.hierarchy, present, None, edges)
        return found[self.rows.inverse]


class NumbersItsRows(RelationalAttention):
    """Broken: a row sees the one of the next number first."""

    def forward(self, x: Tensor, edges: Edges, present: Tensor | None = None) -> Tensor:
        return super().forward(x, edges._replace(features=edges.features.roll(1, 2)), present)


class MixesScenes(RelationalAttention):
    """Broken: all scenes have the first one's edges."""

    def forward(self, x: Tensor, edges: Edges, present: Tensor | None = None) -> Tensor:
        first = edges.features[:1].expand_as(edges.features)
        return super().forward(x, edges._replace(features=first), present)


def block(rows: Rows, kind: type[RelationalAttention] = RelationalAttention) -> nn.Module:
    made = RelationalBlock(WIDTH, HEADS, levels=rows.groups.shape[1])
    made.pairs = kind(WIDTH, HEADS)
    return randomize_(made.double())


def check(module: nn.Module, rows: Rows, perm: Tensor) -> None:
    content, x = make_content(rows, task_for(rows), seed=3), torch.randn(len(rows), STEPS, WIDTH)
    moved = [lambda x: x[perm], lambda c: {name: value[perm] for name, value in c.items()}]
    assert_equivariant(module, (x.double(), content), moved, lambda x: x[perm])


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
def test_equivariant_to_every_permutation_of_the_hierarchy(rows):
    for perm in moves_of(rows):
        check(OnContent(block(rows), rows), rows, perm)


@pytest.mark.parametrize("kind", [NumbersItsRows, MixesScenes])
def test_broken_twins_are_caught(kind):
    with pytest.raises(AssertionError, match="not equivariant"):
        for perm in moves_of(FLAT):
            check(OnContent(block(FLAT, kind), FLAT), FLAT, perm)


# --- where it starts, and what it needs ----------------------------------------------------------


def test_it_starts_at_zero():
    batch, scaled, ahead = context(FLAT, make_content(FLAT, task_for(FLAT)))
    x = torch.randn(len(FLAT), STEPS, WIDTH).double()
    layer = RelationalAttention(WIDTH, HEADS).double()
    assert not layer(x, geometry()(batch, scaled, ahead)).any()


def test_units_are_those_of_the_nearest_and_of_a_usual_step():
    rows = Rows.of("x x", "y y")
    content = make_content(rows, task_for(rows), missing=0.0)
    content["values"] = torch.zeros_like(content["values"])
    content["values"][[1, 3], :, 0] = torch.tensor([[3.0], [5.0]]).double()
    content["values"][..., 1] = 0.25 * torch.arange(content["values"].shape[1])
    found = Geometry(TASK, AHEAD).double()
    found.fit(pack(rows, content))
    assert found.unit.item() == 3.0 and found.speed.item() == 0.25


def test_a_scene_of_one_row_and_no_rows_at_all():
    for rows in (Rows.of("x", "y y y"), Rows.of("x")):
        batch, scaled, ahead = context(rows, make_content(rows, task_for(rows)))
        assert geometry()(batch, scaled, ahead).features.isfinite().all()
        Geometry(TASK, AHEAD).double().fit(batch)
    nobody = Rows(np.zeros(0, np.int64), np.zeros((0, 1), np.int64), np.zeros(0, np.int64))
    batch, scaled, ahead = context(nobody, make_content(nobody, task_for(nobody)))
    edges = Edges(torch.zeros(1, 1, 1, EDGE).double(), ScenePadding(batch), AHEAD)
    assert block(nobody)(
        torch.zeros(0, STEPS, WIDTH).double(), batch.hierarchy, None, None, edges
    ).shape == (0, STEPS, WIDTH)
    assert geometry()(batch, scaled, ahead).features.shape[-1] == EDGE


def test_a_scale_without_positions_is_refused():
    frame = make_frame()
    model = HiPerformer(8, 1, 2, block="relational", scale="series")
    with pytest.raises(DataError, match=r"block='relational' .* scale='series' keeps no positions"):
        tiny(model).fit(frame)
    one = Columns("unique_id", "ds", "x", "team", "scene")
    with pytest.raises(DataError, match="scale='auto' keeps no positions"):
        tiny(HiPerformer(8, 1, 2, block="relational"), columns=one).fit(frame)


def test_it_is_saved_and_loaded_by_name(tmp_path):
    frame = make_frame()
    forecaster = tiny(HiPerformer(8, 1, 2, block="relational")).fit(frame)
    forecaster.save(tmp_path / "saved")
    again = type(forecaster).load(tmp_path / "saved")
    assert again.model_.geometry is not None
    assert again.predict(frame).equals(forecaster.predict(frame))


@pytest.mark.parametrize(
    ("changes", "options", "block"),
    [
        ({}, {}, "relational"),
        ({"n_series": 64}, {"scale": "mirrored"}, "relational"),
        ({"n_series": 65}, {}, "sa3"),
        ({"n_targets": 1}, {}, "sa3"),
        ({"n_series": 65}, {"block": "relational"}, "relational"),
    ],
)
def test_which_block_is_chosen_and_saved(changes, options, block):
    plan = HiPerformer(8, 1, 2, **options)
    assert plan.to_dict()["block"] == options.get("block", "auto")
    built = plan.for_task(task_for(FLAT, **changes))
    assert built.to_dict()["block"] == block
    assert (built.geometry is not None) == (block == "relational")
