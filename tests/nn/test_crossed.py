"""SA3 of series that are grouped in several ways at once: against its definition, and symmetry."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hierforecast.batch import Crossing, Hierarchy
from hierforecast.nn.encoder import Encoder
from hierforecast.nn.sa3 import CrossedAttention, SA3Block
from hierforecast.testing import assert_equivariant, equivariance_error, in_modes, randomize_
from tests.counting import Operations
from tests.nn.test_sa3 import HEADS, STEPS, WIDTH, answer, call, slow_classes, slow_series, tokens
from tests.rows import CROSSED, CROSSED_NESTED, FLAT, Packed, Rows, moves_of

ALL = {"crossed": CROSSED, "crossed and nested": CROSSED_NESTED}
KINDS = [SA3Block, Encoder]


def build(kind: type[nn.Module], rows: Rows) -> nn.Module:
    levels, *crossed = (way.shape[1] for way in rows.ways)
    if issubclass(kind, Encoder):
        return randomize_(kind(WIDTH, 2, HEADS, 0.0, levels, SA3Block, crossed).double())
    return randomize_(kind(WIDTH, HEADS, 0.0, levels, crossed).double())


def each_way(rows: Rows) -> list[Rows]:
    return [Rows(rows.scene, way, rows.types) for way in rows.ways]


def slow_block(block: SA3Block, x: Tensor, present: Tensor, rows: Rows) -> Tensor:
    """SA_T(sum over ways p of SA_S^p(X) + SA_C^p(X)), one token and one key at a time."""
    u = block.norm_groups(x)
    for layer, way in zip([block, *block.crossed], each_way(rows), strict=True):
        x = x + slow_series(layer.series, u, present, way)
        x = x + slow_classes(layer.classes, u, present, way)
    u, heard = block.norm_time(x), torch.zeros_like(x)
    for i, t in product(range(len(rows)), range(STEPS)):
        keys = [u[i, s] for s in range(STEPS) if present[i, s]]
        heard[i, t] = answer(block.time, u[i, t], keys)
    x = x + heard
    return x + block.feed(block.norm_feed(x))


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
def test_agrees_with_a_plain_second_implementation(rows):
    x, present = tokens(rows)
    present[rows.ways[1][:, 0] == rows.ways[1][1, 0], 2] = False  # an empty group of the other way
    module = build(SA3Block, rows)
    with torch.no_grad():
        found = Packed(module, rows, call)(x, present)
        wanted = slow_block(module, x, present, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("kind", KINDS)
def test_equivariant_to_every_permutation_that_respects_all_ways(kind, rows):
    module, inputs = Packed(build(kind, rows), rows, call), tokens(rows)
    for perm in moves_of(rows, seeds=3):
        assert_equivariant(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", [0, 1])
def test_a_swap_across_the_groups_of_either_way_is_noticed(kind, rows, way):
    module, inputs = Packed(build(kind, rows), rows, call), tokens(rows, missing=0.0)
    for seed in range(3):
        perm = rows.symmetry.swap_across(torch.Generator().manual_seed(seed), way)
        error = equivariance_error(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023
        assert error > 1e-3


@pytest.mark.parametrize("way", [0, 1])
def test_what_one_way_allows_and_the_other_forbids_is_noticed(way):
    """The members of a team alone, whatever their positions; or of a position."""
    module, inputs = Packed(build(SA3Block, CROSSED), CROSSED, call), tokens(CROSSED, missing=0.0)
    alone = each_way(CROSSED)[way]
    seen = 0
    for perm in moves_of(alone, seeds=3):
        if not CROSSED.symmetry.contains(perm):
            error = equivariance_error(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023
            assert error > 1e-3
            seen += 1
    assert seen


class StaysPacked(CrossedAttention):
    """Broken: what was heard is not brought back to its own rows."""

    def forward(self, x: Tensor, crossing: Crossing, present: Tensor | None) -> Tensor:
        return super().forward(x, crossing, present)[crossing.order]


class NumberedGroups(CrossedAttention):
    """Broken: the groups of the further way have numbers."""

    def forward(self, x: Tensor, crossing: Crossing, present: Tensor | None) -> Tensor:
        return super().forward(x, crossing, present) + crossing.groups[0][:, None, None]


class FirstOfEach(CrossedAttention):
    """Broken: of each group of the further way the first row is special."""

    def forward(self, x: Tensor, crossing: Crossing, present: Tensor | None) -> Tensor:
        group = crossing.groups[0]
        first = torch.arange(len(group)) == (group[:, None] == group).int().argmax(1)
        return super().forward(torch.where(first[:, None, None], 2 * x, x), crossing, present)


class WrongPresence(CrossedAttention):
    """Broken: presence is that of the rows as they were packed before."""

    def forward(self, x: Tensor, crossing: Crossing, present: Tensor | None) -> Tensor:
        moved = None if present is None else present[crossing.inverse]
        return super().forward(x, crossing, moved)


TWINS = [StaysPacked, NumberedGroups, FirstOfEach, WrongPresence]


@pytest.mark.parametrize("kind", TWINS)
def test_broken_twins_are_caught(kind):
    block = build(SA3Block, CROSSED)
    block.crossed = nn.ModuleList([kind(WIDTH, HEADS)]).double()
    module, (x, present) = Packed(randomize_(block), CROSSED, call), tokens(CROSSED)
    with pytest.raises(AssertionError, match="not equivariant"):
        for perm in moves_of(CROSSED, seeds=3):
            assert_equivariant(module, (x, present), lambda x: x[perm], lambda x: x[perm])  # noqa: B023
    with torch.no_grad():
        wanted = slow_block(block, x, present, CROSSED)
        assert (module(x, present) - wanted).abs().max() > 1e-3


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_never_present_is_as_good_as_deleted(kind, rows):
    """Also when a whole group of either way goes, or a whole scene."""
    module, (x, present) = build(kind, rows), tokens(rows)
    keys = [[(s, *path) for s, path in zip(rows.scene, w, strict=True)] for w in rows.ways]
    groups = [[i for i, k in enumerate(own) if k == one] for own in keys for one in set(own)]
    for gone in [[1], *groups, np.flatnonzero(rows.scene == 0).tolist()]:
        fewer, shown = rows.without(gone), present.clone()
        shown[gone] = False
        kept = np.setdiff1d(np.arange(len(rows)), gone)
        with torch.no_grad():
            masked = Packed(module, rows, call)(x, shown)[kept]
            deleted = Packed(module, fewer, call)(x[kept], present[kept])
        torch.testing.assert_close(masked, deleted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_junk_in_absent_tokens_changes_exactly_nothing(kind):
    module, (x, present) = Packed(build(kind, CROSSED), CROSSED, call), tokens(CROSSED)
    junk = torch.where(present[..., None], x, 1e6 * torch.randn_like(x))
    for _ in in_modes(module):
        assert torch.equal(module(x, present)[present], module(junk, present)[present])


@pytest.mark.parametrize("gone", ["a step", "a team", "a position", "a scene", "everyone"])
def test_finite_forward_and_backward_whatever_is_empty(gone):
    module, (x, present) = build(SA3Block, CROSSED), tokens(CROSSED)
    team, position = (way[:, 0] == way[1, 0] for way in CROSSED.ways)
    parts = {"a step": (slice(None), 1), "a team": (team,), "a position": (position,)}
    parts |= {"a scene": (CROSSED.scene == 1,)}
    present[parts.get(gone, (slice(None),))] = False
    x.requires_grad_()
    seen = Packed(module, CROSSED, call)(x, present)
    assert seen.isfinite().all()
    seen.square().sum().backward()
    for tensor in (x, *module.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


def test_no_rows_at_all():
    nobody = np.zeros((0, 1), np.int64)
    rows = Rows(nobody[:, 0], nobody, nobody[:, 0], (nobody,))
    module, (x, present) = build(SA3Block, rows), tokens(rows)
    for shown in (present, None):
        assert module(x, rows.hierarchy, shown).shape == x.shape


def test_with_one_way_there_is_nothing_new():
    """No weight, no name, no random number, no operation."""

    def made() -> SA3Block:
        torch.manual_seed(0)
        return SA3Block(WIDTH, HEADS, 0.0, 1, ())

    names = {name.split(".")[0] for name in made().state_dict()}
    assert names == {"norm_groups", "series", "classes", "norm_time", "time", "norm_feed", "feed"}
    torch.manual_seed(0)
    plain = SA3Block(WIDTH, HEADS)
    assert all(torch.equal(a, b) for a, b in zip(made().parameters(), plain.parameters()))  # noqa: B905
    assert isinstance(FLAT.hierarchy, Hierarchy) and FLAT.hierarchy.crossed == ()


def test_ways_of_the_batch_and_of_the_block_must_be_as_many():
    x, present = tokens(CROSSED)
    with pytest.raises(ValueError, match="longer"):
        Packed(build(SA3Block, each_way(CROSSED)[0]), CROSSED, call)(x, present)


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
def test_costs_at_most_what_the_ways_cost_one_by_one(rows):
    """Numbers made by the block, against those of one block for each way: and there is no mask."""
    x, present = tokens(rows)

    def cost(some: Rows) -> Operations:
        with Operations() as count:
            Packed(build(SA3Block, some), some, call)(x, present)
        return count

    whole, parts = cost(rows), [cost(way) for way in each_way(rows)]
    assert whole.elements <= sum(part.elements for part in parts)
    assert whole.largest <= max(part.largest for part in parts)
