"""How wide paths through gaps are: learned from held-out windows, by type and length of gap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hierforecast import DataError, Forecaster, HiPerformer
from hierforecast.datasets import simulate_basketball
from hierforecast.distributions import LowRankNormal
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.inference import Forecasts, scores
from hierforecast.inference.gap_widths import (
    OPEN,
    SHORTEST,
    GapWidths,
    bins_of,
    learn_gap_widths,
    stretched,
)
from hierforecast.nn.heads import CoupledHead, LowRankHead, MixtureHead
from tests.helpers import COLUMNS, QUIET, H, make_frame, random_weights, tiny

KEYS = ["scene", "unique_id", "ds"]
HEADS: dict[str, Any] = {
    "memory": LowRankHead(3, 2, memory=2),
    "coupled": CoupledHead(),
    "mixture": MixtureHead(3, 2, 2, memory=2),
    "rows": "rows",
    "gaussian": "gaussian",
}


class Narrow(nn.Module):
    """A model whose distribution is half as wide."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any) -> Any:
        return stretched(self.model(batch), torch.tensor(0.5))


def gappy() -> pd.DataFrame:
    frame = make_frame(2, missing=0.0, seed=1)
    gone = (frame.unique_id == "home_1") & frame.ds.isin([13, 14])
    gone |= (frame.unique_id == "away_2") & (frame.ds == 14)
    return frame[~gone].reset_index(drop=True)


def widths(two: float = 1.0, one: float = 1.0) -> GapWidths:
    """Of two types, the second of them players."""
    factor = torch.ones(2, 1 + OPEN)
    factor[1, :2] = torch.tensor([one, two])
    return GapWidths(factor)


@pytest.fixture(scope="module")
def simulated() -> tuple[Forecaster, Forecasts]:
    """A short fit, and its forecasts of windows that it has not seen."""
    train, val = (simulate_basketball(n_scenes=n, seed=s) for n, s in ((40, 0), (30, 1)))
    lengths = {"context_length": 20, "prediction_length": 12}
    model = HiPerformer(16, 1, 2, patch=10, scale="mirrored")
    given = {"columns": COLUMNS, "max_steps": 20, "trainer": QUIET}
    forecaster = Forecaster(model, **lengths, **given).fit(train, val)
    return forecaster, forecasts_of(forecaster, val, Rolling(stride=6))


