"""Logistic regression as a probe of classes, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import Features, LogisticProbe, Score, average_precision
from hierforecast.image_ssl.evaluation.probe import hold_out_classes

NAN = float("nan")


def fit(train: Features, penalty: float) -> LogisticProbe:
    return LogisticProbe([penalty]).fit(train)


def scored(train: Features, test: Features) -> Score:
    return LogisticProbe().fit(train).score(test)


def clouds(n: int, d: int = 8, classes: int = 3, spread: float = 1.0, seed: int = 0) -> Features:
    """Overlapping clouds on scales that differ from column to column."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99)).double()
    y = torch.randint(classes, (n,), generator=generator)
    x = centres[y] + spread * torch.randn(n, d, generator=generator).double()
    return Features(x * torch.logspace(-3, 3, d).double() + 5, y)


def several(n: int, seed: int = 0, known: float = 0.8) -> Features:
    """Images that show any of four classes, some of which are not known."""
    base = clouds(n, 6, 3, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    way = torch.randn(6, 4, generator=torch.Generator().manual_seed(5)).double()
    z = (base.x - base.x.mean(0)) / base.x.std(0)
    y = (z @ way + torch.randn(n, 4, generator=generator) > 0.8).double()
    y[torch.rand(n, 4, generator=generator) > known] = NAN
    return Features(base.x, y)


def standardized(train: Features, x: Tensor) -> np.ndarray:
    return ((x - train.x.mean(0)) / train.x.std(0, correction=0)).numpy()


@pytest.mark.parametrize("penalty", [1e-3, 1e-2, 1.0])
def test_one_class_an_image_against_scikit_learn(penalty):
    train, test = clouds(200), clouds(50, seed=1)
    probe = fit(train, penalty)
    oracle = LogisticRegression(C=1 / (len(train) * penalty), tol=1e-10, max_iter=10_000)
    oracle.fit(standardized(train, train.x), train.y)
    ours = probe.scores(test.x).softmax(1).numpy()
    assert np.allclose(ours, oracle.predict_proba(standardized(train, test.x)), atol=1e-5)
    assert np.allclose(probe.weight.T.numpy(), oracle.coef_, atol=1e-5)


@pytest.mark.parametrize("penalty", [1e-3, 1e-1])
def test_several_classes_an_image_against_scikit_learn(penalty):
    train, test = several(150), several(40, seed=3)
    scores = fit(train, penalty).scores(test.x)
    x, queries = standardized(train, train.x), standardized(train, test.x)
    for label in range(4):
        rows = ~train.y[:, label].isnan().numpy()
        assert not rows.all()
        oracle = LogisticRegression(C=1 / (rows.sum() * penalty), tol=1e-10, max_iter=10_000)
        oracle.fit(x[rows], train.y[rows, label])
        assert np.allclose(scores[:, label].numpy(), oracle.decision_function(queries), atol=1e-4)


def test_what_is_not_known_changes_nothing():
    train, test = several(150), several(40, seed=3)
    value = scored(train, test)
    assert value.metric == "mean AP"
    filled = Features(train.x, torch.where(train.y.isnan(), NAN, train.y))
    assert scored(filled, test) == value
    guessed = Features(train.x, train.y.nan_to_num(1.0))
    assert scored(guessed, test) != value


def test_mean_ap_is_that_of_the_scores():
    train, test = several(150), several(40, seed=3)
    probe = LogisticProbe().fit(train)
    slow = average_precision(probe.scores(test.x), test.y).mean()
    assert scored(train, test).value == pytest.approx(float(slow))


def test_single_precision_comes_close():
    train, test = clouds(300), clouds(100, seed=1)
    single = Features(train.x.float(), train.y)
    here, there = (fit(f, 1e-2).scores(test.x) for f in (train, single))
    assert there.dtype == torch.float32
    assert torch.allclose(here.softmax(1).float(), there.softmax(1), atol=2e-3)


def test_the_penalty_is_the_best_on_the_held_out_fifth():
    train = clouds(120, d=40, spread=2.5)
    probe = LogisticProbe((1e-4, 1e-2, 1.0, 10.0), seed=4).fit(train)
    held = hold_out_classes(train, seed=4)
    for penalty, value in probe.held_out.items():
        alone = fit(train[~held], penalty)  # from zero, where the search starts warm
        right = alone.scores(train.x[held]).argmax(1) == train.y[held]
        assert value == pytest.approx(float(right.double().mean()), abs=0.02)
    best = max(probe.held_out.values())
    assert best > min(probe.held_out.values())  # else there was nothing to choose
    assert probe.penalty == max(p for p, v in probe.held_out.items() if v == best)
    refit = fit(train, probe.penalty)
    assert torch.equal(refit.weight, probe.weight)  # learned from all, not by four fifths


def test_the_test_set_has_no_say():
    train, test = clouds(120, d=40, spread=2.5), clouds(60, d=40, spread=2.5, seed=1)
    wrong = Features(test.x, (test.y + 1) % 3)
    assert scored(train, test).settings == scored(train, wrong).settings


def test_a_fifth_of_each_class_is_held_out():
    y = torch.tensor([0] * 50 + [1] * 10 + [2] * 3 + [3])
    train = Features(torch.rand(len(y), 2), y)
    held = hold_out_classes(train)
    assert [int(held[y == label].sum()) for label in range(4)] == [10, 2, 1, 0]
    assert torch.equal(held, hold_out_classes(train))
    assert not torch.equal(held, hold_out_classes(train, seed=1))


def test_one_image_of_each_class():
    train = clouds(200)
    first = torch.stack([(train.y == label).nonzero()[0, 0] for label in range(3)])
    probe = LogisticProbe().fit(train[first])
    assert probe.penalty == 1e-2 and not probe.held_out
    assert (probe.scores(train.x[first]).argmax(1) == train.y[first]).all()


def test_the_same_call_gives_the_same():
    train, test = clouds(200), clouds(50, seed=1)
    torch.manual_seed(1)
    first = LogisticProbe().fit(train)
    torch.manual_seed(2)
    second = LogisticProbe().fit(train)
    assert torch.equal(first.scores(test.x), second.scores(test.x))


def test_features_that_vary_by_rounding_only_are_harmless():
    """Divided by their deviation they would tell the classes apart, and shout on the test set."""
    train, test = clouds(200), clouds(50, seed=1)
    dead = torch.full((200, 1), 0.3)
    dead[train.y == 0] = torch.nextafter(dead[:1], torch.ones(1, 1)).item()
    with_dead = Features(torch.cat([train.x.float(), dead], 1), train.y)
    probe = fit(with_dead, 1e-2)
    moved = torch.cat([test.x.float(), torch.full((50, 1), 0.3 + 1e-6)], 1)
    plain = fit(Features(train.x.float(), train.y), 1e-2).scores(test.x)
    assert torch.allclose(probe.scores(moved), plain, atol=1e-2)
    constant = Features(torch.cat([train.x, torch.ones(200, 1)], 1), train.y)
    assert fit(constant, 1e-2).weight[-1].abs().max() == 0


def test_class_numbers_may_have_gaps():
    train = clouds(100)
    gaps = Features(train.x, torch.tensor([1, 4, 7])[train.y], tuple("abcdefghi"))
    scores = fit(gaps, 1e-2).scores(train.x)
    assert scores.shape == (100, 9)
    torch.testing.assert_close(scores[:, [1, 4, 7]], fit(train, 1e-2).scores(train.x))
    assert set(scores.argmax(1).tolist()) <= {1, 4, 7}


def test_one_class_only():
    train = Features(torch.rand(5, 2), torch.ones(5).long(), ("cat", "dog"))
    with pytest.raises(DataError, match=r"all 5 training images are of class 'dog'"):
        scored(train, train)
    with pytest.raises(DataError, match="no class has both"):
        scored(*[Features(torch.rand(5, 2), torch.ones(5, 2))] * 2)


def test_a_class_that_training_lacks():
    train, test = clouds(60), clouds(30, seed=1)
    names = ("cat", "dog", "eel")
    poor = Features(train.x, train.y, names)[train.y < 2]
    with pytest.raises(DataError, match=r"1 classes of the test set have no training.*'eel'"):
        scored(poor, Features(test.x, test.y, names))
    train, test = several(60), several(30, seed=3)
    y = train.y.clone()
    y[:, 2] = 0
    with pytest.raises(DataError, match=r"no positive and negative.*number 2"):
        scored(Features(train.x, y), test)


def test_pairs_that_do_not_belong_together():
    train = clouds(60)
    with pytest.raises(DataError, match="8 columns, test features 7"):
        scored(train, Features(train.x[:, 1:], train.y))
    with pytest.raises(DataError, match="differ in kind"):
        scored(train, Features(train.x, torch.ones(60, 3)))
    with pytest.raises(DataError, match="no test image shows any class"):
        some = several(60)
        scored(some, Features(some.x, torch.zeros_like(some.y)))


@pytest.mark.parametrize("penalties", [(), (1.0, 0.0), (-1.0,)])
def test_penalties_must_be_positive(penalties):
    with pytest.raises(DataError, match="penalties are"):
        LogisticProbe(penalties).fit(clouds(30))


def test_passes_over_the_features_are_few():
    """Six penalties and the refit need some hundred; 1,600 steps would be allowed."""
    train = clouds(600, 64, 10, spread=12.0)
    assert 20 < LogisticProbe().fit(Features(train.x.float(), train.y)).steps < 200


def test_two_classes_are_a_softmax_of_two_columns():
    """One column of scikit-learn's with half the penalty: the optimum is that of the softmax."""
    train = clouds(200, classes=2)
    probe = fit(train, 0.1)
    x = torch.as_tensor(standardized(train, train.x))
    weight, bias = probe.weight.clone().requires_grad_(), probe.bias.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(x @ weight + bias, train.y)
    (loss + 0.1 / 2 * weight.square().sum()).backward()
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 1e-6
