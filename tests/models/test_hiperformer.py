"""HiPerformer on batches: symmetry, missing series, and nothing from the horizon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hierforecast import HiPerformer
from hierforecast.batch import SceneBatch
from hierforecast.nn.heads import CoupledHead, LowRankHead, MixtureHead, ReturnsHead
from hierforecast.testing import assert_equivariant, equivariance_error, in_modes, randomize_
from tests.helpers import (
    CROSSED,
    FLAT,
    NESTED,
    TASK,
    OnRows,
    Rows,
    make_content,
    make_future,
    moves_of,
    pack,
    randomized,
    task_for,
)

ROWS = {"flat": FLAT, "nested": NESTED, "crossed": CROSSED}
OPTIONS = {
    "lowrank": {"head": "lowrank"},
    "gaussian": {"head": "gaussian"},
    "student": {"head": "student", "depth": 1},
    "mirrored": {"scale": "mirrored", "n_frequencies": 3, "head": "lowrank"},
    "coupled, mirrored": {"scale": "mirrored", "n_frequencies": 3, "head": CoupledHead(4, 1, 2)},
    "by series": {"scale": "series", "patch": 4},
    "mixture": {"head": MixtureHead(modes=3, rank=2)},
    "rows": {"head": "rows", "patch": 4},
    "returns": {"scale": "returns"},
    "returns, as before": {"scale": "returns", "head": ReturnsHead(2, groups_last=False)},
    "demand": {"scale": "demand", "head": "lowrank"},
    "coupled": {"head": CoupledHead(2, 1, 2), "block": "sa3"},
    # By places it would be beyond float64 here: own latents 150,000 times as large as noise.
    "coupled, as before": {"head": CoupledHead(2, 0, 2, places=False), "block": "sa3"},
    "coupled, by series": {"scale": "series", "head": CoupledHead(0, 1, 3)},
    "relational": {"block": "relational", "head": "lowrank"},
    "relational, mirrored": {"block": "relational", "scale": "mirrored", "head": "coupled"},
    "one patch": {"patch": 99, "head": LowRankHead(rank=2, series_rank=0)},
}


def build(rows: Rows, kind: type[HiPerformer] = HiPerformer, **options: Any) -> HiPerformer:
    """A model of large random weights whose units are those of some data."""
    given = {"width": 12, "depth": 2, "heads": 2, "dropout": 0.0, "patch": 3, **options}
    task = task_for(rows)
    model = kind(**given).for_task(task).double()
    model.fit_statistics(pack(rows, make_content(rows, task)), make_future(rows, task))
    # Of crossed ones seed 0 makes errors that grow ten millionfold as they carry on.
    return randomized(model, seed=len(rows.crossed))


@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_forecasts_move_with_their_series(options, rows):
    module = OnRows(build(rows, **options), rows)
    content = make_content(rows, task_for(rows), seed=3)
    for perm in moves_of(rows, seeds=1):
        assert_equivariant(module, content, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_the_joint_likelihood_does_not_notice_an_exchange(options, rows):
    task = task_for(rows)
    module, content = OnRows(build(rows, **options), rows), make_content(rows, task, seed=3)
    future = make_future(rows, task)
    scene = torch.from_numpy(rows.scene)
    for _ in in_modes(module):
        law = module.law(content)
        before = law.log_prob(future.values, future.present)
        for perm in moves_of(rows, seeds=1):
            moved = module.law({name: x[perm] for name, x in content.items()})
            after = moved.log_prob(future.values[perm], future.present[perm])
            # Where whole scenes change places, so do their likelihoods.
            came_from = [int(scene[perm][scene == s][0]) for s in range(len(before))]
            torch.testing.assert_close(after, before[came_from], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_a_swap_across_groups_is_noticed(options, rows):
    module = OnRows(build(rows, **options), rows)
    content = make_content(rows, task_for(rows), missing=0.0)
    for seed in range(3):
        perm = rows.symmetry.swap_across(torch.Generator().manual_seed(seed))
        assert equivariance_error(module, content, lambda x: x[perm], lambda x: x[perm]) > 1e-3  # noqa: B023


class MixesScenes(HiPerformer):
    """Broken: the units come from the batch at hand, so scenes hear of one another."""

    def forward(self, batch: SceneBatch) -> Any:
        self.scaler.fit(batch)
        return super().forward(batch)


class NumbersRows(HiPerformer):
    """Broken: rows have numbers."""

    def forward(self, batch: SceneBatch) -> Any:
        return super().forward(batch).affine(torch.arange(len(batch.values))[:, None, None], 1.0)


class LeansOnItsNeighbour(HiPerformer):
    """Broken: each row is seen relative to the next one."""

    def forward(self, batch: SceneBatch) -> Any:
        return super().forward(replace(batch, values=batch.values - batch.values.roll(1, 0)))


@pytest.mark.parametrize("kind", [NumbersRows, LeansOnItsNeighbour])
def test_broken_twins_are_caught(kind):
    module, content = OnRows(build(FLAT, kind), FLAT), make_content(FLAT, TASK)
    for perm in moves_of(FLAT, seeds=1):
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(module, content, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


# --- missing -------------------------------------------------------------------------------------


def groups_of(rows: Rows) -> list[list[int]]:
    of_ways = [[(s, *g) for s, g in zip(rows.scene, way, strict=True)] for way in rows.ways]
    return [
        [i for i, k in enumerate(keys) if k == key]
        for keys in of_ways
        for key in dict.fromkeys(keys)
    ]


def without(content: dict[str, Tensor], kept: np.ndarray) -> dict[str, Tensor]:
    return {name: x[kept] for name, x in content.items()}


def deletion_error(model: nn.Module, rows: Rows, gone: list[int]) -> float:
    """How much the others' laws differ when rows are masked in the batch, or are not there."""
    content = make_content(rows, task_for(rows), seed=5)
    kept, fewer = np.setdiff1d(np.arange(len(rows)), gone), rows.without(gone)
    masked = {**content, "present": content["present"].clone()}
    masked["present"][gone] = False
    one, two = OnRows(model, rows)(masked), OnRows(model, fewer)(without(content, kept))
    return max(relative(one[name][..., kept, :, :], two[name]) for name in two)


