"""SA3 against a plain second implementation, its symmetry, and what missing series may not do."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hierforecast.batch import Hierarchy
from hierforecast.nn.attention import Attention
from hierforecast.nn.encoder import Encoder
from hierforecast.nn.sa3 import ClassAttention, SA3Block, SeriesAttention
from hierforecast.testing import assert_equivariant, equivariance_error, in_modes, randomize_
from tests.rows import FLAT, NESTED, Packed, Rows, moves_of

WIDTH, HEADS, STEPS = 12, 2, 4
DEEP = Rows.of("uxp uxp uyp uyq vxq vxr vxr", "uxp vyp vyp vyr")
ALL = {"flat": FLAT, "nested": NESTED, "three levels": DEEP}


def tokens(rows: Rows, missing: float = 0.3) -> tuple[Tensor, Tensor]:
    return torch.randn(len(rows), STEPS, WIDTH).double(), torch.rand(len(rows), STEPS) >= missing


def call(module: nn.Module, x: Tensor, plan: Hierarchy, present: Tensor) -> Tensor:
    return module(x, plan, present)


def build(kind: type[nn.Module], rows: Rows) -> nn.Module:
    levels = rows.groups.shape[1]
    options = {
        SeriesAttention: (),
        ClassAttention: (levels,),
        SA3Block: (0.0, levels),
        Encoder: (0.0, levels),
    }
    width = (WIDTH, 2) if kind is Encoder else (WIDTH,)
    return randomize_(kind(*width, HEADS, *options[kind]).double())


# --- a plain second implementation: one token, one key, one head at a time -----------------------


def answer(layer: Attention, query: Tensor, keys: list[Tensor]) -> Tensor:
    """What one token (d,) hears from some tokens (d,) each; nothing if there are none."""
    heard = torch.zeros(WIDTH).double()
    size = WIDTH // HEADS
    for head in range(HEADS) if keys else ():
        part = slice(head * size, (head + 1) * size)
        q = layer.query(query)[part]
        scores = torch.stack([q @ layer.key(k)[part] / size**0.5 for k in keys])
        values = torch.stack([layer.value(k)[part] for k in keys])
        heard[part] = scores.softmax(0) @ values
    return layer.out(heard)


def paths(rows: Rows) -> list[tuple]:
    """Where each row stands: (scene, coarsest group, ..., finest group)."""
    return [(s, *g) for s, g in zip(rows.scene.tolist(), rows.groups.tolist(), strict=True)]


def slow_series(layer: SeriesAttention, x: Tensor, present: Tensor, rows: Rows) -> Tensor:
    where, out = paths(rows), torch.zeros_like(x)
    for i, t in product(range(len(rows)), range(STEPS)):
        mates = [j for j in range(len(rows)) if where[j] == where[i] and present[j, t]]
        out[i, t] = answer(layer.attention, x[i, t], [x[j, t] for j in mates])
    return out


def slow_classes(layer: ClassAttention, x: Tensor, present: Tensor, rows: Rows) -> Tensor:
    where, out = paths(rows), torch.zeros_like(x)
    levels = rows.groups.shape[1]
    for t, depth in product(range(STEPS), range(1, levels + 1)):
        attention = layer.levels[levels - depth]  # fine to coarse
        groups = sorted({path[: depth + 1] for path in where})
        members = {
            g: [x[i, t] for i, p in enumerate(where) if p[: depth + 1] == g and present[i, t]]
            for g in groups
        }
        summary = {g: torch.stack(m).mean(0) for g, m in members.items() if m}
        for i, path in enumerate(where):
            own = path[: depth + 1]
            siblings = [s for g, s in summary.items() if g[:-1] == own[:-1]]
            out[i, t] += answer(attention, summary.get(own, torch.zeros(WIDTH).double()), siblings)
    return out


def slow_block(block: SA3Block, x: Tensor, present: Tensor, rows: Rows) -> Tensor:
    """SA_T(SA_S(X) + SA_C(X)) with residuals around both stages and the feed-forward layer."""
    u = block.norm_groups(x)
    x = x + slow_series(block.series, u, present, rows)
    x = x + slow_classes(block.classes, u, present, rows)
    u, heard = block.norm_time(x), torch.zeros_like(x)
    for i, t in product(range(len(rows)), range(STEPS)):
        keys = [u[i, s] for s in range(STEPS) if present[i, s]]
        heard[i, t] = answer(block.time, u[i, t], keys)
    x = x + heard
    return x + block.feed(block.norm_feed(x))


SLOW = {SeriesAttention: slow_series, ClassAttention: slow_classes, SA3Block: slow_block}


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("kind", SLOW)
def test_agrees_with_a_plain_second_implementation(kind, rows):
    x, present = tokens(rows)
    team = [path == paths(rows)[1] for path in paths(rows)]
    present[np.array(team), 2] = False  # a group that is empty at a step
    module = build(kind, rows)
    with torch.no_grad():
        found = Packed(module, rows, call)(x, present)
        wanted = SLOW[kind](module, x, present, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_presence_of_all_may_be_left_out():
    block, (x, _) = build(SA3Block, NESTED), tokens(NESTED)
    everyone = torch.ones(len(NESTED), STEPS, dtype=torch.bool)
    with torch.no_grad():
        one, two = block(x, NESTED.hierarchy, everyone), block(x, NESTED.hierarchy, None)
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("last", [1, 3, STEPS])
def test_a_block_may_be_asked_for_the_last_tokens_only(last):
    block, (x, present) = build(SA3Block, NESTED), tokens(NESTED)
    with torch.no_grad():
        for shown in (present, None):
            wanted = block(x, NESTED.hierarchy, shown)[:, -last:]
            found = block(x, NESTED.hierarchy, shown, last)
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


# --- symmetry ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("kind", [SeriesAttention, ClassAttention, SA3Block, Encoder])
def test_equivariant_to_every_permutation_of_the_hierarchy(kind, rows):
    module, inputs = Packed(build(kind, rows), rows, call), tokens(rows)
    for perm in moves_of(rows, seeds=2):
        assert_equivariant(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("kind", [SeriesAttention, ClassAttention, SA3Block, Encoder])
def test_a_swap_across_groups_is_noticed(kind, rows):
    module, inputs = Packed(build(kind, rows), rows, call), tokens(rows, missing=0.0)
    for seed in range(3):
        perm = rows.symmetry.swap_across(torch.Generator().manual_seed(seed))
        error = equivariance_error(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023
        assert error > 1e-3


class FirstMember(ClassAttention):
    """Broken: the first row of a group speaks for it."""

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        parts = [
            part.unflatten(0, (-1, size))[:, :1].expand(-1, size, -1, -1).flatten(0, 1)
            for size, part in hierarchy.members.split(x)
        ]
        return super().forward(torch.cat(parts), hierarchy, present)


class NumberedGroups(ClassAttention):
    """Broken: groups have numbers."""

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        return super().forward(x, hierarchy, present) + hierarchy.group[:, None, None]


class ForgetsTheOrder(ClassAttention):
    """Broken: group summaries are not brought back to their own groups."""

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        heard = super().forward(x, hierarchy, present)
        return heard[hierarchy.group]


class CountsTheAbsent(ClassAttention):
    """Broken: absent members count in their group's mean."""

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        return super().forward(x, hierarchy, None)


