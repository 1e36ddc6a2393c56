"""The tester is tested: right modules pass it, and each deliberately broken twin fails it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal

from hierforecast.symmetry import HierarchicalPermutation
from hierforecast.testing import assert_equivariant, equivariance_error, in_modes, randomize_

GROUPS = torch.tensor([0, 1, 2, 1, 2, 2, 1, 0, 1])  # of 2, 4 and 3 series, interleaved
PAIRS = torch.tensor([0, 1, 2, 2, 1, 0])  # three alike groups


def group_mean(x: Tensor, groups: Tensor) -> Tensor:
    """Mean over the rows of each group, handed back to every row."""
    same = (groups[:, None] == groups).to(x)
    return same @ x / same.sum(1, keepdim=True)


class DeepSets(nn.Module):
    """Right: a row sees itself, the mean of its group and the mean of all."""

    def __init__(self, groups: Tensor, width: int = 5) -> None:
        super().__init__()
        self.groups = groups
        self.enter, self.norm = nn.Linear(3 * width, width), nn.BatchNorm1d(width)
        self.leave = nn.Linear(width, width)
        nn.init.zeros_(self.leave.weight)  # as a last layer often starts

    def context(self, x: Tensor) -> Tensor:
        return torch.cat([x, group_mean(x, self.groups), x.mean(0).expand_as(x)], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(torch.tanh(self.norm(self.enter(self.context(x)))))


class PositionBias(DeepSets):
    """Broken: a learned bias for each row, zero in a fresh module."""

    def __init__(self, groups: Tensor) -> None:
        super().__init__(groups)
        self.bias = nn.Parameter(torch.zeros(len(groups), 5))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.bias


class FirstRow(DeepSets):
    """Broken: the first row stands for its group."""

    def context(self, x: Tensor) -> Tensor:
        return torch.cat([x, x[:1].expand_as(x), x], dim=-1)


class Neighbours(DeepSets):
    """Broken: a row sees the next one, whatever its group."""

    def context(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.roll(1, 0), x], dim=-1)


class FavouriteGroup(DeepSets):
    """Broken between groups only: group 0 is treated unlike the others."""

    def context(self, x: Tensor) -> Tensor:
        return super().context(x) * torch.where(self.groups == 0, 2.0, 1.0)[:, None].to(x)


class BrokenInTraining(DeepSets):
    """Broken in one mode only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.training * torch.arange(len(x)).to(x)[:, None]