def relative(one: Tensor, two: Tensor) -> float:
    """The largest difference, in units of the largest value where that is large."""
    return float((one - two).abs().max() / two.abs().max().clamp(min=1))


@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@torch.no_grad()
def test_a_masked_series_is_as_good_as_deleted(options, rows):
    """Also when its group empties, or its scene."""
    model = build(rows, **options)
    last = (rows.scene == rows.scene[-1]).nonzero()[0].tolist()
    for gone in [[0], [1], [1, 2], *groups_of(rows), last]:
        if len(set(rows.without(gone).scene)) == rows.scene.max() + 1:  # scenes keep their numbers
            assert deletion_error(model, rows, gone) <= 1e-10


@torch.no_grad()
def test_a_twin_is_caught_by_deletion():
    assert deletion_error(build(FLAT, LeansOnItsNeighbour), FLAT, [1]) > 1e-3


@pytest.mark.parametrize("kind", [HiPerformer, MixesScenes])
@torch.no_grad()
def test_scenes_do_not_hear_of_one_another(kind):
    module, content = OnRows(build(FLAT, kind), FLAT), make_content(FLAT, TASK, seed=3)
    first = np.flatnonzero(FLAT.scene == 0)
    alone = OnRows(module.model, FLAT.without(np.flatnonzero(FLAT.scene > 0)))
    together = module(content)["mean"][first]
    error = (together - alone(without(content, first))["mean"]).abs().max()
    assert (error <= 1e-10) == (kind is HiPerformer)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@torch.no_grad()
def test_junk_in_missing_cells_changes_exactly_nothing(options):
    module, content = OnRows(build(FLAT, **options), FLAT), make_content(FLAT, TASK)
    for odd in (1e9, float("nan"), float("inf")):
        junk = torch.where(content["present"][..., None], content["values"], odd)
        one, two = module(content), module({**content, "values": junk})
        assert all(torch.equal(one[name], two[name]) for name in one)


