"""Growth: exact above and below the median, and learned only where held-out windows say so."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.distributions import LimitedSinh, Log, LowRankNormal, SceneDistribution, Warped
from hierforecast.errors import SeriesDroppedWarning
from hierforecast.nn import growth as module
from hierforecast.nn.growth import Growth, Looked
from tests.distributions.conditioning import close, low_rank, normal, scattered

F64 = torch.float64
ROWS, STEPS = 6, 4


def limited(limit: float) -> Growth:
    growth = Growth().double()
    growth.limit.fill_(limit)
    return growth


def errors(size: float, tail: float) -> SceneDistribution:
    """Of logarithms, in two windows of the same rows."""
    ones = torch.ones(2 * ROWS, STEPS, 1, dtype=F64)
    scene = torch.arange(2).repeat_interleave(ROWS)
    base = LowRankNormal(0 * ones, ones, 0 * ones[..., None], 0 * ones[..., None], scene, 2)
    return Warped(base, LimitedSinh(3 + 0 * ones, size * ones, tail, 3.0))


def windows(raw: SceneDistribution, log: partial[Tensor], count: int = 8) -> list[Looked]:
    """Batches of held-out windows, whose logarithms came from a function of a seed."""
    logs = torch.zeros(2 * ROWS, 1, 1, dtype=F64), torch.ones(1, dtype=F64)
    warp, rows = Log(0.0, 1.0, 0.0), torch.arange(ROWS).repeat(2)
    return [Looked(raw, logs, warp, log(seed=k).exp(), rows) for k in range(count)]


def calm(seed: int) -> Tensor:
    return 3 + 0.3 * normal(2 * ROWS, STEPS, 1, seed=seed)


def drawn(p: SceneDistribution, seed: int) -> Tensor:
    return p.sample((), generator=torch.Generator().manual_seed(seed))


def growth_by_unit(p: SceneDistribution) -> Tensor:
    """The mean where y is half of a logarithm: its limit is half as large."""
    return limited(1.4)(p, torch.full_like(p.mean, 2.0)).mean


def test_below_the_median_nothing_changes_and_above_it_grows_by_amounts():
    p = low_rank(2)
    q = limited(0.7)(p)
    close(q.quantile(0.5), p.mean)
    close(q.quantile(0.2), p.quantile(0.2))
    high = p.quantile(0.99)
    close(q.quantile(0.99), p.mean + 0.7 * ((high - p.mean) / 0.7).asinh())
    value, seen = drawn(q, 1), ~scattered()
    close(growth_by_unit(p), q.mean)
    back = torch.where(value > p.mean, p.mean + 0.7 * ((value - p.mean) / 0.7).sinh(), value)
    slope = torch.where(value > p.mean, ((value - p.mean) / 0.7).cosh(), 1).log()
    paid = torch.zeros(p.n_scenes, dtype=F64).index_add(0, p.scene, (slope * seen).sum((1, 2)))
    close(q.log_prob(value, seen), p.log_prob(back, seen) + paid)


def test_it_commutes_with_permutations_and_is_nothing_at_first():
    p, order = low_rank(2), torch.tensor([4, 2, 0, 5, 1, 3])
    assert Growth()(p) is p
    value = drawn(p, 2)
    growth = limited(0.4)
    close(growth(p.rows(order)).mean, growth(p).mean[order])
    close(growth(p.rows(order)).log_prob(value[order]).sum(), growth(p).log_prob(value).sum())


def test_a_limit_is_learned_where_means_are_beyond_sense():
    raw, growth = errors(0.9, 1.3), Growth()
    held_out = windows(raw, calm)
    growth.fit(held_out)
    assert growth.limit.isfinite()
    truth = torch.stack([calm(seed=k).exp() for k in range(50, 60)]).mean()
    plain, damped = (Warped(p, Log(0.0, 1.0, 0.0)).mean.mean() for p in (raw, growth(raw)))
    assert abs(damped - truth) < 0.3 * abs(plain - truth)
    growth.fit(windows(errors(200.0, 1.3), calm))
    assert growth.limit.isfinite(), "means beyond all numbers"


@pytest.mark.parametrize(("size", "tail"), [(0.2, 0.5), (0.9, 0.0)])
def test_none_is_learned_where_errors_are_as_forecast(size: float, tail: float):
    raw, growth = errors(size, tail), Growth()
    growth.fit(windows(raw, partial(drawn, raw), 20))
    assert growth.limit.isinf()


def test_few_windows_and_a_single_wild_one_convince_nobody(monkeypatch):
    raw, growth = errors(0.9, 1.3), Growth()
    growth.fit(windows(raw, calm, 1))
    assert growth.limit.isinf(), "two windows"
    fine = errors(0.2, 0.1)
    few = windows(fine, partial(drawn, fine), 4)
    few[0] = windows(raw, calm, 1)[0]
    growth.fit(few)
    assert growth.limit.isinf()
    monkeypatch.setattr(module, "SURE", 0.0)
    growth.fit(few)
    assert growth.limit.isfinite(), "the broken twin is convinced"


def sales(n_steps: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=n_steps)
    size = np.exp(
        rng.normal(3, 0.1, (6, n_steps)).cumsum(1) * 0.01 + rng.normal(0, 0.2, (6, n_steps))
    )
    return pd.DataFrame({
        "unique_id": np.repeat([f"s{k}" for k in range(6)], n_steps),
        "group": np.repeat(["a", "a", "b", "b", "b", "c"], n_steps),
        "ds": np.tile(days, 6),
        "y": size.reshape(-1),
    })  # fmt: skip


def test_a_forecaster_saves_it_and_its_totals_add_up(tmp_path):
    trainer = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    model = HiPerformer(16, 1, 2, patch=7, scale="demand")
    options = {"context_length": 21, "prediction_length": 7, "max_steps": 2, "trainer": trainer}
    frame = sales()
    forecaster = Forecaster(model, columns=Columns(), **options).fit(frame)
    free = forecaster.predict(frame, level=[90])
    forecaster.model_.growth.limit.fill_(0.05)
    damped = forecaster.predict(frame, level=[90])
    low, high = "HiPerformer-lo-90", "HiPerformer-hi-90"
    assert np.allclose(free[low], damped[low]) and (damped[high] < free[high]).all()
    forecaster.save(tmp_path / "a")
    assert Forecaster.load(tmp_path / "a").predict(frame, level=[90]).equals(damped)
    draws = forecaster.sample(frame, 400, seed=1)
    total = draws.groupby(["ds", "sample_id"])["HiPerformer"].sum().groupby("ds").mean()
    point = forecaster.predict(frame, by=()).set_index("ds")["HiPerformer"]
    assert np.allclose(point, damped.groupby("ds")["HiPerformer"].sum(), rtol=1e-3)
    assert np.allclose(total, point, rtol=0.1)
    some = frame[frame.unique_id != "s1"]
    rows = damped[damped.unique_id != "s1"].reset_index(drop=True)
    assert not forecaster.predict(some, level=[90]).equals(rows), "others are looked at"
    gone = frame.assign(y=frame.y.where(frame.unique_id != "s1"))
    with pytest.warns(SeriesDroppedWarning, match="s1"):
        deleted = forecaster.predict(gone, level=[90])
    assert deleted.equals(forecaster.predict(some, level=[90]))
