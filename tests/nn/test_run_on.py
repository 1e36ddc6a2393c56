"""Series out of view move on: against recursion written out, and against who is still in view."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hierforecast import Columns, HiPerformer, Ridge
from hierforecast import _waiting as waiting
from hierforecast.nn import run_on
from hierforecast.nn.linear import LinearForecast, type_and_visibility
from hierforecast.nn.run_on import RunOn
from hierforecast.nn.scaled import fill_gaps
from hierforecast.task import Task
from tests.helpers import DOUBLE, tiny

L, H, D, TYPES = 9, 3, 2, 2
TASK = Task(L, H, n_targets=D, n_types=TYPES)
STEP, UNIT = torch.tensor([0.5, 2.0]).double(), torch.rand(H, D).double() + 0.5


def layer(seed: int = 0) -> RunOn:
    """With random weights, those of a type in view and out of it alike."""
    torch.manual_seed(seed)
    made = RunOn(TASK).double()
    for part in (made.weight.weight, made.weight.bias):
        each = part.data.unflatten(0, made.shape)
        each.copy_(0.3 * torch.randn_like(each))
        each[TYPES:] = each[:TYPES]
    made.fit_units(SimpleNamespace(), UNIT)  # type: ignore[arg-type]
    return made


def rows(seed: int = 0, n: int = 40) -> tuple[Any, Any, Tensor]:
    """A batch, its context relative to where each row was last seen, and codes."""
    draws = torch.Generator().manual_seed(seed)
    values = torch.randn(n, L, D, generator=draws).double().cumsum(1)
    present = torch.rand(n, L, generator=draws) > 0.2
    gone = torch.randint(0, L - 1, (n,), generator=draws) * (torch.arange(n) % 4 > 0)
    present &= torch.arange(L) < L - gone[:, None]
    present[:, 0] = True
    types = torch.randint(TYPES, (n,), generator=draws)
    batch = SimpleNamespace(present=present, types=types)
    filled, last = fill_gaps(torch.where(present[..., None], values, torch.nan), present)
    scaled = SimpleNamespace(relative=filled - last)
    return batch, scaled, type_and_visibility(batch, TYPES)  # type: ignore[arg-type]


def asked(made: LinearForecast, batch: Any, scaled: Any, codes: Tensor) -> Tensor:
    return made(made.inputs(batch, scaled, STEP), codes)


def written_out(made: RunOn, batch: Any, scaled: Any, codes: Tensor) -> np.ndarray:
    """Row by row: forecast from the last position seen, and from the forecasts, in user's units."""
    weight = made.weight.weight.detach().numpy().reshape(*made.shape, L, D)
    bias = made.weight.bias.detach().numpy().reshape(made.shape)
    step, unit, found = STEP.numpy(), (UNIT * STEP).numpy(), []
    for row, code in enumerate(codes.tolist()):
        seen = int(batch.present[row].nonzero().max())
        path = list(scaled.relative[row, : seen + 1].numpy())
        pace = (path[-1] - path[0]) / max(seen, 1)
        path = [path[0] - (L - len(path) - k) * pace for k in range(L - len(path))] + path
        start, needed = path[-1], L - 1 - seen + H
        limit = made.fastest[batch.types[row]].numpy() * step if needed > H else np.inf
        moves = list(np.clip(np.diff(path, axis=0), -limit, limit))
        ahead: list[np.ndarray] = []
        while len(ahead) < needed:
            x = np.stack([*moves[1 - L :], np.zeros(D)]) / step
            hop = (np.einsum("hdle,le->hd", weight[code], x) + bias[code]) * unit
            moves += list(np.clip(np.diff(hop, axis=0, prepend=0), -limit, limit))
            ahead = list(start + np.cumsum(moves[L - 1 :], axis=0))
        found.append(np.stack(ahead[needed - H : needed]) / unit)
    return np.stack(found)


