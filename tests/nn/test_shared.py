"""What series share of their errors to begin with: planted shares are found, totals are as wide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.nn.head import Scenes
from hierforecast.nn.shared import SharedStart, waves
from hierforecast.nn.tails import TailsHead

STEPS, SCENES = 6, 400


def scenes_of(groups: list[list[int]], n_scenes: int, crossed: list[list[int]] | None = None):
    """Scenes of the same series: group of each, fine to coarse."""
    n = len(groups[0])
    scene = torch.arange(n_scenes).repeat_interleave(n)

    def numbered(level: list[int]) -> torch.Tensor:
        count = max(level) + 1
        return torch.tensor(level).repeat(n_scenes) + count * scene

    ways = tuple((numbered(level),) for level in crossed or [])
    return Scenes(scene, n_scenes, tuple(map(numbered, groups)), crossed=ways)


def planted(scenes: Scenes, shares: list[float], seed: int = 0) -> torch.Tensor:
    """Errors (P, H, 1) of variance one: what stays, what turns, and what groups share."""
    draws = torch.Generator().manual_seed(seed)
    stays, turns, *levels = shares
    wave = waves(STEPS, 2, torch.zeros(1).double())
    wave = wave / wave.square().mean(0).sqrt()
    rows, error = len(scenes.scene), 0.0
    for k, share in enumerate((stays, turns)):
        own = torch.randn(scenes.n_scenes, generator=draws).double()[scenes.scene]
        error = error + share**0.5 * own[:, None] * wave[:, k]
    for owner, count, share in zip(scenes.owners, scenes.counts, levels, strict=True):
        own = torch.randn(count, generator=draws).double()[owner]
        error = error + share**0.5 * own[:, None]
    rest = torch.randn(rows, STEPS, generator=draws).double()
    return (error + (1 - sum(shares)) ** 0.5 * rest)[..., None]


@pytest.mark.parametrize(
    ("groups", "crossed", "shares"),
    [
        ([[0, 0, 1, 1, 2, 2]], None, [0.3, 0.1, 0.2]),
        ([[0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 0, 1, 1, 1, 1]], None, [0.2, 0.1, 0.2, 0.1]),
        ([[0, 0, 0, 1, 1, 1]], [[0, 1, 2, 0, 1, 2]], [0.2, 0.0, 0.2, 0.2]),
        ([[0] * 5], None, [0.3, 0.2, 0.0]),
        ([[0, 1, 2, 3]], None, [0.3, 0.0, 0.0]),
    ],
)
def test_planted_shares_are_found(groups, crossed, shares):
    scenes = scenes_of(groups, SCENES, crossed)
    error = planted(scenes, shares)
    present = torch.ones(error.shape[:2], dtype=torch.bool)
    start = SharedStart(3, len(scenes.owners)).double()
    start.fit(error, present, scenes)
    found = start.shares.tolist()
    expected = [*shares[:2], 0.0, *shares[2:]]
    close = 0.06 if crossed is None else 0.1  # there the scene's share has some of theirs
    assert found == pytest.approx(expected, abs=close)
    # Rows with a missing cell count for nothing, whatever stands in it.
    holes = present & (torch.rand(present.shape, generator=torch.Generator().manual_seed(1)) > 0.05)
    garbage = torch.where(holes[..., None], error, torch.nan)
    start.fit(garbage, holes, scenes)
    assert start.shares.tolist() == pytest.approx(expected, abs=close + 0.02)
    start.fit(error, present & False, scenes)
    assert not start.shares.any()


def test_loads_have_the_shares_in_the_distribution():
    scenes = scenes_of([[0, 0, 1, 1]], 1)
    head = TailsHead()
    start = SharedStart(head.shares, 1).double()
    start.shares[:2], start.shares[-1] = torch.tensor([0.3, 0.2]), 0.1
    scenes = scenes._replace(shared=start.loads(STEPS))
    loc = torch.zeros(4, STEPS, 1).double()
    shape = torch.zeros(4, STEPS, head.features(1, 1)).double()
    base = head(loc, loc + 1, shape, scenes).base
    draws = base.sample((40_000,), torch.Generator().manual_seed(0))[..., 0]
    assert draws.var(0).mean() == pytest.approx(1, abs=0.02)

    def together(one: int, other: int) -> float:
        return float((draws[:, one] * draws[:, other]).mean())

    # A latent of each series stays too, so of what is not shared a fifth is along time.
    rest = 1 - 0.6
    factor = (1 + 0.6 / rest) / (1.25 + 0.6 / rest)
    assert together(0, 2) == pytest.approx(0.5 * factor, abs=0.02)
    assert together(0, 1) == pytest.approx(0.6 * factor, abs=0.02)
    first, last = (draws[:, 0, h] * draws[:, 2, k] for h, k in ((0, 1), (0, STEPS - 1)))
    assert first.mean() > 0.1 + last.mean(), "what turns is of another sign at the end"


def shops(seed: int, shared: float = 0.7) -> pd.DataFrame:
    """Weekly sales of six shops: a season, and shocks that all of them share."""
    rng, weeks = np.random.default_rng(seed), 140
    level = 50 + 10 * np.sin(np.arange(weeks) * 2 * np.pi / 52)
    common = rng.normal(size=weeks) * shared**0.5
    own = rng.normal(size=(6, weeks)) * (1 - shared) ** 0.5
    y = np.maximum(level + 5 * (common + own), 0)
    ds = pd.date_range("2020-01-03", periods=weeks, freq="W-FRI")
    return pd.DataFrame(
        {"unique_id": np.repeat([*"abcdef"], weeks), "ds": np.tile(ds, 6), "y": y.reshape(-1)}
    )


def test_totals_of_demand_are_as_uncertain_as_they_are_and_one_shop_tells_of_others(monkeypatch):
    frame = shops(0)
    test, times = frame, np.sort(frame.ds.unique())
    options = {"columns": Columns(group=None), "max_steps": 1, "batch_size": 8}
    options |= {"trainer": {"enable_progress_bar": False, "accelerator": "cpu"}}

    def width(**how) -> float:
        model = HiPerformer(16, 1, 2, scale="demand")
        plan = Forecaster(model, context_length=26, prediction_length=4, **options)
        forecaster = plan.fit(frame[frame.ds < times[110]])
        history = test[test.ds < times[110]]
        total = forecaster.sample(history, 400, by=(), seed=0)
        each = forecaster.sample(history, 400, seed=0)
        ratio = (
            total.groupby("ds").HiPerformer.var().mean()
            / each.groupby(["unique_id", "ds"]).HiPerformer.var().groupby("ds").sum().mean()
        )
        plan = each[(each.sample_id == 0) & (each.unique_id == "a")].rename(
            columns={"HiPerformer": "y"}
        )[["unique_id", "ds", "y"]]
        low, high = (
            forecaster.predict(history, given=plan.assign(y=plan.y + more)) for more in (-9, 9)
        )
        other = high[high.unique_id == "b"].HiPerformer.mean() - (
            low[low.unique_id == "b"].HiPerformer.mean()
        )
        return float(ratio), float(other)

    wide, told = width()
    assert wide > 2.5 and told > 4, "six shops that share .7 of their errors"
    monkeypatch.setattr(SharedStart, "fit", lambda *given: None)
    narrow, untold = width()
    assert narrow < 1.5 and abs(untold) < 1.5, "the broken twin"