@torch.no_grad()
def test_more_padding_changes_nothing():
    """Twelve steps in patches of 4, or as many with steps of nothing before them and more patches.

    The longer model has one more context token, which holds nothing; positions are aligned.
    """
    short, long = (replace(TASK, context_length=length, past=(), known=()) for length in (8, 14))
    content = make_content(FLAT, short)
    before = torch.zeros(len(FLAT), 6, 2).double()
    padded = {
        **content,
        "values": torch.cat([before, content["values"]], 1),
        "present": torch.cat([before[..., 0] > 0, content["present"]], 1),
        "past": torch.zeros(len(FLAT), 14, 0),
        "known": torch.zeros(len(FLAT), 18, 0),
    }
    given: dict[str, Any] = {"width": 12, "depth": 2, "heads": 2, "dropout": 0.0, "patch": 4}
    one = randomize_(HiPerformer(**given).for_task(short).double())
    two = HiPerformer(**given).for_task(long).double()
    state = {n: p for n, p in one.state_dict().items() if n != "linear.weight.weight"}
    more = torch.randn(2, 12).double()
    state["embedding.position"] = torch.cat([more, state["embedding.position"]])
    missing = two.load_state_dict(state, strict=False).missing_keys
    assert missing == ["linear.weight.weight"]
    for model in (one, two):
        model.linear.weight.weight.zero_()
    found, wanted = OnRows(two, FLAT)(padded), OnRows(one, FLAT)(content)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("gone", ["a step", "a group", "a scene", "everyone"])
def test_finite_forward_and_backward_whatever_is_empty(options, gone):
    model, content = build(NESTED, **options), make_content(NESTED, task_for(NESTED))
    part: dict[str, Any] = {"a step": (slice(None), slice(3, 9)), "a group": ([1, 3],)}
    part["a scene"] = (NESTED.scene == 1,)
    content["present"][part.get(gone, (slice(None),))] = False
    batch, future = pack(NESTED, content), make_future(NESTED, task_for(NESTED))
    law = model(batch)
    assert law.mean.isfinite().all() and law.stddev.isfinite().all()
    loss = model.loss(batch, future) - law.log_prob(future.values, future.present).sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("n_scenes", [0, 2])
def test_a_batch_without_rows(n_scenes):
    rows = Rows(np.zeros(0, np.int64), np.zeros((0, 1), np.int64), np.zeros(0, np.int64))
    model = build(FLAT)
    batch = replace(pack(rows, make_content(rows, TASK)), n_scenes=n_scenes)
    future = make_future(rows, TASK)
    law = model(batch)
    assert law.mean.shape == (0, 4, 2)
    assert law.log_prob(future.values).tolist() == [0] * n_scenes
    loss = model.loss(batch, future)
    assert loss.isfinite()
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_a_horizon_without_anybody_is_a_finite_loss():
    model, batch = build(FLAT), pack(FLAT, make_content(FLAT, TASK))
    future = make_future(FLAT, TASK, missing=1.0)
    loss = model.loss(batch, replace(future, values=torch.full_like(future.values, torch.nan)))
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


# --- everything is used, and options mean what they say ------------------------------------------


@torch.no_grad()
def test_everything_in_the_batch_has_an_effect():
    module, content = OnRows(build(NESTED), NESTED), make_content(NESTED, task_for(NESTED))
    before = module(content)["mean"]
    for name, column in (("values", 0), ("past", 0), ("known", 1), ("static", 1)):
        x = content[name].clone()
        x[2] = x[2] * 0.5 + 1 if column == 0 else 1 - x[2].clamp(max=1)
        moved = (module({**content, name: x})["mean"] - before).abs().amax((1, 2))
        assert moved[2] > 1e-6, name
        assert moved[1] > 1e-9, f"{name} of one reaches the others of its scene"
        assert (moved[NESTED.scene != 0] < 1e-12).all(), "but not the next scene"


def test_every_parameter_is_trained():
    for rows in ROWS.values():
        model = build(rows, dropout=0.1)
        batch = pack(rows, make_content(rows, task_for(rows), missing=0.2))
        model.train().loss(batch, make_future(rows, task_for(rows))).backward()
        still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert not [name for name in still if "tables" not in name], "dead weights"


def test_training_and_evaluation_differ_by_dropout_only():
    batch = pack(FLAT, make_content(FLAT, TASK))
    model = build(FLAT, dropout=0.3).train()
    assert not torch.equal(model(batch).mean, model(batch).mean)
    model.eval()
    assert torch.equal(model(batch).mean, model(batch).mean)