@pytest.mark.parametrize("fastest", [torch.inf, 0.7])
@pytest.mark.parametrize("device", [False, True])
def test_it_is_the_recursion_written_out(monkeypatch, device, fastest):
    made, (batch, scaled, codes) = layer(), rows()
    made.fastest.fill_(fastest)
    if device:  # the way of a device that is not waited for
        monkeypatch.setattr(run_on, "at_hand", lambda x: False)
    assert waiting.at_hand(codes)
    found = asked(made, batch, scaled, codes)
    assert np.allclose(found.detach(), written_out(made, batch, scaled, codes), atol=1e-12)
    assert (codes >= TYPES).sum() > 10 < (codes < TYPES).sum()


def test_what_was_saved_by_earlier_versions_stands_still_as_it_did():
    made, (batch, scaled, codes) = layer(1), rows(1)
    fresh = RunOn(TASK).double()
    assert set(fresh.added) == {"unit", "fastest"} and (fresh.unit == 0).all()
    fresh.weight.load_state_dict(made.weight.state_dict())
    plain = LinearForecast(TASK).double()
    plain.weight.load_state_dict(made.weight.state_dict())
    assert torch.equal(asked(fresh, batch, scaled, codes), asked(plain, batch, scaled, codes))
    away = codes >= TYPES
    apart = (asked(made, batch, scaled, codes) - asked(plain, batch, scaled, codes)).abs()
    assert (apart[~away] == 0).all() and (apart[away].amax((1, 2)) > 1e-3).float().mean() > 0.9


def test_no_gradient_reaches_who_is_out_of_view():
    """Forecasts of forecasts would multiply the noise of each step of a training."""
    made, (batch, scaled, codes) = layer(2), rows(2)
    asked(made, batch, scaled, codes).square().sum().backward()
    assert made.weight.weight.grad is not None and made.weight.weight.grad.isfinite().all()
    gradient = made.weight.weight.grad.unflatten(0, made.shape)
    assert not gradient[TYPES:].any() and (gradient[:TYPES].abs().amax((1, 2, 3)) > 0).all()


