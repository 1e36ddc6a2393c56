"""Declarations at a toy size, from fits to tables; the figures are those of earlier versions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import (
    _draws_data,
    _nba,
    _risk,
    futures,
    gpu,
    long_horizon,
    nba,
    nba_ablation,
    nba_modes,
    panels,
    peer_tables,
    pretraining,
    soccer,
    stocks,
    stocks_day,
    stocks_risk,
    stocks_what_if,
)
from benchmarks import _volatility as volatility
from benchmarks._nba import Arm, averaged, rolled
from benchmarks._panels import Windows
from benchmarks._scenes import COLUMNS
from benchmarks.experiment import Section, experiments
from benchmarks.peers import AgentFormer
from hierforecast import HiPerformer
from hierforecast.datasets import simulate_basketball
from tests.benchmarks.test_nba import SMALL
from tests.benchmarks.test_panels import made as made_counts
from tests.benchmarks.test_soccer import made as made_match
from tests.benchmarks.test_stocks import made as made_returns

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "benchmarks.json").read_text())
Patch = pytest.MonkeyPatch


def made(name: str, folder: Path, arms: tuple[str, ...] = (), **options: Any) -> dict[str, Section]:
    """The sections of a declaration by key."""
    one = experiments()[name]
    given = one.given(folder, **options)
    return {section.key: section for section in one.tables(one.run(given, arms), given)}


def figures(table: pd.DataFrame) -> list[float]:
    """All numbers of a table in the order in which they are printed."""
    text = table.drop(columns="time of a step", errors="ignore").to_string().replace("/", " / ")
    return [float(x) for x in re.findall(r"(?<![\w.])[-+]?\d+\.?\d*", text.replace(",", ""))]


def narrow(*shape: int) -> Callable[..., HiPerformer]:
    """HiPerformer, but small."""
    sizes = dict(zip(("width", "depth", "heads"), shape, strict=False))
    return lambda **options: HiPerformer(**{**options, **sizes})


def few_games(patch: Patch) -> None:
    _nba.windows.cache_clear()
    counts = {"train": 12, "val": 4, "test": 5}
    games = {
        split: simulate_basketball(n_scenes=n, n_steps=54, seed=n).assign(game="one")
        for split, n in counts.items()
    }
    for module in (_nba, nba):
        patch.setattr(module, "games", games.__getitem__)
    patch.setattr(_nba, "SIZE", SMALL)


def ablation(patch: Patch) -> None:
    small = nba_ablation.sized(**SMALL)
    few_games(patch)
    arms = {
        "SA3": Arm("classes-0-seed0", small),
        "averaged": Arm("classes-0-seed0", small, forecast=averaged),
        "twice": Arm("rolled", small, prediction_length=5, forecast=rolled),
    }
    patch.setattr(nba_ablation, "ARMS", arms)
    patch.setattr(nba_ablation, "steady", lambda: None)


def missing(patch: Patch) -> None:
    few_games(patch)
    from benchmarks import nba_missing

    patch.setattr(nba_missing, "MOST", 1)
    patch.setattr(nba_missing, "CLASSES", {"classes": COLUMNS})


def modes(patch: Patch) -> None:
    seeds = {"train": 0, "val": 1, "test": 2}
    games = {k: simulate_basketball(n_scenes=4, n_steps=32, seed=s) for k, s in seeds.items()}
    patch.setattr(nba_modes, "games", games.__getitem__)


def few_and_many(patch: Patch) -> None:
    games = {}
    for seed, split in enumerate(("train", "val", "test")):
        frame = simulate_basketball(n_scenes=12, n_steps=52, seed=seed)
        games[split] = frame.assign(game=frame["scene"].astype(str))
    patch.setattr(pretraining, "games", games.__getitem__)


def slow_and_fast(patch: Patch) -> None:
    seeds = {"train": 0, "val": 1}
    games = {k: simulate_basketball(n_scenes=4, n_steps=52, seed=s) for k, s in seeds.items()}
    patch.setattr(futures, "games", lambda split, rate: games[split])


def match(patch: Patch) -> None:
    patch.setattr(soccer, "matches", made_match)
    patch.setattr(soccer, "HiPerformer", narrow(8, 1, 2))


def tickers(patch: Patch) -> None:
    frame = made_returns().assign(ds=lambda f: f["date"]).drop(columns="date")
    patch.setattr(stocks, "returns", lambda: frame)
    patch.setattr(stocks, "HiPerformer", narrow(8))
    for name, value in {"UNSEEN_SECTOR": "S2", "UNSEEN_TICKERS": 2, "MISSING": 3}.items():
        patch.setattr(stocks, name, value)


def desk(patch: Patch) -> None:
    """Networks that fit in a blink, and distributions of volatility without the library."""
    pytest.importorskip("sklearn")
    market = _risk.Market.of(made_returns())
    patch.setattr(stocks_risk, "market_of", market.thin)
    patch.setattr(stocks_risk, "HiPerformer", narrow(8))
    patch.setattr(_risk, "SAMPLES", 20)
    patch.setattr(volatility, "fit_garch", lambda values, path: np.full((2, values.shape[1]), 0.4))
    patch.setattr(stocks_risk, "MISSING", 2)


def one_day(patch: Patch) -> None:
    desk(patch)
    patch.setattr(stocks_day, "market_of", stocks_risk.market_of)
    patch.setattr(stocks_day, "DRAWS", 200)


def what_if(patch: Patch) -> None:
    market = _risk.Market.of(made_returns())
    patch.setattr(stocks_risk, "HiPerformer", narrow(8))
    patch.setattr(stocks_risk, "market_of", market.thin)
    for name, value in {"market_of": market.thin, "SECTOR": "S1", "SHARE": 0.4}.items():
        patch.setattr(stocks_what_if, name, value)


def two_waves(patch: Patch) -> None:
    ds, lengths = np.tile(np.arange(120), 2), (80, 20, 20)
    y = np.concatenate([np.sin(np.arange(120)), 100 + np.arange(120.0)])
    frame = pd.DataFrame({"ds": ds, "unique_id": np.repeat(["a", "b"], 120), "y": y})
    parts = long_horizon.split(frame, lengths, context=8)
    patch.setattr(long_horizon, "parts_of", lambda name: parts)
    patch.setattr(long_horizon, "CONTEXT", 8)
    patch.setattr(long_horizon, "HORIZON", 4)
    patch.setitem(long_horizon.SEASON, "ETTh1", 4)


def shops(patch: Patch) -> None:
    patch.setattr(panels, "windows_of", lambda name: Windows(made_counts(), 4, 7, 3, 5))
    patch.setattr(panels, "CONTEXTS", dict.fromkeys(panels.CONTEXTS, (7, 10)))
    patch.setattr(panels, "NAIVE", {"Walmart": (7,), "PJM": (2, 7), "M5": (7,)})
    patch.setattr(panels, "HiPerformer", lambda: HiPerformer(8, 1, 2, scale="series"))
    cells = [np.full((n, 3, 4), size) for n in (3, 1) for size in (3.0, 2.0)]
    patch.setattr(panels, "smoothed", lambda w, c, *rest: cells[:2] if len(c) > 1 else cells[2:])


class Refusing(AgentFormer):
    def point(self, scaled, batch):
        if len(batch.types) % 11:
            raise RuntimeError("eleven | only")
        return super().point(scaled, batch)


def rivals(patch: Patch) -> None:
    frames = [simulate_basketball(n_scenes=2, n_steps=52, seed=seed) for seed in range(3)]
    models = {
        "refuses": lambda: Refusing(8, 1, 1, 2),
        "HiPerformer": lambda: HiPerformer(16, 1, 2),
        "broken": lambda: 1 / 0,
    }
    data = peer_tables.Data(*frames)
    patch.setattr(peer_tables, "TRAINED", models)
    patch.setattr(peer_tables, "FILLED", {})
    for name in ("nba_data", "soccer_data"):
        patch.setattr(peer_tables, name, lambda: data)
    patch.setattr(peer_tables, "steady", lambda: None)


def made_plays(patch: Patch) -> None:
    data = _draws_data.DATA["simulated"]
    train, test = (partial(simulate_basketball, 6, 52, seed) for seed in (0, 1))
    patch.setitem(_draws_data.DATA, "simulated", replace(data, train=train, test=test))


def one_head(patch: Patch) -> None:
    patch.setattr(gpu, "HEADS", {"lowrank": None})
    patch.setattr(gpu, "SAMPLES", 50)


# What is patched, arms where not all are run, and options.
def nothing(patch: Patch) -> None:
    """Its data are made by itself."""


TOYS: dict[str, tuple[Callable[[Patch], None], tuple[str, ...], dict[str, Any]]] = {
    "nba": (few_games, (), {"steps": 2, "width": 8, "depth": 1, "stride": 20}),
    "nba-ablation": (ablation, (), {"steps": 2, "windows": 6, "rounds": 1}),
    "nba-missing": (missing, (), {"steps": 2, "block": "sa3", "windows": 6, "seeds": (0,)}),
    "nba-modes": (modes, (), {"steps": 2, "width": 8, "depth": 1}),
    "pretraining": (few_and_many, ("*, 10 games",), {"steps": 2, "before": 2, "width": 8}),
    "futures": (slow_and_fast, (), {"steps": 2, "width": 8, "n_samples": 30}),
    "soccer": (match, (), {"steps": 1}),
    "soccer-visibility": (match, (), {"steps": 1}),
    "stocks": (tickers, (), {"steps": 1}),
    "stocks-risk": (desk, (), {"steps": 1, "stride": 20}),
    "stocks-day": (one_day, (), {"steps": 1, "stride": 20, "seeds": (0, 1)}),
    "stocks-what-if": (what_if, (), {"steps": 1}),
    "growth": (nothing, ("11 agents*",), {"width": 16, "context": 8, "horizon": 2}),
    "long-horizon": (two_waves, ("ETTh1*",), {"steps": 2}),
    "panels": (shops, (), {"steps": 2}),
    "peers-nba": (rivals, (), {"steps": 2, "stride": 5, "rounds": 1}),
    "peers-soccer": (rivals, (), {"steps": 2}),
    "draws": (
        made_plays,
        ("low rank, memory 0", "rows*"),
        {"data": "simulated", "steps": 2, "width": 8},
    ),
    "what-if": (
        made_plays,
        ("independent rows", "coupled"),
        {"data": "simulated", "steps": 2, "width": 8},
    ),
    "gpu": (one_head, ("parity", "speed"), {"seconds": 0.01}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_a_declaration_at_a_toy_size(name, monkeypatch, tmp_path):
    prepare, arms, options = TOYS[name]
    prepare(monkeypatch)
    one = experiments()[name]
    beside = {k: str(tmp_path / k) for k in ("fits", "picture") if k in one.beside}
    tables = made(name, tmp_path, arms, **options, **beside)
    for key, section in tables.items():
        if key in GOLDEN:
            np.testing.assert_allclose(figures(section.table), GOLDEN[key], 0.02, 0.002, True, key)
    declared = [key for key in tables if one.declares(key)]
    assert len(declared) == len(one.keys) or name.startswith("image")
    # A second call reads what is kept.
    monkeypatch.setattr(torch.nn.Module, "__call__", None)
    one = experiments()[name]
    assert one.found(one.given(tmp_path, **options, **beside))