class PositionedTwice(SA3Block):
    """Broken: a position for every row, not only along time."""

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None = None) -> Tensor:
        return super().forward(x + torch.arange(len(x))[:, None, None], hierarchy, present)


@pytest.mark.parametrize("kind", [FirstMember, NumberedGroups, ForgetsTheOrder, PositionedTwice])
def test_twins_that_are_not_equivariant_are_caught(kind):
    module = randomize_(kind(WIDTH, HEADS).double())
    packed, inputs = Packed(module, FLAT, call), tokens(FLAT)
    with pytest.raises(AssertionError, match="not equivariant"):
        for perm in moves_of(FLAT, seeds=1):
            assert_equivariant(packed, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


@pytest.mark.parametrize("kind", [FirstMember, NumberedGroups, ForgetsTheOrder, CountsTheAbsent])
def test_twins_that_disagree_with_the_definition_are_caught(kind):
    module, (x, present) = randomize_(kind(WIDTH, HEADS).double()), tokens(FLAT)
    found = Packed(module, FLAT, call)(x, present)
    assert (found - slow_classes(module, x, present, FLAT)).abs().max() > 1e-3


# --- missing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("kind", [SeriesAttention, ClassAttention, SA3Block, Encoder])
def test_a_row_that_is_never_present_is_as_good_as_deleted(kind, rows):
    """Also when its whole group goes, or its whole scene."""
    module, (x, present) = build(kind, rows), tokens(rows)
    where = paths(rows)
    groups = [[i for i, p in enumerate(where) if p == path] for path in dict.fromkeys(where)]
    last_scene = [i for i, p in enumerate(where) if p[0] == where[-1][0]]
    for gone in [[1], *groups, last_scene]:
        fewer, shown = rows.without(gone), present.clone()
        shown[gone] = False
        kept = np.setdiff1d(np.arange(len(rows)), gone)
        with torch.no_grad():
            masked = Packed(module, rows, call)(x, shown)[kept]
            deleted = Packed(module, fewer, call)(x[kept], present[kept])
        torch.testing.assert_close(masked, deleted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [SeriesAttention, ClassAttention, SA3Block, Encoder])
def test_junk_in_absent_tokens_changes_exactly_nothing(kind):
    module, (x, present) = Packed(build(kind, NESTED), NESTED, call), tokens(NESTED)
    junk = torch.where(present[..., None], x, 1e6 * torch.randn_like(x))
    for _ in in_modes(module):
        assert torch.equal(module(x, present)[present], module(junk, present)[present])


@pytest.mark.parametrize("kind", [SeriesAttention, ClassAttention, SA3Block, Encoder])
@pytest.mark.parametrize("gone", ["a step", "a group", "a scene", "everyone"])
def test_finite_forward_and_backward_whatever_is_empty(kind, gone):
    module, (x, present) = build(kind, NESTED), tokens(NESTED)
    part = {"a step": (slice(None), 1), "a group": ([1, 3],), "a scene": (NESTED.scene == 1,)}
    present[part.get(gone, (slice(None),))] = False
    x.requires_grad_()
    seen = Packed(module, NESTED, call)(x, present)
    assert seen.isfinite().all()
    seen.square().sum().backward()
    for tensor in (x, *module.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


@pytest.mark.parametrize("kind", [SeriesAttention, ClassAttention, SA3Block, Encoder])
def test_no_rows_at_all(kind):
    rows = Rows(np.zeros(0, np.int64), np.zeros((0, 1), np.int64), np.zeros(0, np.int64))
    module, (x, present) = build(kind, rows), tokens(rows)
    for shown in (present, None):
        seen = module(x, rows.hierarchy, shown)
        assert seen.shape == x.shape
        seen.sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