def test_fitted_it_has_the_weights_of_those_in_view_and_bounds_of_their_steps():
    made, (batch, scaled, codes) = RunOn(TASK).double(), rows(3, 400)
    made.fit_units(SimpleNamespace(), UNIT)  # type: ignore[arg-type]
    ahead = torch.randn(400, H, D).double().cumsum(1)
    present = torch.rand(400, H) > 0.2
    inputs = made.inputs(batch, scaled, STEP)
    made.fit(inputs, ahead, present, codes, torch.arange(400) // 2)
    weight = made.weight.weight.unflatten(0, made.shape)
    assert torch.equal(weight[TYPES:], weight[:TYPES]) and weight.abs().max() > 0
    steps = inputs.same[:, :-1].abs().detach()
    for code in range(TYPES):
        own = steps[batch.types == code].flatten(0, 1)
        assert ((own <= made.fastest[code]).double().mean(0) >= run_on.USUAL).all()
        assert (own.amax(0) > made.fastest[code]).all(), "some are faster"
    error = (ahead - made(inputs, codes)).detach()
    away = (codes == TYPES)[:, None] & present
    expected = torch.stack([error[away[:, h], h].square().mean(0).sqrt() for h in range(H)])
    assert torch.allclose(made.error_scale[TYPES], expected)


def test_paths_are_learned_from_the_same_rows_at_all_steps(monkeypatch):
    """Who is lost on the way bends nobody's path, and is learned from; but where most are lost."""
    batch, scaled, codes = rows(3, 400)
    ahead = torch.randn(400, H, D).double().cumsum(1)
    order, scenes = torch.rand(400), torch.arange(400) // 2
    ahead[order < 0.2] += 20 * scaled.relative[order < 0.2, -2:-1]  # they err otherwise

    def fitted(kind: type[LinearForecast], ahead: Tensor, present: Tensor) -> LinearForecast:
        made = kind(TASK).double()
        made.fit_units(SimpleNamespace(), UNIT)  # type: ignore[arg-type]
        made.fit(made_of.inputs(batch, scaled, STEP), ahead, present, codes, scenes)
        return made

    def of_type(made: LinearForecast) -> Tensor:
        return made.weight.weight.detach().unflatten(0, made.shape)[:TYPES]

    made_of = RunOn(TASK).double()
    made_of.fit_units(SimpleNamespace(), UNIT)  # type: ignore[arg-type]
    present = torch.ones(400, H, dtype=torch.bool)
    present[order < 0.2, 1:] = False
    # Written out: a line for those who stay, by which errors of the others go on, then for all.
    away = codes >= TYPES
    first = fitted(LinearForecast, ahead, present & (present.all(1) | away)[:, None])
    line = LinearForecast.forward(first, made_of.inputs(batch, scaled, STEP), codes).detach()
    filled = torch.where(present[..., None], ahead, line + (ahead - line)[:, :1])
    second = fitted(LinearForecast, filled, torch.ones_like(present))
    found = fitted(RunOn, ahead, present)
    torch.testing.assert_close(of_type(found), of_type(second))
    torch.testing.assert_close(found.error_scale[:TYPES], first.error_scale[:TYPES])
    assert not torch.allclose(of_type(found), of_type(first)), "the others count"

    monkeypatch.setattr(run_on, "_alike", lambda present, codes, n_types: present)
    twin = fitted(RunOn, ahead, present)
    bends = [of_type(x).diff(2, dim=1).abs().mean() for x in (twin, found)]
    assert bends[0] > 1.5 * bends[1], "the broken twin zig-zags"
    present[order < 0.9, 1:] = False
    most = of_type(fitted(RunOn, ahead, present))
    monkeypatch.undo()
    assert torch.equal(of_type(fitted(RunOn, ahead, present)), most)


def runners(seed: int, scenes: int = 40) -> Any:
    """Straight runs, some lost from view for the last one to six of nine steps."""
    rng = np.random.default_rng(seed)
    n, steps = 4 * scenes, L + H
    speed, start = rng.normal(size=(n, 1, D)), 10 * rng.normal(size=(n, 1, D))
    path = start + speed * np.arange(steps)[:, None]
    path += 0.01 * rng.normal(size=path.shape)
    gone = np.where(np.arange(n) % 4 > 1, rng.integers(1, 7, n), 0)
    seen = path.copy()
    for row, steps_gone in enumerate(gone):
        seen[row, L - steps_gone : L] = np.nan
    number = np.repeat(np.arange(n), steps)
    frame = pd.DataFrame({
        "scene": number // 4, "unique_id": number % 4, "team": "a",
        "ds": np.tile(range(steps), n), "x": seen[..., 0].ravel(), "y": seen[..., 1].ravel(),
    })  # fmt: skip
    return frame, path, gone


@pytest.mark.parametrize("model", [Ridge(scale="coordinates"), HiPerformer(16, 1, 2, patch=3)])
def test_a_runner_who_was_lost_is_expected_where_his_run_leads(model, monkeypatch):
    columns = Columns(target=["x", "y"], group="team", scene="scene")
    train, test = runners(0)[0], runners(1)

    def error() -> float:
        options = {"columns": columns, "max_steps": 1, "series_dropout": 0.0, "trainer": DOUBLE}
        found = tiny(model, context_length=L, prediction_length=H, **options).fit(train)
        frame, path, gone = test
        made = found.predict(frame[frame.ds < L]).sort_values(["scene", "unique_id", "ds"])
        name = type(model).__name__
        at = made[[f"{name}_x", f"{name}_y"]].to_numpy().reshape(-1, H, D)
        return float(np.abs(at - path[:, L:])[gone > 0].mean())

    assert error() < 0.1
    monkeypatch.setattr(run_on, "steps_unseen", lambda present: 0 * present[:, 0].long())
    assert error() > 0.5, "the broken twin, who stands still"
