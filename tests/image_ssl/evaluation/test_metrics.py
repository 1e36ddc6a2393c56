"""Accuracy and average precision against slow second implementations and scikit-learn."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import (
    accuracy,
    area,
    average_precision,
    eleven_points,
    mean_average_precision,
)

NAN = float("nan")


def ranking(n: int = 60, classes: int = 5, levels: int = 12, seed: int = 0):
    """Scores with many ties, and targets of which some are not known."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (n, classes)) / levels
    targets = (rng.random((n, classes)) < 0.3).astype(float)
    targets[rng.random((n, classes)) < 0.2] = NAN
    return torch.tensor(scores), torch.tensor(targets)


def slow_points(scores: list[float], targets: list[float]) -> list[tuple[Fraction, Fraction]]:
    """(recall, precision) of every threshold, in fractions, by counting anew for each."""
    known = [(s, t) for s, t in zip(scores, targets, strict=True) if not math.isnan(t)]
    positives = sum(t == 1 for _, t in known)
    points = []
    for threshold in sorted({s for s, _ in known}, reverse=True):
        above = [t for s, t in known if s >= threshold]
        hits = sum(t == 1 for t in above)
        points.append((Fraction(hits, positives), Fraction(hits, len(above))))
    return points


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [3, 12, 10_000])
def test_area_against_scikit_learn(seed, levels):
    scores, targets = ranking(levels=levels, seed=seed)
    got = average_precision(scores, targets)
    for label in range(5):
        known = ~targets[:, label].isnan()
        oracle = average_precision_score(targets[known, label], scores[known, label])
        assert float(got[label]) == pytest.approx(oracle, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [3, 12, 10_000])
def test_both_forms_against_fractions(seed, levels):
    scores, targets = ranking(levels=levels, seed=seed)
    areas = average_precision(scores, targets, area)
    elevens = average_precision(scores, targets, eleven_points)
    for label in range(5):
        points = slow_points(scores[:, label].tolist(), targets[:, label].tolist())
        last, total = Fraction(0), Fraction(0)
        for recall, precision in points:
            total += (recall - last) * precision
            last = recall
        assert float(areas[label]) == pytest.approx(float(total), abs=1e-12)
        best = [max(p for r, p in points if r >= Fraction(t, 10)) for t in range(11)]
        assert float(elevens[label]) == pytest.approx(float(sum(best) / 11), abs=1e-12)


def test_eleven_points_by_hand():
    # Ten positives; the third hit reaches a recall of exactly 0.3, which floats would miss.
    targets = torch.tensor([1.0, 1, 1, 0, *[0] * 6, *[1] * 7])
    scores = -torch.arange(17.0)
    tail = 10 / 17
    wanted = (4 * 1.0 + 7 * tail) / 11
    got = average_precision(scores[:, None], targets[:, None], eleven_points)
    assert float(got) == pytest.approx(wanted)


def test_perfect_and_useless_rankings():
    targets = torch.tensor([[1.0], [1.0], [0.0], [0.0], [0.0]])
    for form in (area, eleven_points):
        assert float(average_precision(targets, targets, form)) == 1.0
        # Without any knowledge: the share of positives, however the images happen to lie.
        assert float(average_precision(torch.zeros(5, 1), targets, form)) == pytest.approx(0.4)
        assert float(average_precision(torch.zeros(5, 1), targets.flip(0), form)) == (
            pytest.approx(0.4)
        )


def test_what_is_not_judged_is_as_if_it_were_not_there():
    scores, targets = ranking(classes=1)
    known = ~targets[:, 0].isnan()
    for form in (area, eleven_points):
        here = average_precision(scores, targets, form)
        assert torch.equal(here, average_precision(scores[known], targets[known], form))


def test_the_mean_leaves_out_classes_that_nobody_shows():
    scores, targets = ranking(classes=3)
    targets[:, 1] = 0
    each = average_precision(scores, targets)
    assert each.isnan().tolist() == [False, True, False]
    assert mean_average_precision(scores, targets) == pytest.approx(float(each[[0, 2]].mean()))
    targets[:, 1] = NAN
    assert average_precision(scores, targets)[1].isnan()
    assert math.isnan(mean_average_precision(scores, torch.zeros_like(targets)))


def test_accuracy():
    assert accuracy(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2])) == 0.75
    with pytest.raises(DataError, match="at least one"):
        accuracy(torch.zeros(0).long(), torch.zeros(0).long())
    with pytest.raises(DataError, match="one class number an image"):
        accuracy(torch.zeros(3, 2).long(), torch.zeros(3).long())


def test_scores_that_do_not_fit():
    with pytest.raises(DataError, match=r"must both be \(images, classes\)"):
        average_precision(torch.zeros(3, 2), torch.zeros(3, 1))
    with pytest.raises(DataError, match="scores are NaN"):
        average_precision(torch.full((3, 2), NAN), torch.ones(3, 2))
