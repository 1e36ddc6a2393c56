"""NBA rollouts, 40 steps -> 10 at 0.16 s: trained on games, tested on other games."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch

from benchmarks._scenes import COLUMNS, PARTS, errors, games
from benchmarks.experiment import Experiment, Found, Options, Section
from benchmarks.fits import Setting
from hierforecast import ConstantVelocity, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.metrics import Evaluation, MetricTable

BASELINES = {"LastValue": LastValue, "ConstantVelocity": ConstantVelocity, "Ridge": Ridge}
SHORT, WHOLE = "HiPerformer, relational", "HiPerformer, relational, whole contexts"
# Blocks, and whether windows that begin before their scene does are learned from.
NETWORKS = {
    "HiPerformer": ("sa3", False),
    SHORT: ("relational", True),
    WHOLE: ("relational", False),
}
# The mean of the forecasts of the last of these, one fit for each seed.
AVERAGE = f"{WHOLE}, forecasts of the seeds averaged"
METRICS = ["nll_per_coordinate", "coverage", "energy_score", "min_ade", "min_fde"]
OPTIONS = {
    "steps": 12000,
    "width": 128,
    "depth": 2,
    "patch": 20,
    "n_frequencies": 24,
    "dropout": 0.0,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "series_dropout": 0.05,
    "min_context": 10,  # of the windows that begin before their scene does
    "stride": 3,  # steps between test windows
}
SETTING = Setting(COLUMNS, 40, 10, lambda: games("train"), lambda: games("val"))


def network(name: str, given: Options) -> Forecaster:
    """A network, fitted once under the seed and then loaded."""
    block, early = NETWORKS[name]
    parts = ("width", "depth", "patch", "dropout", "n_frequencies")
    options = {part: getattr(given, part) for part in parts}
    model = HiPerformer(scale="mirrored", block=block, **options)
    rest = ("learning_rate", "batch_size", "series_dropout", *["min_context"] * early)
    return SETTING.fit(name, given, model, **{option: getattr(given, option) for option in rest})


def measure(name: str, given: Options) -> dict[str, str] | None:
    """The row of a model; of the averaged forecasts under the first seed only."""
    if name == AVERAGE:
        return averaged(given) if given.seed == given.seeds[0] else None
    if name in BASELINES:
        fitted = replace(SETTING, val=None).fit(name, given, BASELINES[name]())
    else:
        fitted = network(name, given)
    return errors(fitted, games("test"), given.stride, METRICS)


@torch.no_grad()
def averaged(given: Options) -> dict[str, str]:
    """Errors of the mean of several fits' forecasts, the same windows for all."""
    fits = [network(WHOLE, Options(**{**vars(given), "seed": seed})) for seed in given.seeds]
    every = [forecasts_of(fit, games("test"), Rolling(stride=given.stride)) for fit in fits]
    table, types = MetricTable(["ade", "fde"]), list(every[0].windows.panel.vocabulary.types)
    for forecasts in zip(*every, strict=True):
        batch, future = forecasts[0].batch, forecasts[0].future
        point = torch.stack([forecast.distribution().mean for forecast in forecasts]).mean(0)
        truth = every[0].truth(future).to(point)
        found = Evaluation(truth, future.present, batch.scene, batch.n_scenes, point=point)
        for part, kind in PARTS.items():
            rows = (
                torch.ones_like(batch.types == 0)
                if kind == "all"
                else (batch.types == types.index(kind))
            )
            table.update(found.subset(rows), part=part)
    values = {part: table.values(part) for part in PARTS}
    return {part: f"{v['ade']:.3f}/{v['fde']:.3f}" for part, v in values.items()}


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    count = {split: games(split)["game"].nunique() for split in ("train", "test")}
    seeds = sorted({seed for _, seed in found})
    return (
        f"{count['train']} training games, {count['test']} other games to test, a window every "
        f"{given.stride} steps; ADE/FDE in feet, min over 20 joint samples; "
        f"{given.steps} steps at most of {given.batch_size} windows, "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}; relational, if "
        "not of whole contexts: half of the windows begin before their scene, of which they see "
        f"{given.min_context} steps or more."
    )


def sections(found: Found, given: Options, key: str) -> list[Section]:
    """One table; with a row for each seed if there are several."""
    several, alike = len(given.seeds) > 1, {AVERAGE, *BASELINES}
    rows = {
        f"{arm}, seed {seed}" if several and arm not in alike else arm: row
        for (arm, seed), row in found.items()
        if row is not None
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table = table[list(max(rows.values(), key=len))].fillna("-")
    return [Section(key, EXPERIMENTS[key].title, table, note(found, given))]


def experiment(key: str, title: str, arms: tuple[str, ...], **more: Any) -> Experiment:
    """A declaration of some of the models."""
    tables, options = partial(sections, key=key), {**OPTIONS, **more.pop("options", {})}
    return Experiment(title, "trajectories", (key,), measure, tables, arms, options=options, **more)


TITLE = "NBA, 40 -> 10 at 0.16 s"
EXPERIMENTS = {
    "nba": experiment("nba", TITLE, (*BASELINES, *NETWORKS)),
    "nba-seeds": experiment(
        "nba-seeds",
        f"{TITLE}, seeds",
        (*BASELINES, WHOLE, AVERAGE),
        seeds=(0, 1, 2),
        options={"steps": 3000},
    ),
}