def test_options_come_back_and_are_checked():
    model = HiPerformer(12, 3, 2, 0.0, "student", 4, "series")
    assert model.get_params() == HiPerformer(**model.get_params()).get_params()
    assert not list(model.parameters()), "a plan has no weights"
    built = model.for_task(TASK)
    assert built is not model and built.task == TASK and model.task is None
    with pytest.raises(ValueError, match="head='x' is not one of"):
        HiPerformer(head="x")
    with pytest.raises(ValueError, match="scale='x' is not one of"):
        HiPerformer(scale="x")
    with pytest.raises(ValueError, match="width=10 is not a multiple of heads=4"):
        HiPerformer(width=10, heads=4).for_task(TASK)
    with pytest.raises(ValueError, match="patch=0 must be a whole number of at least 1, or 'auto'"):
        HiPerformer(patch=0)


def test_statistics_come_from_present_cells_only():
    content, future = make_content(FLAT, TASK), make_future(FLAT, TASK)
    junk = {
        **content,
        "values": torch.where(content["present"][..., None], content["values"], torch.nan),
    }
    later = torch.where(future.present[..., None], future.values, torch.nan)
    one, two = (HiPerformer(12, 1, 2).for_task(TASK).double() for _ in range(2))
    two.load_state_dict(one.state_dict())
    one.fit_statistics(pack(FLAT, content), future)
    two.fit_statistics(pack(FLAT, junk), replace(future, values=later))
    for (name, x), y in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert (x.isfinite().all() or name == "growth.limit") and torch.equal(x, y), name


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_before_the_first_step_the_loc_is_the_linear_forecast_to_the_bit(options):
    model = HiPerformer(**{"width": 12, "depth": 1, "heads": 2, "patch": 3, **options})
    model = model.for_task(TASK).double().eval()
    batch, future = pack(FLAT, make_content(FLAT, TASK)), make_future(FLAT, TASK)
    model.fit_statistics(batch, future)
    scaled, codes = model.scaler(batch), model._codes(batch)
    line = model.linear(model._inputs(batch, scaled), codes)
    scale = model.linear.error_scale[codes] * model.unseen(batch)
    loc, *_ = model._parts(batch, scaled)
    assert line.abs().max() > 0.01 and torch.equal(loc, model._head.start(line, scale))
    if isinstance(model._head, MixtureHead):
        assert (loc[1:] != loc[:1]).any(), "the modes are apart"
    randomize_(model.decoder)
    assert model.scaler.learns_loc != torch.equal(model._parts(batch, scaled)[0], loc)


def test_mirrored_forecasts_mirror_with_the_scene():
    model, content = build(FLAT, scale="mirrored"), make_content(FLAT, task_for(FLAT))
    mirror = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    center = model.scaler.center
    turned = {**content, "values": center + mirror * (content["values"] - center)}
    one, two = (model(pack(FLAT, c)) for c in (content, turned))
    torch.testing.assert_close(center + mirror * (one.mean - center), two.mean, rtol=0, atol=1e-9)
    truth = make_future(FLAT, task_for(FLAT)).values
    torch.testing.assert_close(
        one.log_prob(truth), two.log_prob(center + mirror * (truth - center)), rtol=1e-10, atol=1e-8
    )
    plain = build(FLAT)
    one, two = (plain(pack(FLAT, c)).mean for c in (content, turned))
    assert (center + mirror * (one - center) - two).abs().max() > 1e-2


def test_of_returns_the_network_learns_size_and_dependence_only():
    model, rows = build(FLAT, scale="returns"), FLAT
    content, future = make_content(rows, TASK), make_future(rows, TASK)
    batch = pack(rows, content)
    scaled, law = model.scaler(batch), model(batch)
    line = model.linear(model._inputs(batch, scaled), model._codes(batch))
    torch.testing.assert_close(
        law.mean, line * scaled.scale * model.horizon_scale, rtol=1e-10, atol=1e-10
    )
    model.loss(batch, future).backward()
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert {"linear.weight.weight", "linear.weight.bias"} <= still
    assert not [name for name in still if "linear" not in name and "tables" not in name]
    cells = future.present.sum() * TASK.n_targets
    unit = (scaled.scale * model.horizon_scale).log().expand_as(law.mean)[future.present].sum()
    wanted = -(law.log_prob(future.values, future.present).sum() + unit) / cells
    torch.testing.assert_close(model.loss(batch, future), wanted)
