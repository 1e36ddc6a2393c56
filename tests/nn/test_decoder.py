"""The decoder, step by step from its own token, and the linear forecast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hierforecast.nn.decoder import Decoder, ShapeDecoder
from hierforecast.nn.linear import PENALTIES, Inputs, LinearForecast
from hierforecast.testing import assert_equivariant, randomize_
from tests.helpers import H, L
from tests.rows import TASK

WIDTH = 8


def test_the_decoder_tells_each_step_from_its_own_token():
    decoder = randomize_(Decoder(WIDTH, 3, n_locs=2, n_features=5, prediction_length=7).double())
    tokens = torch.randn(2, 3, WIDTH).double()
    told = decoder(tokens)
    assert [x.shape for x in told] == [(2, 7, 2), (2, 7, 5)]
    for token in range(3):
        other = tokens.clone()
        other[:, token] += torch.randn(WIDTH)
        for before, after in zip(told, decoder(other), strict=True):
            moved = (after - before).abs().amax((0, 2)).nonzero()[:, 0].tolist()
            assert moved == list(range(3 * token, min(7, 3 * token + 3)))
    assert_equivariant(decoder, tokens, lambda x: x.flip(0), lambda x: x.flip(0))


def test_the_shape_teaches_the_encoder_nothing():
    decoder = randomize_(Decoder(WIDTH, 3, n_locs=2, n_features=5, prediction_length=7))
    tokens = torch.randn(2, 3, WIDTH, requires_grad=True)
    mean, shape = decoder(tokens)
    (of_shape,) = torch.autograd.grad(shape.sum(), tokens, retain_graph=True, allow_unused=True)
    (of_mean,) = torch.autograd.grad(mean.square().sum(), tokens)
    assert of_shape is None and (of_mean != 0).any()


def test_the_mean_begins_at_exactly_zero_and_learns_from_the_first_step_on():
    decoder = Decoder(WIDTH, 3, n_locs=2, n_features=5, prediction_length=7)
    mean, shape = decoder(torch.randn(2, 3, WIDTH))
    assert not mean.any() and (shape != 0).all() and shape.abs().max() < 1
    (mean - 1).square().sum().backward()
    assert decoder.mean.weight.grad.abs().amax(1).gt(0).sum() == 3 * 2


def test_without_a_mean_to_learn_the_shape_teaches_the_encoder():
    decoder = ShapeDecoder(WIDTH, 3, n_locs=2, n_features=5, prediction_length=7)
    tokens = torch.randn(2, 3, WIDTH, requires_grad=True)
    mean, shape = decoder(tokens)
    assert torch.equal(mean, torch.zeros(2, 7, 2))
    (of_shape,) = torch.autograd.grad(shape.square().sum(), tokens)
    assert (of_shape != 0).any()


@pytest.mark.parametrize("kind", [Decoder, ShapeDecoder])
def test_several_tokens_have_a_level_of_each_step(kind):
    """Whatever the tokens say, the first step ahead can be told from that of a later token."""
    sizes = {"n_locs": 2, "n_features": 5, "prediction_length": 7}
    assert kind(WIDTH, 7, **sizes).level is None and kind(WIDTH, 9, **sizes).level is None
    decoder = kind(WIDTH, 3, **sizes)
    tokens = torch.randn(2, 3, WIDTH)
    mean, shape = decoder(tokens)
    with torch.no_grad():
        decoder.level[3] += 0.1
    after_mean, after = decoder(tokens)
    assert torch.equal(mean, after_mean)
    wanted = 3 * np.tanh(0.1) * torch.eye(7)[3][None, :, None].expand(2, 7, 5)
    torch.testing.assert_close(after - shape, wanted, rtol=1e-4, atol=1e-6)


def test_levels_are_learned_three_times_as_fast_and_are_bounded():
    decoder = ShapeDecoder(WIDTH, 3, n_locs=2, n_features=5, prediction_length=7)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3, weight_decay=0)
    decoder(torch.zeros(2, 3, WIDTH))[1].sum().backward()
    before = decoder(torch.zeros(2, 3, WIDTH))[1]
    for parameter in set(decoder.parameters()) - {decoder.level}:
        parameter.grad = None
    optimizer.step()
    after = decoder(torch.zeros(2, 3, WIDTH))[1]
    torch.testing.assert_close(before - after, torch.full_like(after, 3e-3), rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        decoder.level.fill_(1e6)
    far = decoder(torch.zeros(2, 3, WIDTH))[1]
    torch.testing.assert_close(far - before, torch.full_like(far, 3.0), rtol=1e-5, atol=0)


# --- the linear forecast -------------------------------------------------------------------------


def linear_data(n: int = 400) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    history = torch.randn(n, L, 2).double()
    types = torch.arange(n) % 2
    weights = torch.randn(2, H * 2, L * 2).double()
    ahead = (weights[types] @ history.flatten(1)[..., None])[..., 0].unflatten(1, (H, 2))
    return history, ahead + 3 * types[:, None, None], torch.rand(n, H) > 0.3, types


@torch.no_grad()
def test_ridge_finds_a_linear_relation_of_each_type():
    history, ahead, present, types = linear_data()
    layer = LinearForecast(TASK).double()
    layer.fit(
        Inputs(history),
        torch.where(present[..., None], ahead, torch.nan),
        present,
        types,
        torch.arange(len(types)),
        0.0,
    )
    error, wrong = (layer(Inputs(history), kinds) - ahead for kinds in (types, 1 - types))
    assert error.square().mean() < 0.02 * ahead.square().mean() < 0.05 * wrong.square().mean()


@torch.no_grad()
def test_ridge_is_the_closed_form():
    history, ahead, present, types = linear_data(60)
    layer = LinearForecast(TASK).double()
    layer.fit(Inputs(history), ahead, present, types, torch.arange(60), penalty=0.5)
    kind, step = 1, 2
    rows = ((types == kind) & present[:, step]).numpy()
    every = np.concatenate([history.flatten(1).numpy(), np.ones((60, 1))], axis=1)
    x, y = every[rows], ahead[:, step].numpy()[rows]
    ridge = (x[:, :-1] ** 2).mean() * max(0.5 * len(x), 10)
    # Ridge is least squares with rows that pull the weights to zero.
    pull, zero = np.sqrt(ridge) * np.eye(x.shape[1]), np.zeros((x.shape[1], 2))
    wanted = np.linalg.lstsq(np.concatenate([x, pull]), np.concatenate([y, zero]), rcond=None)[0]
    found = layer(Inputs(history), torch.full_like(types, kind))[:, step]
    np.testing.assert_allclose(found, every @ wanted, atol=1e-8)


@torch.no_grad()
def test_ridge_of_no_rows_says_zero():
    layer = LinearForecast(TASK)
    history = torch.randn(5, 1, L, 2)
    nothing = torch.zeros(5, H, dtype=torch.bool)
    layer.fit(Inputs(history), torch.full((5, H, 2), torch.nan), nothing, *torch.zeros(2, 5).long())
    assert (layer(Inputs(history), torch.ones(5, dtype=torch.int64)) == 0).all()


@torch.no_grad()
@pytest.mark.parametrize("noisy", [False, True])
def test_the_penalty_is_chosen_on_held_out_windows(noisy):
    """Of a law there is to learn nearly none; of noise in few windows the largest."""
    history, ahead, present, types = linear_data(60)
    if noisy:
        ahead = torch.randn_like(ahead)
    layers = {penalty: LinearForecast(TASK).double() for penalty in (None, *PENALTIES)}
    for penalty, layer in layers.items():
        layer.fit(Inputs(history), ahead, present, types, torch.arange(60), penalty)
    chosen = PENALTIES[-1] if noisy else PENALTIES[0]
    assert torch.equal(layers[None].weight.weight, layers[chosen].weight.weight)


@torch.no_grad()
def test_the_spread_is_that_of_held_out_errors():
    """Errors on the rows that a fit has seen would be far too small."""
    history, ahead, present, types = linear_data(60)
    layer = LinearForecast(TASK).double()
    noise = torch.randn_like(ahead)
    layer.fit(Inputs(history), noise, torch.ones_like(present), types, torch.arange(60), 0.0)
    seen = (noise - layer(Inputs(history), types)).square().mean().sqrt()
    assert seen < 0.9 < 1.0 < layer.error_scale[:2].mean()
