"""Random numbers come from generators that are handed down; nobody else's are touched."""

from __future__ import annotations

import logging
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hierforecast import Forecaster, HiPerformer, Ridge, SeasonalNaive
from hierforecast._random import Passes, drawing, draws_by_itself, mixed, seeded
from hierforecast.nn.dropout import Dropout
from tests.helpers import QUIET, make_frame, tiny
from tests.killing import run

HEADS = ["lowrank", "gaussian", "student", "returns", "rows", "mixture"]


@contextmanager
def untouched() -> Iterator[None]:
    """Fails if a global generator is read or written."""
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    yield
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    assert torch.equal(before[0], after[0]) and before[1] == after[1]
    np.testing.assert_array_equal(before[2], after[2])


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture(scope="module", params=HEADS)
def fitted(request, frame) -> Forecaster:
    return tiny(HiPerformer(16, 1, 2, patch=4, head=request.param)).fit(frame)


def weights(forecaster: Forecaster) -> list[torch.Tensor]:
    return list(forecaster.model_.state_dict().values())


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


# --- the verbs -----------------------------------------------------------------------------------


def test_no_verb_touches_a_global_generator(fitted, frame):
    with untouched():
        fitted.predict(frame, level=[80])
        fitted.backtest(frame)
        first = fitted.sample(frame, 3), fitted.evaluate(frame), fitted.sample(frame, 3, seed=5)
    torch.manual_seed(99)
    again = fitted.sample(frame, 3), fitted.evaluate(frame), fitted.sample(frame, 3, seed=5)
    for one, other in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert not first[0].equals(first[2])


class Custom(HiPerformer):
    """A user's own: dropout of torch's, and noise in its loss."""

    def build(self, task: Any) -> None:
        super().build(task)
        self.own = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))

    def loss(self, batch: Any, future: Any) -> torch.Tensor:
        return super().loss(batch, future) + 0.1 * self.own(torch.randn(8, 1)).square().mean()


@pytest.mark.parametrize(
    "model", [HiPerformer(8, 1, 2), Custom(8, 1, 2), Ridge(), SeasonalNaive(3)]
)
def test_a_fit_touches_no_global_generator_and_follows_its_seed(model, frame):
    with untouched():
        first = tiny(model).fit(frame)
    torch.manual_seed(99)
    assert equal(weights(first), weights(tiny(model).fit(frame)))
    if first.model_.state_dict().keys() & {"own.0.weight"}:
        assert not equal(weights(first), weights(tiny(model, seed=1).fit(frame)))


def test_eight_threads_get_what_one_gets(fitted, frame):
    verbs: list[Callable[[], Any]] = [
        lambda: fitted.predict(frame, level=[80]),
        lambda: fitted.sample(frame, 3, seed=7),
        lambda: fitted.evaluate(frame, n_samples=3),
    ]
    expected = [verb() for verb in verbs]
    with ThreadPoolExecutor(8) as pool:
        calls = [(turn % 3, pool.submit(verbs[turn % 3])) for turn in range(8 * 12)]
    for number, call in calls:
        pd.testing.assert_frame_equal(call.result(), expected[number], check_exact=True)


def test_fits_at_once_are_each_like_alone_and_leave_everything_as_it_was(frame):
    """Other precisions too, which Lightning sets for all threads; and somebody who draws."""
    plans = [{"seed": 1}, {"seed": 2}, {"trainer": {**QUIET, "precision": "64-true"}},
             {"trainer": {**QUIET, "precision": "bf16-true"}}]  # fmt: skip

    def fit(plan: dict[str, Any]) -> list[torch.Tensor]:
        return weights(tiny(HiPerformer(8, 1, 2), max_steps=12, **plan).fit(frame))

    alone = [fit(plan) for plan in plans]
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    before = list(warnings.filters), [logger.level for logger in loggers], torch.get_default_dtype()
    done, drawn = threading.Event(), list[float]()

    def draw() -> None:
        while not done.is_set() or len(drawn) < 1000:
            drawn.append(float(torch.rand(())))

    torch.manual_seed(5)
    other = threading.Thread(target=draw)
    other.start()
    with ThreadPoolExecutor(len(plans)) as pool:
        together = [call.result() for call in [pool.submit(fit, plan) for plan in plans]]
    done.set()
    other.join()
    assert all(equal(one, two) for one, two in zip(alone, together, strict=True))
    torch.manual_seed(5)
    assert drawn == [float(torch.rand(())) for _ in drawn]
    after = list(warnings.filters), [logger.level for logger in loggers], torch.get_default_dtype()
    assert before == after


def test_filters_of_others_survive_overlapping_fits(frame):
    """Someone turns warnings into errors while two fits run, in whichever order they end."""
    pytest.importorskip("lightning")
    from hierforecast._lightning import undisturbed

    before = list(warnings.filters)
    first, second = undisturbed(), undisturbed()
    first.__enter__()
    with warnings.catch_warnings():
        second.__enter__()
        warnings.simplefilter("error", RuntimeWarning)
        first.__exit__(None, None, None)
        assert warnings.filters[0][:3] == ("error", None, RuntimeWarning)
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before


