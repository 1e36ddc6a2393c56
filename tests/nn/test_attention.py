"""The one attention: against an N x N mask, with absent keys, without keys, and its symmetry."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hierforecast.batch import Hierarchy, Partition
from hierforecast.nn.attention import MATMUL_SETS, PRODUCT_SETS, Attention, attend
from hierforecast.testing import assert_equivariant, equivariance_error, randomize_
from tests.rows import FLAT, NESTED, Packed, Rows, moves_of

WIDTH, HEADS, STEPS = 12, 3, 5
# Sets on both sides of the sizes at which another kernel takes over, and the time axis too.
SIZES = (1, 2, PRODUCT_SETS, PRODUCT_SETS + 1, MATMUL_SETS, MATMUL_SETS + 1)
KERNELS = Rows.of(
    " ".join(letter for letter, n in zip("abcdef", SIZES, strict=True) for _ in range(n))
)
ALL = {"flat": FLAT, "nested": NESTED, "every kernel": KERNELS}


def make_attention() -> Attention:
    return randomize_(Attention(WIDTH, HEADS).double())


def tokens(rows: int, missing: float = 0.4, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, steps, WIDTH).double(), torch.rand(rows, steps) >= missing


def gradients(layer: Attention, x: Tensor, answer: Tensor) -> list[Tensor]:
    """What a loss on the answer says to the tokens and to the layer."""
    inputs = (x, *layer.parameters())
    return list(torch.autograd.grad(answer.square().sum(), inputs, retain_graph=True))


def dense(layer: Attention, x: Tensor, allowed: Tensor) -> Tensor:
    """The definition: x (n, d) of one step, allowed (n, n) says who is whose key."""
    out = torch.zeros_like(x)
    size = WIDTH // HEADS
    query, key, value = (linear(x) for linear in (layer.query, layer.key, layer.value))
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        score = query[:, part] @ key[:, part].T / size**0.5
        weight = torch.where(allowed, score.exp(), 0)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-300)
        out[:, part] = weight @ value[:, part]
    return layer.out(out)


def same_set(partition: Partition) -> Tensor:
    """(m, m): who shares a set with whom."""
    numbers = [n for n, size in enumerate(sizes_of(partition)) for _ in range(size)]
    number = torch.tensor(numbers, dtype=torch.int64)
    return number[:, None] == number


def sizes_of(partition: Partition) -> list[int]:
    return [size for n_sets, size in partition.runs for _ in range(n_sets)]


def assert_all_close(found: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("missing", [0.0, 0.4, 1.0])
def test_members_agree_with_an_n_by_n_mask(rows, missing):
    layer, partition = make_attention(), rows.hierarchy.members
    x, present = tokens(len(rows), missing)
    x.requires_grad_()
    allowed = same_set(partition)
    wanted = torch.stack([dense(layer, x[:, t], allowed & present[:, t]) for t in range(STEPS)], 1)
    for shown in (present, None) if not missing else (present,):
        found = layer.members(x, partition, shown)
        assert_all_close([found], [wanted], 1e-12)
        assert_all_close(gradients(layer, x, found), gradients(layer, x, wanted), 1e-10)


@pytest.mark.parametrize("steps", [1, PRODUCT_SETS, MATMUL_SETS, MATMUL_SETS + 5])
@pytest.mark.parametrize("missing", [0.0, 0.4, 1.0])
def test_time_agrees_with_a_t_by_t_mask(missing, steps):
    layer = make_attention()
    x, present = tokens(4, missing, steps)
    x.requires_grad_()
    wanted = torch.stack([dense(layer, x[n], present[n].expand(steps, steps)) for n in range(4)])
    for shown in (present, None) if not missing else (present,):
        found = layer.time(x, shown)
        assert_all_close([found], [wanted], 1e-12)
        assert_all_close(gradients(layer, x, found), gradients(layer, x, wanted), 1e-10)


@pytest.mark.parametrize("steps", [PRODUCT_SETS, MATMUL_SETS, MATMUL_SETS + 5])
@pytest.mark.parametrize("missing", [0.0, 0.4, 1.0])
def test_only_the_last_tokens_may_ask(missing, steps):
    layer = make_attention()
    x, present = tokens(4, missing, steps)
    x.requires_grad_()
    for last, shown in ((1, present), (3, present), (steps, present), (3, None)):
        wanted = layer.time(x, shown)[:, -last:]
        found = layer.time(x, shown, last)
        assert found.shape == (4, last, WIDTH)
        assert_all_close([found], [wanted], 1e-12)
        assert_all_close(gradients(layer, x, found), gradients(layer, x, wanted), 1e-10)


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
def test_absent_keys_change_exactly_nothing(rows):
    layer, partition = make_attention(), rows.hierarchy.members
    x, present = tokens(len(rows))
    junk = torch.where(present[..., None], x, 1e6 * torch.randn_like(x))
    for call in (lambda x: layer.members(x, partition, present), lambda x: layer.time(x, present)):
        assert torch.equal(call(x)[present], call(junk)[present])


@pytest.mark.parametrize("size", SIZES)
def test_without_keys_the_answer_is_zero_and_gradients_are_finite(size):
    query, key, value = (torch.randn(2, 3, size, 5, requires_grad=True) for _ in range(3))
    present = torch.tensor([True, False])[:, None, None, None].expand(2, 1, 1, size)
    seen = attend(query, key, value, present)
    assert (seen[1] == 0).all() and (seen[0] != 0).all()
    seen.square().sum().backward()
    for x in (query, key, value):
        assert x.grad is not None and x.grad.isfinite().all() and (x.grad[1] == 0).all()


@pytest.mark.parametrize("missing", [0.5, 1.0])
def test_gradients_are_finite_whoever_is_missing(missing):
    layer = make_attention()
    x, present = tokens(len(KERNELS), missing)
    x.requires_grad_()
    seen = layer.members(x, KERNELS.hierarchy.members, present) + layer.time(x, present)
    seen.square().sum().backward()
    for tensor in (x, *layer.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


def test_no_rows_and_heads_that_do_not_fit():
    layer, empty = make_attention(), Partition(())
    x, present = tokens(0)
    assert layer.members(x, empty, present).shape == layer.time(x, present).shape == x.shape
    with pytest.raises(ValueError, match=r"width=10 is not a multiple of heads=3"):
        Attention(10, 3)


# --- symmetry, and twins that break it -----------------------------------------------------------


def by_members(layer: Attention, x: Tensor, plan: Hierarchy, present: Tensor) -> Tensor:
    return layer.members(x, plan.members, present)


class IgnoresGroups(Attention):
    """Broken: everybody meets everybody."""

    def members(self, x: Tensor, partition: Partition, present: Tensor | None) -> Tensor:
        return super().members(x, Partition(((1, len(x)),)), present)


class CutsRunsWrong(Attention):
    """Broken: right sizes, but one row too far."""

    def members(self, x: Tensor, partition: Partition, present: Tensor | None) -> Tensor:
        seen = None if present is None else present.roll(1, 0)
        return super().members(x.roll(1, 0), partition, seen).roll(-1, 0)


class HasPositions(Attention):
    """Broken: every row has a position."""

    def members(self, x: Tensor, partition: Partition, present: Tensor | None) -> Tensor:
        place = torch.linspace(0, 1, len(x)).to(x)
        return super().members(x + place[:, None, None], partition, present)


class SeesTheAbsent(Attention):
    """Broken: absent members are keys."""

    def members(self, x: Tensor, partition: Partition, present: Tensor | None) -> Tensor:
        return super().members(x, partition, None)


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
def test_members_may_be_exchanged(rows):
    module, inputs = Packed(make_attention(), rows, by_members), tokens(len(rows))
    symmetry, generator = rows.symmetry, torch.Generator().manual_seed(0)
    for perm in [symmetry.sample(generator) for _ in range(5)]:
        assert_equivariant(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


def test_a_swap_across_groups_is_noticed():
    module, inputs = Packed(make_attention(), FLAT, by_members), tokens(len(FLAT), missing=0.0)
    for seed in range(5):
        perm = FLAT.symmetry.swap_across(torch.Generator().manual_seed(seed))
        assert equivariance_error(module, inputs, lambda x: x[perm], lambda x: x[perm]) > 1e-2  # noqa: B023


@pytest.mark.parametrize("broken", [CutsRunsWrong, HasPositions])
def test_twins_that_are_not_equivariant_are_caught(broken):
    layer = randomize_(broken(WIDTH, HEADS).double())
    module, inputs, perm = Packed(layer, FLAT, by_members), tokens(len(FLAT)), moves_of(FLAT)[2]
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(module, inputs, lambda x: x[perm], lambda x: x[perm])


@pytest.mark.parametrize("broken", [IgnoresGroups, CutsRunsWrong, HasPositions, SeesTheAbsent])
def test_twins_that_disagree_with_the_mask_are_caught(broken):
    layer, partition = randomize_(broken(WIDTH, HEADS).double()), FLAT.hierarchy.members
    x, present = tokens(len(FLAT))
    found = layer.members(x, partition, present)
    wanted = dense(layer, x[:, 0], same_set(partition) & present[:, 0])
    assert (found[:, 0] - wanted).abs().max() > 1e-3


def test_the_twin_that_ignores_groups_notices_no_swap_across():
    layer = randomize_(IgnoresGroups(WIDTH, HEADS).double())
    rows = Rows.of("h h a a")
    module, inputs = Packed(layer, rows, by_members), tokens(4)
    perm = rows.symmetry.swap_across()
    assert equivariance_error(module, inputs, lambda x: x[perm], lambda x: x[perm]) < 1e-10