class Slightly(DeepSets):
    """Broken by very little: one row is off by 1e-8."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-8 * (torch.arange(len(x)) == 3).to(x)[:, None]


BROKEN = [PositionBias, FirstRow, Neighbours, BrokenInTraining, Slightly]


def check(module_class: type[DeepSets], teams: Tensor, dtype=torch.float64, **which: bool) -> None:
    module = randomize_(module_class(teams)).to(dtype)
    action = HierarchicalPermutation(teams)
    for _ in range(5):
        act = partial(action.act, action.sample(**which))
        assert_equivariant(module, torch.randn(len(teams), 5, dtype=dtype), act, act)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("groups", [GROUPS, PAIRS])
def test_a_right_module_passes(groups, dtype):
    check(DeepSets, groups, dtype)


@pytest.mark.parametrize("module_class", BROKEN)
@pytest.mark.parametrize("groups", [GROUPS, PAIRS])
def test_a_broken_module_fails(module_class, groups):
    with pytest.raises(AssertionError, match=r"not equivariant"):
        check(module_class, groups)


def test_what_is_broken_between_groups_shows_only_there():
    check(FavouriteGroup, PAIRS, groups=False)
    with pytest.raises(AssertionError):
        check(FavouriteGroup, PAIRS, members=False)


def test_a_permutation_that_breaks_the_groups_is_noticed():
    module, action = randomize_(DeepSets(GROUPS)).double(), HierarchicalPermutation(GROUPS)
    act = partial(action.act, action.swap_across())
    assert equivariance_error(module.eval(), torch.randn(9, 5).double(), act, act) > 1e-3


def test_a_fresh_module_hides_what_random_weights_show():
    x, act = torch.randn(9, 5), partial(torch.flip, dims=[0])
    assert equivariance_error(PositionBias(GROUPS), x, act, act) < 1e-6
    assert equivariance_error(randomize_(PositionBias(GROUPS)), x, act, act) > 1e-1


def test_the_message_names_mode_element_and_values():
    def off_by_one(x: Tensor) -> dict[str, list[Tensor]]:
        return {"mean": [x, torch.stack([x[0], x[1] + 1.0])]}

    x, swap = torch.zeros(2, 3), partial(torch.roll, shifts=1, dims=0)
    x[0, 0] = 0.5
    with pytest.raises(AssertionError) as failure:
        assert_equivariant(off_by_one, x, swap, swap)
    assert "called: output['mean'][1][0, 0] should be 1 and is 0" in str(failure.value)
    with pytest.raises(AssertionError, match=r"train: output\[\d, \d\] should be") as failure:
        check(BrokenInTraining, GROUPS)
    assert "eval:" not in str(failure.value)


def test_arguments_may_be_moved_one_by_one():
    def model(x: Tensor, options: dict[str, Tensor], power: int) -> tuple[Tensor, Tensor]:
        return group_mean(x**power, options["groups"]), x + 1

    x, groups = torch.randn(6, 2).double(), {"groups": torch.tensor([0, 0, 1, 1, 1, 1])}
    perm = torch.tensor([4, 1, 2, 5, 3, 0])
    rows = lambda tensor: tensor[perm]  # noqa: E731
    assert_equivariant(model, (x, groups, 3), rows, rows)
    together = lambda labels: {"groups": rows(labels["groups"])}  # noqa: E731
    assert_equivariant(model, (x, groups, 3), [rows, together, None], rows)
    with pytest.raises(AssertionError):
        assert_equivariant(model, (x, groups, 3), [rows, None, None], rows)
    with pytest.raises(ValueError, match="1 actions for 3 arguments"):
        equivariance_error(model, (x, groups, 3), [rows], rows)


def test_invariance_and_distributions():
    x, flip = torch.randn(5, 2).double(), partial(torch.flip, dims=[0])
    assert_equivariant(lambda x: x.sum(0), x, flip, None)
    assert_equivariant(lambda x: Normal(x, x.exp()), x, flip, flip)
    with pytest.raises(AssertionError, match=r"output\.variance\["):
        assert_equivariant(lambda x: Normal(x, x[0].exp().expand_as(x)), x, flip, flip)


def test_the_identity_and_outputs_that_do_not_fit_are_refused():
    x, flip = torch.randn(3, 2), partial(torch.flip, dims=[0])
    with pytest.raises(ValueError, match="moves nothing"):
        equivariance_error(torch.tanh, x, torch.clone, torch.clone)
    with pytest.raises(ValueError, match="no tensor"):
        equivariance_error(lambda x: None, x, flip, flip)
    with pytest.raises(ValueError, match=r"output: act_out gives shape \(3, 2\)"):
        equivariance_error(lambda x: x[: 1 + 2 * bool(x[0, 0] == y[0, 0])], y := x, flip, flip)
    with pytest.raises(ValueError, match="structure"):
        equivariance_error(lambda x: [x] * (1 + bool(x[0, 0] == y[0, 0])), x, flip, flip)


def test_nan_is_never_right_and_equal_infinities_are():
    x, flip = torch.tensor([0.0, 1.0, -1.0]), partial(torch.flip, dims=[0])
    assert equivariance_error(torch.log, x.abs() - 1, flip, flip) == np.inf  # NaN
    assert equivariance_error(lambda x: x.abs().log(), x, flip, flip) == 0.0  # -inf
    with pytest.raises(AssertionError):
        assert_equivariant(torch.sqrt, x, flip, flip, tolerance=1e9)


def test_the_error_is_absolute_or_relative_and_tolerance_follows_the_dtype():
    def model(x: Tensor) -> Tensor:
        return 1000 * x + torch.tensor([0.0, 0.01]).to(x)

    x, flip = torch.tensor([1.0, 2.0]).double(), partial(torch.flip, dims=[0])
    assert equivariance_error(model, x, flip, flip) == pytest.approx(0.01)
    assert equivariance_error(model, x, flip, flip, relative=True) == pytest.approx(5e-6, rel=1e-3)
    assert_equivariant(model, x.float(), flip, flip)
    assert_equivariant(model, x, flip, flip, tolerance=1e-5)
    for wrong in (partial(assert_equivariant, tolerance=1e-6), assert_equivariant):
        with pytest.raises(AssertionError):
            wrong(model, x, flip, flip)
    off = torch.tensor([0.0, 1.0])
    with pytest.raises(AssertionError, match=r"output\[1\]\["):  # each dtype by its own measure
        assert_equivariant(lambda x: (x.float() + 1e-6 * off, x + 1e-8 * off), x, flip, flip)
    with pytest.raises(AssertionError):  # whole numbers have no rounding
        assert_equivariant(lambda x: x.long() + torch.tensor([0, 1]), x, flip, flip)


def test_in_modes_leaves_the_module_as_it_was():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).train()
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    seen = []
    with pytest.raises(RuntimeError, match="in the loop"):
        for mode in in_modes(module):
            seen.append((mode, module[0].training, module[1].training))
            module(torch.randn(4, 2))
            if mode == "train":
                raise RuntimeError("in the loop")
    assert seen == [("eval", False, False), ("train", True, True)]
    assert module.training and module[0].training and not module[1].training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_randomize_moves_everything_by_its_seed_and_no_one_elses():
    build = lambda: nn.Sequential(nn.Linear(400, 300), nn.BatchNorm1d(300))  # noqa: E731
    state = torch.get_rng_state()
    module = build()
    drawn = torch.get_rng_state()
    module = randomize_(module, scale=3.0, seed=1)
    assert torch.equal(drawn, torch.get_rng_state()) and not torch.equal(state, drawn)
    linear, norm = module.requires_grad_(False)
    assert linear.weight.std() == pytest.approx(3 / 400**0.5, rel=0.05)
    for vector in (linear.bias, norm.weight, norm.bias, norm.running_mean):
        assert vector.std() == pytest.approx(3.0, rel=0.2)
    assert norm.running_var.min() > 0 and norm.running_var.std() > 0.5
    again, other = randomize_(build(), 3.0, seed=1), randomize_(build(), 3.0, seed=2)
    assert torch.equal(again[0].weight, linear.weight)
    assert not torch.equal(other[0].weight, linear.weight)


def test_a_categorical_has_no_mean_to_compare():
    x, flip = torch.rand(3, 2), partial(torch.flip, dims=[0])
    with pytest.raises(AssertionError):  # torch gives it NaN
        assert_equivariant(lambda x: Categorical(x), x, flip, flip)
