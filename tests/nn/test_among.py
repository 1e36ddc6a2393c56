"""A linear forecast among others: against sums written out, what it learns, and its symmetry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hierforecast.batch import SceneBatch
from hierforecast.nn.among import PACES, SPAN, Among
from hierforecast.nn.linear import type_and_visibility
from hierforecast.nn.run_on import RunOn
from hierforecast.nn.scale import make_scale
from hierforecast.nn.scaled import Scaled
from hierforecast.testing import assert_equivariant, randomize_
from tests.helpers import H, L
from tests.rows import CROSSED, FLAT, NESTED, Rows, make_content, moves_of, pack, task_for

ALL = {"flat": FLAT, "nested": NESTED, "crossed": CROSSED}
STEP, UNIT = torch.tensor([0.5, 2.0]).double(), torch.rand(H, 2).double() + 0.5


def context(rows: Rows, content: dict[str, Tensor]) -> tuple[SceneBatch, Scaled, Tensor]:
    """A batch in units of its own, and codes."""
    batch = pack(rows, content)
    scale = make_scale("coordinates", 2).double()
    scale.center.fill_(20.0)
    scale.scale.copy_(torch.tensor([2.0, 0.5]))
    return batch, scale(batch), type_and_visibility(batch, 2)


def layer(rows: Rows, kind: type[RunOn] = Among, seed: int = 0) -> Any:
    """With large random weights, those in view and out of it alike."""
    torch.manual_seed(seed)
    made = randomize_(kind(task_for(rows)).double(), 2.0, seed)
    for part in (made.weight.weight, made.weight.bias):
        each = part.data.unflatten(0, made.shape)
        each[2:] = each[:2]
    if isinstance(made, Among):
        made.others.normal_().mul_(2)
    made.fit_units(None, UNIT)
    made.fastest.fill_(torch.inf)
    return made


def asked(made: RunOn, batch: SceneBatch, scaled: Scaled, codes: Tensor) -> Tensor:
    return made(made.inputs(batch, scaled, STEP), codes)


# --- a plain second implementation: one series at a time -----------------------------------------


def written_out(made: Among, batch: SceneBatch, scaled: Scaled) -> np.ndarray:
    """What the others add (P, H, D): of each series the means of whom it sees, in user's steps."""
    path, here = (scaled.absolute / STEP).numpy(), batch.present[:, -1].numpy()
    types, scene = batch.types.numpy(), batch.scene.numpy()
    group = batch.hierarchy.group.numpy()
    weight, span = made.others.numpy(), min(SPAN, (L - 1) // PACES)
    found = np.zeros((len(path), H, 2))
    for i in np.flatnonzero(here):
        near = [here & (group == group[i])]
        near += [here & (scene == scene[i]) & (group != group[i]) & (types == t) for t in (0, 1)]
        vectors: list[np.ndarray] = []
        for some in near:
            mean = path[some].mean(0) if some.any() else None
            if mean is None:
                vectors += [np.zeros(2)] * (1 + PACES)
                continue
            vectors.append(mean[-1] - path[i, -1])
            ends = [mean[-1 - k * span] for k in range(PACES + 1)]
            vectors += [(ends[k] - ends[k + 1]) / span for k in range(PACES)]
        found[i] = np.einsum("hf,fd->hd", weight[types[i]], np.stack(vectors)) / UNIT.numpy()
    return found


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
def test_it_is_the_sums_written_out(rows):
    made, plain = layer(rows), layer(rows, RunOn)
    plain.weight.load_state_dict(made.weight.state_dict())
    batch, scaled, codes = context(rows, make_content(rows, task_for(rows)))
    more = (asked(made, batch, scaled, codes) - asked(plain, batch, scaled, codes)).detach()
    wanted = written_out(made, batch, scaled)
    assert np.allclose(more, wanted, atol=1e-9) and np.abs(wanted).max() > 1
    away = codes >= 2
    assert away.any() and not more[away].any() and more[~away].abs().amax((1, 2)).max() > 1


def test_a_context_may_be_too_short_for_movements():
    for length in (1, 2, 4):
        task = task_for(FLAT, context_length=length)
        made = randomize_(Among(task).double())
        made.others.normal_()
        batch, scaled, codes = context(FLAT, make_content(FLAT, task))
        assert made.others.shape[2] == 3 * (1 + min(PACES, length - 1))
        assert asked(made, batch, scaled, codes).isfinite().all()


def test_without_groups_the_scene_is_the_class():
    rows = Rows.of("b h a h a h a", "a b h h a", types="b")
    made, (batch, scaled, codes) = layer(rows), context(rows, make_content(rows, task_for(rows)))
    nobody = batch.hierarchy.__class__(batch.hierarchy.members, batch.scene, (), 7)
    batch.hierarchy = nobody
    found = made.inputs(batch, scaled, STEP).others
    apart = found.unflatten(1, (3, -1))[:, 1:]
    assert not apart.any() and found.any()
    assert asked(made, batch, scaled, codes).isfinite().all()


# --- symmetry ------------------------------------------------------------------------------------


class OnContent(nn.Module):
    """The layer on content in the user's order."""

    def __init__(self, made: Among, rows: Rows) -> None:
        super().__init__()
        self.made, self.rows = made, rows

    def forward(self, content: dict[str, Tensor]) -> Tensor:
        return asked(self.made, *context(self.rows, content))[self.rows.inverse]


class KnowsTheFirst(Among):
    """Broken: of each class it looks at the first row, not at all."""

    def _vectors(self, batch: SceneBatch, path: Tensor) -> Tensor:
        group = batch.hierarchy.group
        first = torch.stack([(group == g).nonzero()[0, 0] for g in group])
        return super()._vectors(batch, path[first])


class NumbersItsRows(Among):
    """Broken: a row counts more than those before it."""

    def _vectors(self, batch: SceneBatch, path: Tensor) -> Tensor:
        return super()._vectors(batch, path * torch.arange(len(path))[:, None, None])


def check(rows: Rows, perm: Tensor, kind: type[Among] = Among) -> None:
    content = make_content(rows, task_for(rows))
    moved = [lambda c: {name: value[perm] for name, value in c.items()}]
    assert_equivariant(OnContent(layer(rows, kind), rows), (content,), moved, lambda x: x[perm])


@pytest.mark.parametrize("rows", ALL.values(), ids=list(ALL))
def test_equivariant_to_every_permutation_of_the_hierarchy(rows):
    for perm in moves_of(rows):
        check(rows, perm)


@pytest.mark.parametrize("kind", [KnowsTheFirst, NumbersItsRows])
def test_broken_twins_are_caught(kind):
    with pytest.raises(AssertionError, match="not equivariant"):
        for perm in moves_of(FLAT):
            check(FLAT, perm, kind)


# --- what it learns ------------------------------------------------------------------------------


def scenes(follow: float, n: int = 60) -> tuple[Any, ...]:
    """What a fit takes: scenes of a ball and three who follow it a little, or do not."""
    rows = Rows.of(*["b h h h"] * n, types="b")
    task = task_for(rows)
    content = make_content(rows, task, missing=0.0)
    batch, scaled, codes = context(rows, content)
    draws = torch.Generator().manual_seed(1)
    ahead = torch.randn(len(codes), H, 2, generator=draws).double()
    owner = batch.types == 0 if (batch.types == 0).sum() == n else batch.types == 1
    ball = torch.zeros(n, 2).double().index_put((batch.scene[owner],), scaled.absolute[owner, -1])
    away = (ball[batch.scene] - scaled.absolute[:, -1]) * ~owner[:, None]
    ahead = ahead + follow * away[:, None] / STEP / UNIT
    return batch, scaled, codes, ahead, torch.ones(len(codes), H, dtype=torch.bool)


@pytest.mark.parametrize("follow", [0.0, 0.5])
def test_it_learns_whom_to_follow_and_nothing_from_noise(follow):
    batch, scaled, codes, ahead, present = scenes(follow)
    errors = {}
    for kind in (RunOn, Among):
        made = kind(task_for(FLAT)).double()
        made.fit_units(batch, UNIT)
        made.fit(made.inputs(batch, scaled, STEP), ahead, present, codes, batch.scene)
        errors[kind] = (asked(made, batch, scaled, codes) - ahead).detach()[codes < 2], made
    small, made = errors[Among]
    if not follow:
        assert not made.others.any() and torch.equal(made.error_scale, errors[RunOn][1].error_scale)
        return
    large, plain = errors[RunOn]
    assert small.square().mean() < 0.8 * large.square().mean()
    assert made.error_scale[:2].mean() < 0.95 * plain.error_scale[:2].mean()
    made.repeat(torch.zeros(H, L, 2))
    assert not made.others.any()  # the last value, say, looks at nobody


def test_what_was_saved_by_earlier_versions_looks_at_nobody():
    fresh = Among(task_for(FLAT))
    assert "others" in fresh.added and set(RunOn.added) < set(fresh.added)
    assert not fresh.others.any()
