"""The head of several joint futures: where it starts, what it learns from, and its law."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from hierforecast import Forecaster, HiPerformer
from hierforecast.distributions import ModeMixture
from hierforecast.nn.head import Scenes
from hierforecast.nn.heads import HEADS, LowRankHead, MixtureHead
from tests.helpers import COLUMNS, DOUBLE, H, make_frame, tiny
from tests.rows import FLAT, make_content, make_future, moves_of, pack, task_for

STEPS, TARGETS = 3, 2
SCENE = torch.from_numpy(FLAT.scene)
N_SCENES = int(SCENE.max()) + 1
CHOICES = [
    MixtureHead(modes=5),
    MixtureHead(modes=1, rank=0, series_rank=0),
    MixtureHead(modes=3, rank=2, joint=1.0),
    MixtureHead(modes=3, rank=2, memory=2, group_rank=2),
]


def parts(head: MixtureHead, size: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Location, scale and shape."""
    cells = (len(FLAT), STEPS, TARGETS)
    shape = size * torch.randn(len(FLAT), STEPS, head.features(TARGETS)).double()
    loc = torch.randn(*head.loc_shape, *cells).double()
    return loc, 0.5 + torch.rand(cells).double(), shape


@pytest.mark.parametrize("head", CHOICES, ids=str)
def test_the_distribution_moves_with_its_rows(head):
    loc, scale, shape = parts(head)
    law, value = head(loc, scale, shape, FLAT.scenes), torch.randn_like(scale)
    assert type(law) is ModeMixture and law.event_shape == scale.shape
    for perm in moves_of(FLAT, seeds=1):
        if not torch.equal(SCENE[perm], SCENE):
            continue  # scenes changed places, so their likelihoods do
        moved = head(loc[:, perm], scale[perm], shape[perm], FLAT.scenes)
        torch.testing.assert_close(
            moved.log_prob(value[perm]), law.log_prob(value), rtol=1e-10, atol=1e-10
        )
        for name in ("mean", "stddev", "median"):
            here, there = getattr(law, name), getattr(moved, name)
            torch.testing.assert_close(there, here[perm], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(moved.modes, law.modes[:, perm], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("head", CHOICES, ids=str)
@pytest.mark.parametrize("size", [0.0, 50.0])
def test_extreme_features_stay_finite_forward_and_backward(head, size):
    inputs = parts(head, size)
    for x in inputs:
        x.requires_grad_()
    law = head(*inputs, FLAT.scenes)
    law.log_prob(torch.zeros_like(inputs[1])).sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in inputs)


def test_no_rows():
    head = MixtureHead()
    nothing = torch.zeros(0, STEPS, TARGETS)
    shape, scene = torch.zeros(0, STEPS, head.features(TARGETS)), torch.zeros(0).long()
    law = head(head.start(nothing, nothing), nothing, shape, Scenes(scene, 2))
    assert law.log_prob(nothing).tolist() == [0, 0]
    assert law.sample((4,)).shape == (4, 0, STEPS, TARGETS)
    seen = torch.zeros(0, STEPS, dtype=torch.bool)
    assert head.distance(law.locs, nothing, seen, Scenes(scene, 2)) == 0


# --- where the modes start -----------------------------------------------------------------------


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_modes_start_about_the_linear_forecast_as_its_errors_do(targets):
    line = torch.randn(4, STEPS, targets).double()
    scale = 0.5 + torch.rand(4, STEPS, targets).double()
    away = (MixtureHead(modes=200).start(line, scale) - line) / scale
    for mode in away:
        torch.testing.assert_close(mode, mode[:1, :1].expand_as(mode))
    points = away[:, 0, 0]
    assert points.mean(0).abs().max() < 0.1 and (points.std(0) - 1).abs().max() < 0.1
    assert torch.pdist(points).min() > 1e-3
    if targets > 1:
        assert torch.corrcoef(points.T).triu(1).abs().max() < 0.1
    alone = MixtureHead(modes=1).start(line, scale)
    torch.testing.assert_close(alone[0], line)  # the only mode is the linear forecast itself


# --- what it learns from -------------------------------------------------------------------------


def by_hand(loc: Tensor, truth: Tensor, seen: Tensor, joint: float) -> float:
    """The definition, read aloud."""

    def error(mode: int, rows: list[int]) -> float:
        cells = [(r, t) for r in rows for t in range(STEPS) if seen[r, t]]
        return sum(float((loc[mode, r, t] - truth[r, t]).norm()) for r, t in cells)

    modes = range(len(loc))
    scenes = [(s == SCENE).nonzero()[:, 0].tolist() for s in range(N_SCENES)]
    own = sum(min(error(k, [r]) for k in modes) for r in range(len(SCENE)))
    shared = sum(min(error(k, rows) for k in modes) for rows in scenes)
    return float(((1 - joint) * own + joint * shared) / seen.sum())


@pytest.mark.parametrize("joint", [0.0, 0.3, 1.0])
def test_the_distance_is_that_of_the_winners(joint):
    head = MixtureHead(modes=4, joint=joint)
    loc, *_ = parts(head)
    truth, seen = torch.randn(loc.shape[1:]).double(), torch.rand(len(FLAT), STEPS) < 0.7
    wanted = by_hand(loc, truth, seen, joint)
    truth[~seen] = torch.nan  # what is not known is not looked at
    loc.requires_grad_()
    found = head.distance(loc, truth, seen, FLAT.scenes)
    assert float(found.detach()) == pytest.approx(wanted, abs=1e-4)
    (gradient,) = torch.autograd.grad(found, loc)
    assert gradient.isfinite().all() and (gradient[:, ~seen] == 0).all()
    learns = (gradient != 0).any(-1).any(-1)
    if joint == 0:
        assert learns.sum(0).eq(seen.any(1)).all()  # one mode a row
    if joint == 1:
        for scene in range(N_SCENES):
            rows = learns[:, (scene == SCENE) & seen.any(1)]
            assert rows.any(1).sum() == 1 and rows.any(0).all()  # one mode a scene


MODES = MixtureHead(modes=3, rank=2)


def trained(head: Any = MODES) -> tuple[HiPerformer, Any, Any]:
    """A model whose locations and shapes have gradients of their own."""
    task = task_for(FLAT)
    model = HiPerformer(12, 1, 2, dropout=0.0, head=head, patch=3).for_task(task).double()
    return model, pack(FLAT, make_content(FLAT, task)), make_future(FLAT, task)


def test_futures_are_told_apart_by_where_they_end_up():
    """Steps count by how large squared errors are there; of a head with one loc alike."""
    for model, batch, future in (trained(), trained(head="lowrank")):
        late = torch.linspace(0.1, 3.0, model.horizon_scale.numel()).double()
        model.horizon_scale.copy_(late.view_as(model.horizon_scale))
        loc, *_, scenes = model._parts(batch, model.scaler(batch))
        truth = model.scaler(batch).apply(future.values) / model.horizon_scale
        square = model.horizon_scale**2
        unit = square / square.mean(0) if loc.ndim == 4 else 1.0
        wanted = model._head.distance(loc * unit, truth * unit, future.present, scenes)
        torch.testing.assert_close(model.score(batch, future)[0], wanted)


def test_locations_learn_from_the_distance_and_the_rest_from_the_likelihood():
    model, batch, future = trained()
    scaled = model.scaler(batch)
    loc, scale, shape, _ = model._parts(batch, scaled)
    rows = batch.scene, batch.n_scenes
    truth = scaled.apply(future.values)
    distance = model._head.distance(loc, truth, future.present, Scenes(*rows))
    likelihood = model._head(loc, scale, shape, Scenes(*rows)).log_prob(truth, future.present).sum()
    part = likelihood / (2 * future.present.sum())
    loss = model.loss(batch, future)
    torch.testing.assert_close(loss, distance - part)
    named = dict(model.named_parameters())
    for name, wanted in (("decoder.mean.weight", distance), ("decoder.shape.1.weight", -part)):
        found, expected = (
            torch.autograd.grad(value, named[name], retain_graph=True)[0]
            for value in (loss, wanted)
        )
        torch.testing.assert_close(found, expected)
        assert (expected != 0).any()


def test_the_modes_weights_do_not_know_how_many_series_there_are():
    """They are a mean over present rows: twins of every row change nothing."""
    head = MixtureHead(modes=3)
    loc, scale, shape = parts(head)
    twice = torch.arange(len(FLAT)).repeat(2)
    of_twice = Scenes(SCENE[twice], N_SCENES)
    one = head(loc, scale, shape, FLAT.scenes)
    two = head(loc[:, twice], scale[twice], shape[twice], of_twice)
    torch.testing.assert_close(one.logits, two.logits)
    assert (one.logits.std(1) > 0).all()


# --- through the Forecaster ----------------------------------------------------------------------


def test_every_verb_of_a_forecaster(tmp_path):
    frame = make_frame()
    history = frame[frame.ds < 20]
    forecaster = tiny(HiPerformer(12, 1, 2, head="mixture", patch=4), trainer=DOUBLE).fit(frame)
    forecast = forecaster.predict(history, level=[80])
    assert (forecast["HiPerformer_x-lo-80"] < forecast["HiPerformer_x-hi-80"]).all()
    draws = forecaster.sample(history, 3)
    assert len(draws) == 3 * len(forecast)
    law, rows = forecaster.distribution(history)
    assert isinstance(law, ModeMixture) and law.modes.shape == (20, len(rows), H, 2)
    metrics = ["ade", "min_jade", "nll_per_coordinate", "coverage"]
    scores = forecaster.evaluate(frame, metrics, n_samples=4)
    assert scores.value.notna().all() and set(scores.metric) == set(metrics)
    forecaster.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    pd.testing.assert_frame_equal(loaded.predict(history, level=[80]), forecast)
    pd.testing.assert_frame_equal(loaded.sample(history, 3), draws)


def test_options_are_saved(tmp_path):
    head = MixtureHead(modes=3, rank=2, joint=0.25)
    forecaster = tiny(HiPerformer(12, 1, 2, head=head)).fit(make_frame())
    forecaster.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    assert loaded.model_._head == head and HEADS["mixture"]() == MixtureHead()
    assert loaded.columns == COLUMNS


def test_other_heads_have_one_location():
    head, line = LowRankHead(), torch.randn(2, STEPS, TARGETS)
    assert head.loc_shape == () and head.pooled == 0
    assert torch.equal(head.start(line, torch.ones_like(line)), line)
