"""Stocks given some returns of the same days: what one sector, or a few tickers, say of the others.

A day's returns are joint. With latents of the whole market alone the shock of a sector is taken for
the market's; with latents of each sector it is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks._risk import HORIZONS, OfNetwork
from benchmarks.experiment import Found, Options, averaged, rows_of
from benchmarks.stocks_risk import TEST_END, TRAIN_END, fit, market_of
from hierforecast.distributions import SceneDistribution
from hierforecast.nn.heads import ReturnsHead, StepsHead

HEADS = {
    "latents of the market": StepsHead(rank=8, group_rank=0),
    "and two of each sector": StepsHead(rank=8, group_rank=2),
    "tails of each ticker": ReturnsHead(),
}
SECTOR, SHARE = "Utilities", 0.05
SCENARIOS = (f"{SHARE:.0%} of the tickers given", f"{SECTOR} given")
UNTOLD, GIVEN, PLAIN = "unconditional", "given", "plain mean"


# Titles of the figures.
FIGURES = [
    *(f"MAE, {name}" for name in (UNTOLD, PLAIN, GIVEN)),
    *(f"NLL, {name}" for name in (UNTOLD, GIVEN)),
    *(f"inside 90 %, {name}" for name in (UNTOLD, GIVEN)),
]


def measure(name: str, given: Options) -> dict[str, Any]:
    """Means over cells: of the others under each scenario, and the likelihood of all paths."""
    market = market_of(given.thin)
    days = max(HORIZONS)
    forecast = fit(name, given, given.train_end, head=HEADS[name])
    rows = []
    for cutoff in market.cutoffs(given.train_end, given.test_end, given.stride):
        joint = forecast(cutoff, market.present(cutoff))
        assert isinstance(joint, OfNetwork)
        truth = torch.from_numpy(market.values[cutoff : cutoff + days, joint.rows].T[..., None])
        chance = np.random.default_rng(cutoff).random(len(joint.rows)) < SHARE
        sector = market.sectors[joint.rows] == SECTOR
        for scenario, known in zip(SCENARIOS, (chance, sector), strict=True):
            rows.append({"given": scenario, **scores(joint.distribution, truth, known)})
        whole = -float(joint.distribution.log_prob(truth, ~truth[..., 0].isnan()).sum())
        rows.append({"given": "", f"NLL, {UNTOLD}": whole, "cells": int((~truth.isnan()).sum())})
    sums = pd.DataFrame(rows).groupby("given").sum()
    return sums[FIGURES].div(sums["cells"], axis=0).T.to_dict()


def scores(joint: SceneDistribution, truth: Tensor, known: np.ndarray) -> dict[str, float]:
    """Sums over the other tickers' cells, whose number they are: see `FIGURES`.

    Args:
        joint: of the tickers.
        truth: (P, H, 1), NaN where missing.
        known: (P,) bool, tickers whose returns are given.
    """
    seen = ~truth[..., 0].isnan()
    shown = seen & torch.from_numpy(known)[:, None]
    others = seen & ~shown
    found: dict[str, float] = {"cells": int(others.sum())}
    mean = torch.where(shown[..., None], truth, 0).sum(0) / shown.sum(0)[:, None]
    found[f"MAE, {PLAIN}"] = float((truth - mean)[others].abs().sum())
    for name, p in ((UNTOLD, joint), (GIVEN, joint.condition(truth, shown))):
        found[f"MAE, {name}"] = float((truth - p.mean)[others].abs().sum())
        found[f"NLL, {name}"] = -float(p.log_prob(truth, others).sum())
        low, high = p.quantile(torch.tensor([0.05, 0.95]))
        inside = ((low <= truth) & (truth <= high))[others]
        found[f"inside 90 %, {name}"] = 100 * int(inside.sum())
    return found


def table(found: Found) -> pd.DataFrame:
    """A row for each scenario and head."""
    runs = {
        (f"{scenario}, {arm}", seed): kept[scenario]
        for scenario in SCENARIOS
        for (arm, seed), kept in found.items()
    }
    titles = {name: name for name in FIGURES}
    return averaged(titles, lambda name: 1 if "%" in name else 3)(runs)


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    whole = averaged()({run: kept[""] for run, kept in found.items()})[f"NLL, {UNTOLD}"]
    likelihood = " and ".join(f"{cell} ({arm})" for arm, cell in whole.items())
    return (
        f"Errors of the tickers that are not given, daily log returns in percent of the "
        f"{max(HORIZONS)} days after a cutoff, every {given.stride} sessions from "
        f"{given.train_end} on, trained before; the given ones' returns of the same days are "
        f"known. Plain mean: of the given. {given.steps} training steps; seeds "
        f"{', '.join(map(str, given.seeds))}. NLL per cell of all tickers' paths: {likelihood}."
    )


EXPERIMENTS = {
    "stocks-what-if": rows_of(
        "stocks-what-if",
        "stocks",
        "Stocks: the other tickers, given some of the same days' returns",
        measure,
        note,
        table=table,
        title="Stocks: the other tickers given one sector's returns, or a few tickers'",
        arms=tuple(HEADS),
        seeds=(0, 1, 2),
        options={
            "steps": 100,
            "stride": 20,
            "thin": 1,
            "train_end": TRAIN_END,
            "test_end": TEST_END,
        },
    )
}
