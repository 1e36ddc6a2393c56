"""Baselines: what each says, step by step, and the same symmetries as the model's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hierforecast import ConstantVelocity, LastValue, Ridge, SeasonalNaive
from hierforecast.models.baselines import Baseline
from hierforecast.testing import assert_equivariant, equivariance_error, randomize_
from tests.helpers import H, L
from tests.rows import (
    FLAT,
    NESTED,
    TASK,
    OnRows,
    Rows,
    make_content,
    make_future,
    moves_of,
    pack,
    task_for,
)

BASELINES = [LastValue(), ConstantVelocity(), SeasonalNaive(3), Ridge(), Ridge(scale="series")]


def build(plan: Baseline, rows: Rows = FLAT) -> Baseline:
    """A baseline fitted to random data, so that types differ in their spread."""
    task = task_for(rows)
    model = plan.for_task(task).double()
    model.fit_statistics(pack(rows, make_content(rows, task)), make_future(rows, task))
    return model


def name_of(plan: Baseline) -> str:
    return f"{type(plan).__name__} {plan.get_params()['scale']}"


every = pytest.mark.parametrize("plan", BASELINES, ids=name_of)


@every
@pytest.mark.parametrize("rows", [FLAT, NESTED], ids=["flat", "nested"])
def test_forecasts_move_with_their_series(plan, rows):
    module, content = OnRows(randomize_(build(plan, rows)), rows), make_content(rows, TASK)
    for perm in moves_of(rows, seeds=1):
        assert_equivariant(module, content, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


class FromTheFirst(LastValue):
    """Broken: everybody ends where the first row does."""

    def point(self, scaled: Any, batch: Any) -> torch.Tensor:
        return super().point(scaled, batch) + scaled.relative[:1, :1]


def test_a_broken_twin_is_caught():
    module, content = OnRows(build(FromTheFirst()), FLAT), make_content(FLAT, TASK, missing=0.0)
    first = int(FLAT.order[0])
    assert FLAT.types[first] == 1 or first == 7  # alone in its group: a move of scenes takes it
    other = next(i for i in range(len(FLAT)) if i != first and FLAT.types[i] == FLAT.types[first])
    perm = torch.arange(len(FLAT))
    perm[[first, other]] = perm[[other, first]]
    assert equivariance_error(module, content, lambda x: x[perm], lambda x: x[perm]) > 1e-3
    assert (
        equivariance_error(
            OnRows(build(LastValue()), FLAT), content, lambda x: x[perm], lambda x: x[perm]
        )
        < 1e-10
    )


@every
@torch.no_grad()
def test_a_series_is_forecast_from_itself_alone(plan):
    module, content = OnRows(build(plan), FLAT), make_content(FLAT, TASK)
    before = module(content)["mean"]
    gone = {**content, "present": content["present"].clone()}
    gone["present"][1] = False
    after = module(gone)["mean"]
    kept = torch.arange(len(FLAT)) != 1
    assert torch.equal(before[kept], after[kept])
    assert after.isfinite().all()


@every
@torch.no_grad()
def test_junk_in_missing_cells_changes_exactly_nothing(plan):
    content, future = make_content(FLAT, TASK), make_future(FLAT, TASK)
    junk = torch.where(content["present"][..., None], content["values"], torch.nan)
    later = torch.where(future.present[..., None], future.values, torch.nan)
    one, two = build(plan), plan.for_task(TASK).double()
    two.fit_statistics(pack(FLAT, {**content, "values": junk}), replace(future, values=later))
    for x, y in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(x, y)
    found = OnRows(two, FLAT)({**content, "values": junk})["mean"]
    assert torch.equal(found, OnRows(one, FLAT)(content)["mean"])


@every
def test_a_batch_without_rows(plan):
    rows = Rows(np.zeros(0, np.int64), np.zeros((0, 1), np.int64), np.zeros(0, np.int64))
    law = build(plan)(replace(pack(rows, make_content(rows, TASK)), n_scenes=1))
    assert law.mean.shape == (0, H, 2)
    empty = plan.for_task(TASK).double()
    empty.fit_statistics(pack(rows, make_content(rows, TASK)), make_future(rows, TASK))
    assert OnRows(empty, FLAT)(make_content(FLAT, TASK))["mean"].isfinite().all()


@torch.no_grad()
def test_what_each_says():
    content = make_content(FLAT, TASK)
    found = {name_of(p): OnRows(build(p), FLAT)(content)["mean"] for p in BASELINES[:3]}
    for row in range(len(FLAT)):
        values, present = content["values"][row], content["present"][row]
        seen = present.nonzero()[:, 0].tolist()
        last = values[seen[-1]]
        lines = [np.interp(np.arange(L), seen, values[seen, d]) for d in range(2)]
        filled = torch.from_numpy(np.stack(lines, axis=1))
        velocity = torch.zeros(2).double()
        if len(seen) > 1:
            velocity = (last - values[seen[-2]]) / (seen[-1] - seen[-2])
        for step in range(H):
            wanted = {
                "LastValue auto": last,
                "ConstantVelocity auto": last + (step + 1) * velocity,
                "SeasonalNaive auto": filled[L - 3 + step % 3],
            }
            for name, value in wanted.items():
                torch.testing.assert_close(found[name][row, step], value, rtol=1e-12, atol=1e-10)


@torch.no_grad()
def test_the_spread_is_that_of_the_errors_of_each_kind():
    """A type in sight at the cutoff, or out of it."""
    content, future = make_content(NESTED, TASK), make_future(NESTED, TASK)
    model, batch = build(LastValue(), NESTED), pack(NESTED, content)
    law = model(batch)
    error = future.values - law.mean
    for kind, in_sight, step in ((0, True, 0), (0, False, 1), (1, True, 2)):
        rows = (batch.types == kind) & (batch.present[:, -1] == in_sight)
        wanted = error[rows & future.present[:, step], step].square().mean(0).sqrt()
        torch.testing.assert_close(law.stddev[rows][0, step], wanted)


@torch.no_grad()
def test_ridge_beats_last_value_where_there_is_momentum():
    """And each type has its own regression."""
    rows = Rows.of(*["b h h h a a a"] * 40, types="b")
    task = task_for(rows, past=(), known=(), static=())
    content = make_content(rows, task, missing=0.0)
    drift = torch.randn(len(rows), 1, 2).double() * torch.from_numpy(1 + rows.types)[:, None, None]
    steps = torch.arange(L + H).double()[:, None]
    path = 20 + drift * steps * torch.from_numpy(1.0 - 2 * rows.types)[:, None, None]
    content["values"] = path[:, :L]
    order = torch.from_numpy(rows.order)
    future = make_future(rows, task, missing=0.0)
    future = replace(future, values=path[order, L:])
    errors = {}
    for plan in (LastValue(), Ridge()):
        model = plan.for_task(task).double()
        model.fit_statistics(pack(rows, content), future)
        errors[type(plan)] = (model(pack(rows, content)).mean - future.values).abs().mean()
    assert errors[Ridge] < 0.2 * errors[LastValue]


def test_seasons_must_fit_into_the_context():
    for season in (0, L + 1):
        with pytest.raises(ValueError, match=rf"season={season} must be between 1 and .*={L}"):
            SeasonalNaive(season).for_task(TASK)


@every
def test_options_come_back(plan):
    assert type(plan)(**plan.get_params()).get_params() == plan.get_params()
    assert plan.for_task(TASK).get_params() == plan.get_params()
    assert not any(p.requires_grad for p in plan.for_task(TASK).parameters())
