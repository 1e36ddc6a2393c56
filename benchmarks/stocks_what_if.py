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
from benchmarks.experiment import Experiment, Found, Options, Section, spread, tidy
from benchmarks.stocks_risk import TEST_END, TRAIN_END, fit, market_of
from hierforecast.distributions import SceneDistribution
from hierforecast.nn.heads import StepsHead

HEADS = {
    "latents of the market": StepsHead(rank=8, group_rank=0),
    "and two of each sector": StepsHead(rank=8, group_rank=2),
}
SECTOR, SHARE = "Utilities", 0.05
SCENARIOS = (f"{SHARE:.0%} of the tickers given", f"{SECTOR} given")
UNTOLD, GIVEN, PLAIN = "unconditional", "given", "plain mean"


def measure(name: str, given: Options) -> dict[str, Any]:
    """Likelihood of the paths, and errors of the others under each scenario; sums over cells."""
    market = market_of(given.thin)
    days = max(HORIZONS)
    forecast = fit(name, given, given.train_end, head=HEADS[name])
    rows = []
    for cutoff in market.cutoffs(given.train_end, given.test_end, given.stride):
        joint = forecast(cutoff, market.present(cutoff))
        assert isinstance(joint, OfNetwork)
        truth = torch.from_numpy(market.values[cutoff : cutoff + days, joint.rows].T[..., None])
        chance = np.random.default_rng(cutoff).random(len(joint.rows)) < SHARE
        for told, known in zip(
            SCENARIOS, (chance, market.sectors[joint.rows] == SECTOR), strict=True
        ):
            rows.append({"given": told, **scores(joint.distribution, truth, known)})
        whole = -float(joint.distribution.log_prob(truth, ~truth[..., 0].isnan()).sum())
        rows.append({"given": "", "nll": whole, "cells": int((~truth.isnan()).sum())})
    return pd.DataFrame(rows).groupby("given").sum().T.to_dict()


def scores(joint: SceneDistribution, truth: Tensor, known: np.ndarray) -> dict[str, float]:
    """Sums over the other tickers' cells: errors, negative log likelihood, cells in the interval.

    Args:
        joint: of the tickers.
        truth: (P, H, 1), NaN where missing.
        known: (P,) bool, tickers whose returns are given.
    """
    seen = ~truth[..., 0].isnan()
    told = seen & torch.from_numpy(known)[:, None]
    others = seen & ~told
    found: dict[str, float] = {"cells": int(others.sum())}
    mean = torch.where(told[..., None], truth, 0).sum(0) / told.sum(0)[:, None]
    found[f"error, {PLAIN}"] = float((truth - mean)[others].abs().sum())
    for name, p in ((UNTOLD, joint), (GIVEN, joint.condition(truth, told))):
        found[f"error, {name}"] = float((truth - p.mean)[others].abs().sum())
        found[f"nll, {name}"] = -float(p.log_prob(truth, others).sum())
        low, high = p.quantile(torch.tensor([0.05, 0.95]))
        found[f"inside, {name}"] = int(((low <= truth) & (truth <= high))[others].sum())
    return found


def sections(found: Found, given: Options) -> list[Section]:
    """A row for each scenario and head: means over cells, and over seeds."""
    kept = {
        arm: [{"given": told, **sums} for told, sums in runs.items()] for arm, runs in found.items()
    }
    runs = tidy({arm: pd.DataFrame(rows) for arm, rows in kept.items()})
    rows = {}
    for told in SCENARIOS:
        for arm in dict.fromkeys(name for name, _ in found):
            here = runs[(runs["given"] == told) & (runs["arm"] == arm)].copy()
            row = {
                f"MAE, {name}": spread(here[f"error, {name}"] / here["cells"])
                for name in (UNTOLD, PLAIN, GIVEN)
            }
            for name in (UNTOLD, GIVEN):
                row[f"NLL, {name}"] = spread(here[f"nll, {name}"] / here["cells"])
            for name in (UNTOLD, GIVEN):
                row[f"inside 90 %, {name}"] = spread(
                    100 * here[f"inside, {name}"] / here["cells"], 1
                )
            rows[f"{told}, {arm}"] = row
    whole = runs[runs["given"] == ""]
    likelihood = " and ".join(
        f"{spread(of['nll'] / of['cells'])} ({arm})" for arm, of in whole.groupby("arm", sort=False)
    )
    note = (
        f"Errors of the tickers that are not given, daily log returns in percent of the "
        f"{max(HORIZONS)} days after a cutoff, every {given.stride} sessions from "
        f"{given.train_end} on, trained before; the given ones' returns of the same days are "
        f"known. Plain mean: of the given. {given.steps} training steps; seeds "
        f"{', '.join(map(str, given.seeds))}. NLL per cell of all tickers' paths: {likelihood}."
    )
    title = "Stocks: the other tickers, given some of the same days' returns"
    return [Section("stocks-what-if", title, pd.DataFrame(rows).T, note)]


EXPERIMENTS = {
    "stocks-what-if": Experiment(
        "Stocks: the other tickers given one sector's returns, or a few tickers'",
        "stocks",
        ("stocks-what-if",),
        measure,
        sections,
        tuple(HEADS),
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
