"""HiPerformer on batches: symmetry, what everything is used for, and options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hierforecast import HiPerformer
from hierforecast.batch import SceneBatch
from hierforecast.nn.heads import MixtureHead
from hierforecast.testing import assert_equivariant, equivariance_error, in_modes, randomize_
from tests.models.networks import OPTIONS, ROWS, LeansOnItsNeighbour, build
from tests.rows import (
    FLAT,
    NESTED,
    TASK,
    OnRows,
    make_content,
    make_future,
    moves_of,
    pack,
    task_for,
)


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


class NumbersRows(HiPerformer):
    """Broken: rows have numbers."""

    def forward(self, batch: SceneBatch) -> Any:
        return super().forward(batch).affine(torch.arange(len(batch.values))[:, None, None], 1.0)


@pytest.mark.parametrize("kind", [NumbersRows, LeansOnItsNeighbour])
def test_broken_twins_are_caught(kind):
    module, content = OnRows(build(FLAT, kind), FLAT), make_content(FLAT, TASK)
    for perm in moves_of(FLAT, seeds=1):
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(module, content, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


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
