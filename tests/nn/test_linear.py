"""One Gram matrix for steps observed at the same rows, against one for each step written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hierforecast.nn import linear
from hierforecast.nn.linear import PENALTIES, Inputs, LinearForecast
from hierforecast.nn.ridge import Moments, steps_alike
from tests.rows import TASK

L, H, D, CODES = TASK.context_length, TASK.prediction_length, TASK.n_targets, 2 * TASK.n_types


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression by least squares, with rows that pull the weights to zero; the bias last."""
    if not len(x):
        return np.zeros((x.shape[1], y.shape[1]))
    size = max(np.square(x[:, :-1]).mean(), 1e-6) * max(penalty * len(x), 10)
    pull = np.sqrt(size) * np.eye(x.shape[1])
    both = np.concatenate([x, pull]), np.concatenate([y, np.zeros((len(pull), y.shape[1]))])
    return np.linalg.lstsq(*both, rcond=None)[0]


def by_step(x: np.ndarray, y: np.ndarray, seen: np.ndarray, half: np.ndarray, code: np.ndarray):
    """Solutions (codes, H, i, D) and scales of errors (codes, H, D), one regression each."""
    solution, scale = np.zeros((CODES, H, x.shape[2] + 1, D)), np.ones((CODES, H, D))
    for c in range(CODES):
        found = []
        for penalty in PENALTIES:
            each = []
            for h in range(H):
                wide = np.concatenate([x[:, min(h, x.shape[1] - 1)], np.ones((len(x), 1))], axis=1)
                here = (code == c) & seen[:, h]
                one, two = here & half, here & ~half
                away = [
                    np.square(y[b, h] - wide[b] @ ridge(wide[a], y[a, h], penalty)).sum(0)
                    for a, b in ((one, two), (two, one))
                ]
                each.append((sum(away), here.sum(), ridge(wide[here], y[here, h], penalty)))
            found.append(each)
        best = min(found, key=lambda each: sum(error.sum() for error, _, _ in each))
        for h, (error, count, weights) in enumerate(best):
            solution[c, h] = weights
            scale[c, h] = np.where(error > 0, np.sqrt(error / max(count, 1)), 1)
    return solution, scale


def made(pattern: str, more: int) -> tuple[Any, ...]:
    """Inputs, truth, presence, codes and windows of rows; of some code there may be none."""
    draws = torch.Generator().manual_seed(len(pattern) + more)
    n = 90
    same = 3 * torch.randn(n, L, D, generator=draws).double()
    each = 2 * torch.randn(n, H, more, generator=draws).double()
    inputs = Inputs(same, each if more else None)
    weights = torch.randn(H, L * D + more, D, generator=draws).double()
    ahead = torch.einsum("phf,hfd->phd", flat(inputs), weights)
    ahead = ahead + torch.randn(ahead.shape, generator=draws).double()
    present = torch.ones(n, H, dtype=torch.bool)
    if pattern == "ends":  # rows that stop for good, as in a play that is over
        present = torch.arange(H) < torch.randint(1, H + 1, (n, 1), generator=draws)
    elif pattern == "blocks":
        present[::3, : H // 2] = False
    elif pattern == "scattered":
        present = torch.rand(n, H, generator=draws) > 0.3
    ahead = torch.where(present[..., None], ahead, torch.nan)
    codes = torch.randint(CODES - 1, (n,), generator=draws)
    return inputs, ahead, present, codes, torch.arange(n) // 2


def flat(inputs: Inputs) -> Tensor:
    """All inputs (P, H, ...) of each step, written out."""
    every = inputs.same.flatten(1)[:, None].expand(-1, H, -1)
    return every if inputs.each is None else torch.cat([every, inputs.each], dim=-1)


def layer_for(inputs: Inputs) -> LinearForecast:
    """A linear forecast from so many inputs."""

    class Wide(LinearForecast):
        def n_inputs(self, task):
            return flat(inputs).shape[-1]

    return Wide(TASK).double()


@torch.no_grad()
@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("pattern", ["whole", "ends", "blocks", "scattered"])
def test_steps_that_are_solved_together_are_those_solved_alone(pattern, more):
    inputs, ahead, present, codes, scene = made(pattern, more)
    layer = layer_for(inputs)
    layer.fit(inputs, ahead, present, codes, scene)
    half = (2 * scene < scene.amax() + 1).numpy()
    solution, scale = by_step(
        flat(inputs).numpy(), ahead.numpy(), present.numpy(), half, codes.numpy()
    )
    weight, bias = (x.unflatten(0, layer.shape) for x in layer.weight.parameters())
    np.testing.assert_allclose(weight, solution[:, :, :-1].swapaxes(2, 3), atol=1e-9)
    np.testing.assert_allclose(bias, solution[:, :, -1], atol=1e-9)
    np.testing.assert_allclose(layer.error_scale, scale, rtol=1e-9)
    every = torch.einsum("phf,chdf->pchd", flat(inputs), weight) + bias
    found = layer(inputs, codes)
    torch.testing.assert_close(found, every[torch.arange(len(codes)), codes], atol=1e-9, rtol=0)


@pytest.mark.parametrize(("pattern", "wanted"), [("whole", 1), ("blocks", 2), ("scattered", H)])
def test_one_gram_matrix_for_each_pattern(pattern, wanted, monkeypatch):
    inputs, ahead, present, codes, scene = made(pattern, 0)
    assert len(steps_alike(present)) == wanted
    assert sorted(torch.cat(steps_alike(present)).tolist()) == [*range(H)]
    formed, of = [], Moments.of
    monkeypatch.setattr(Moments, "of", lambda *rows: formed.append(rows) or of(*rows))
    LinearForecast(TASK).fit(inputs, ahead, present, torch.zeros_like(codes), scene)
    assert len(formed) == 2 * (wanted + CODES - 1), "two halves; codes of no rows have one"


@torch.no_grad()
def test_steps_of_different_patterns_must_not_be_solved_together(monkeypatch):
    """The twin that takes all steps for alike reads cells that are missing."""
    rows = made("blocks", 0)
    layer = LinearForecast(TASK).double()
    monkeypatch.setattr(linear, "steps_alike", lambda present: [torch.arange(present.shape[1])])
    layer.fit(*rows)
    good = LinearForecast(TASK).double()
    monkeypatch.undo()
    good.fit(*rows)
    assert not torch.allclose(layer.weight.weight, good.weight.weight, atol=1e-3)