FIRST = """
    import sys, warnings
    from concurrent.futures import ThreadPoolExecutor
    from tests.helpers import make_frame, tiny
    assert "lightning" not in sys.modules
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        for call in [pool.submit(tiny().fit, make_frame()) for _ in range(2)]:
            call.result()
    assert "lightning" in sys.modules and list(warnings.filters) == before
"""


@pytest.mark.slow
def test_the_first_fits_of_a_process_leave_the_warning_filters(tmp_path):
    assert run(FIRST, tmp_path) == 0


# --- the tools -----------------------------------------------------------------------------------

X = torch.ones(40, 4)
DRAWS: dict[str, Callable[[], torch.Tensor]] = {
    "weights": lambda: nn.Linear(3, 4).weight,
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(4, 4)),
    "truncated": lambda: nn.init.trunc_normal_(torch.empty(40)),
    "randperm": lambda: torch.randperm(50),
    "rand": lambda: torch.rand(3, dtype=torch.float64),
    "rand_like": lambda: torch.rand_like(X),
    "randn_like": lambda: torch.randn_like(X, dtype=torch.float64),
    "randint_like": lambda: torch.randint_like(X, 7) + torch.randint_like(X, 3, 7),
    "randint": lambda: torch.randint(3, (9,)) + torch.randint(3, 9, (9,)),
    "multinomial": lambda: torch.multinomial(torch.ones(9), 4),
    "bernoulli": lambda: torch.bernoulli(X * 0.5),
    "normal": lambda: torch.normal(X, 1.0),
    "dropout": lambda: F.dropout(X),
    "native dropout": lambda: torch.native_dropout(X, 0.3, True)[0],
    "attention": lambda: F.scaled_dot_product_attention(*3 * [X[None, None]], dropout_p=0.5),
    "lstm": lambda: nn.LSTM(4, 4, 2, dropout=0.5)(X[:, None])[0],
    "student": lambda: torch.distributions.StudentT(3.0, X, 1.0).rsample((2,)),
    "beta": lambda: torch.distributions.Beta(X, 2.0).rsample(),
    "poisson": lambda: torch.poisson(X),
}


@pytest.mark.filterwarnings("ignore:RNN module weights")
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_drawing_gives_the_global_generator_s_numbers_and_leaves_it_alone(draw):
    torch.manual_seed(5)
    expected = draw()
    with untouched():
        generator = seeded(5)
        with drawing(generator):
            assert torch.equal(draw(), expected)
            assert not torch.equal(draw(), expected), "the next ones follow"
        with drawing(seeded(5)):
            assert torch.equal(draw(), expected)
    with drawing(None):
        draw()


def test_drawing_reaches_its_own_thread_and_other_devices():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with drawing(seeded(8)), ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(torch.rand, 2).result(), expected)
    with untouched(), drawing(seeded(8)):  # drawn on the CPU and moved
        made = torch.rand(3, device="meta")
    assert made.is_meta and made.shape == (3,)


def test_draws_come_from_the_generator_that_is_given(fitted, frame):
    law, _ = fitted.distribution(frame)
    with untouched():
        first = law.sample((5,), torch.Generator().manual_seed(3))
        again = law.sample((5,), torch.Generator().manual_seed(3))
        other = law.sample((5,), torch.Generator().manual_seed(4))
    torch.manual_seed(3)
    assert torch.equal(first, again) and torch.equal(first, law.sample((5,)))
    assert not torch.equal(first, other)
    if law.has_rsample:
        assert torch.equal(first, law.rsample((5,), torch.Generator().manual_seed(3)))
    else:
        with pytest.raises(NotImplementedError, match="has no gradients of draws"):
            law.rsample()


def test_dropout_with_a_generator_is_torch_s():
    layer = Dropout(0.3)
    torch.manual_seed(2)
    expected = nn.Dropout(0.3)(X)
    layer.generator = seeded(2)
    with untouched():
        assert torch.equal(layer(X), expected)
    assert torch.equal(layer.eval()(X), X)
    nothing = Dropout(1.0)
    nothing.generator = seeded(2)
    assert not nothing(X).any() and nothing(X).isfinite().all()


def test_who_draws_by_itself():
    assert not draws_by_itself(HiPerformer(8, 1, 2))
    assert draws_by_itself(Custom(8, 1, 2)) and draws_by_itself(nn.Sequential(nn.Dropout(0.1)))


def test_passes_show_everything_once_before_anything_twice():
    passes = Passes(10, 4, seed=3)
    seen = np.concatenate([passes.batch(number) for number in range(5)]).reshape(2, 10)
    assert [sorted(one) for one in seen.tolist()] == 2 * [list(range(10))]
    assert seen[0].tolist() != seen[1].tolist()
    np.testing.assert_array_equal(Passes(10, 4, seed=3).batch(2), passes.batch(2))
    assert Passes(3, 8, seed=0).batch(1).shape == (8,)
    assert len({mixed(0, a, b) for a in range(10) for b in range(10)}) == 100