def test_bins_by_hand():
    missing = torch.tensor([
        [1, 0, 1, 1, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 1, 0],
        [1, 1, 0, 0, 0, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]).bool()  # fmt: skip
    six = SHORTEST.index(6)
    expected = torch.full((5, 8), -1)
    expected[0, [0, 2, 3]] = torch.tensor([0, 1, 1])
    expected[1, 1:7] = six
    expected[2, :2], expected[2, 5:] = 1, OPEN
    expected[3] = OPEN
    assert torch.equal(bins_of(missing), expected)
    assert bins_of(missing[:0]).shape == (0, 8)


@pytest.mark.parametrize("head", HEADS)
def test_a_factor_moves_interval_ends_and_draws_alone(head: str):
    """About the same points: of gaps of two steps twice as wide, of one step as before."""
    forecaster = random_weights(HiPerformer(16, 1, 2, patch=4, head=HEADS[head]))
    forecaster.gap_widths_ = None
    frame, names = gappy(), ["HiPerformer_x", "HiPerformer_y"]
    plain, draws = forecaster.impute(frame, level=80), forecaster.impute(frame, n=3)
    forecaster.gap_widths_ = widths(two=2.0)
    wide, far = forecaster.impute(frame, level=80), forecaster.impute(frame, n=3)
    np.testing.assert_allclose(wide[names], plain[names], rtol=0, atol=1e-8)
    factor = np.where(plain.unique_id == "home_1", 2.0, 1.0)
    for name in names:
        for end in ("lo", "hi"):
            before, after = (each[f"{name}-{end}-80"] - each[name] for each in (plain, wide))
            np.testing.assert_allclose(after, factor * before, rtol=1e-6, atol=1e-7)
        mean = np.tile(plain[name], 3)
        expected = mean + np.tile(factor, 3) * (draws[name] - mean)
        np.testing.assert_allclose(far[name], expected, rtol=1e-6, atol=1e-6)


def test_a_distribution_too_certain_by_half_is_found_out(simulated: Any):
    """Windows whose distribution was made narrower ask for factors that take it back."""
    _, forecasts = simulated
    usual = learn_gap_widths(forecasts, 0).factor[1, :OPEN]
    narrow = replace(forecasts, model=Narrow(forecasts.model))
    found = learn_gap_widths(narrow, 0).factor[1, :OPEN]
    seen = torch.tensor([each < 12 for each in SHORTEST])
    ratio = (found / usual)[seen]
    assert ((ratio > 1.6) & (ratio < 2.4)).all()
    assert (usual[~seen][1:] == 1).all()  # there are no such gaps


def test_intervals_cover_what_they_say_after_that(simulated: Any):
    """Of other games, with gaps of a length; those of a distribution half as wide do not."""
    forecaster, forecasts = simulated
    learned = learn_gap_widths(forecasts, 0)
    test = simulate_basketball(n_scenes=60, seed=2)
    hidden = test.unique_id.isin(["home_1", "away_2"]) & test.ds.between(30, 33)
    covered = []
    for factor in (learned.factor, learned.factor / 2):
        forecaster.gap_widths_ = GapWidths(factor)
        found = forecaster.impute(test[~hidden], level=90).merge(test, on=KEYS)
        inside = [
            found[x].between(found[f"HiPerformer_{x}-lo-90"], found[f"HiPerformer_{x}-hi-90"])
            for x in "xy"
        ]
        covered.append(np.mean(inside))
    assert 0.84 < covered[0] < 0.96 and covered[1] < 0.75


def test_chance_changes_nothing():
    """A few windows of the fit itself leave the factors at one, or close to it."""
    forecaster = tiny().fit(make_frame())
    found = forecaster.gap_widths_
    assert found is not None and found.factor.shape == (2, 1 + OPEN)
    assert (found.factor == 1).sum() > found.factor.numel() // 2


def test_they_are_saved_and_travel(tmp_path: Path):
    forecaster = tiny().fit(make_frame())
    forecaster.gap_widths_ = widths(two=1.5, one=0.5)
    found = forecaster.impute(gappy(), level=90)
    forecaster.save(tmp_path / "one")
    loaded = Forecaster.load(tmp_path / "one")
    assert torch.equal(loaded.gap_widths_.factor, forecaster.gap_widths_.factor)
    pd.testing.assert_frame_equal(loaded.impute(gappy(), level=90), found)
    forecaster.gap_widths_ = None  # as saved by an earlier version
    forecaster.save(tmp_path / "two")
    assert Forecaster.load(tmp_path / "two").gap_widths_ is None


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda x: x[:, 1:], "for"),
        (lambda x: x.double(), "float64"),
        (lambda x: x - 1, "out of 0.1..10"),
        (lambda x: torch.full_like(x, torch.nan), "out of 0.1..10"),
    ],
)
def test_spoiled_widths_are_refused(tmp_path: Path, spoil: Any, what: str):
    forecaster = tiny().fit(make_frame())
    forecaster.gap_widths_ = GapWidths(spoil(widths().factor))
    forecaster.save(tmp_path / "one")
    with pytest.raises(DataError, match=f"gap widths that cannot be used .*{what}"):
        Forecaster.load(tmp_path / "one")


def test_a_fit_learns_none_where_it_cannot(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(scores, "WORK", 1)
        assert tiny().fit(make_frame()).gap_widths_ is None

    def refuse(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(LowRankNormal, "_condition", refuse)
    assert tiny().fit(make_frame()).gap_widths_ is None


def test_renamed_and_shuffled_series_get_the_same_paths():
    forecaster = random_weights(HiPerformer(16, 1, 2, patch=4, head=HEADS["coupled"]))
    forecaster.gap_widths_ = widths(two=1.5, one=0.5)
    frame = gappy()
    names = {"home_1": "home_0", "home_0": "home_1", "away_2": "away_0", "away_0": "away_2"}
    other = frame.assign(unique_id=frame.unique_id.replace(names)).sample(frac=1, random_state=0)
    found = forecaster.impute(frame, level=90)
    there = forecaster.impute(other, level=90)
    there = there.assign(unique_id=there.unique_id.replace(names)).sort_values(KEYS)
    assert len(found) == 3 * 2 and found.HiPerformer_x.std() > 0
    np.testing.assert_allclose(
        found.sort_values(KEYS).drop(columns=KEYS), there.drop(columns=KEYS), rtol=0, atol=1e-8
    )
    assert forecaster.prediction_length == H
