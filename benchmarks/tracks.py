"""Tracks of few recordings: NFL plays, four folds; pedestrians, one site left out at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks._draws_data import plays
from benchmarks._scenes import COLUMNS
from benchmarks.experiment import Experiment, Found, Options, Section
from benchmarks.fits import Setting
from hierforecast import Columns, ConstantVelocity, Forecaster, HiPerformer, Ridge
from hierforecast._random import seeded
from hierforecast.datasets import load_pedestrians
from hierforecast.distributions.futures import representatives
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.metrics import Evaluation, MetricTable

N, DRAWS, FOLDS = 20, 300, 4
# Site by its name in the literature; "crowds_zara03" is learned from only, as usual.
SITES = {
    "hotel": "biwi_hotel",
    "univ": "students003",
    "zara1": "crowds_zara01",
    "zara2": "crowds_zara02",
}
# minADE_20/minFDE_20 in metres as printed in arXiv 2303.10895, Table 4.
PUBLISHED = {
    "hotel": {"AgentFormer": "0.14/0.22", "LED": "0.11/0.17"},
    "univ": {"AgentFormer": "0.25/0.45", "LED": "0.26/0.43"},
    "zara1": {"AgentFormer": "0.18/0.30", "LED": "0.18/0.26"},
    "zara2": {"AgentFormer": "0.14/0.24", "LED": "0.13/0.22"},
}
BASELINES = {"ConstantVelocity": ConstantVelocity, "Ridge": Ridge}
NETWORKS = {"HiPerformer": "sa3", "HiPerformer, relational": "relational"}


sites = functools.cache(load_pedestrians)


@dataclass(frozen=True)
class Split:
    """What is learned from, what chooses the weights, and what is tested on."""

    train: pd.DataFrame
    val: pd.DataFrame | None
    test: pd.DataFrame


def fold(number: int) -> Split:
    """NFL: every fourth play to test, every fourth of the others to choose by."""
    every = plays()
    test = every[number::FOLDS]
    rest = [play for k, play in enumerate(every) if k % FOLDS != number]
    val = rest[::FOLDS]
    train = [play for k, play in enumerate(rest) if k % FOLDS]
    train, val, test = (pd.concat(x, ignore_index=True) for x in (train, val, test))
    return Split(train, val, test)


def left_out(site: str) -> Split:
    """Pedestrians: a site to test, all others to learn from and to choose by."""
    test = sites()["scene"] == SITES[site]
    return Split(sites()[~test], None, sites()[test])


@dataclass(frozen=True)
class Tracks:
    """A data set.

    Args:
        columns: of its frames.
        context, horizon: steps.
        parts: names of what is tested, each from a fit of its own.
        split: name -> the frames.
        stride: steps between test windows.
        least: see `Forecaster`, ``min_context``.
        scale: of HiPerformer.
    """

    columns: Columns
    context: int
    horizon: int
    parts: tuple[str, ...]
    split: Callable[[str], Split]
    stride: int
    least: int
    scale: str

    def fit(self, arm: str, part: str, given: Options) -> Forecaster:
        """A model that has not seen a part, fitted once."""
        split = functools.cache(lambda: self.split(part))
        val = split().val
        setting = Setting(
            self.columns,
            self.context,
            self.horizon,
            lambda: split().train,
            None if val is None else lambda: val,
        )
        if arm in BASELINES:
            return setting.fit(arm, given, BASELINES[arm]())
        options = {"dropout": 0.0, "scale": self.scale, "n_frequencies": 24}
        model = HiPerformer(given.width, 2, block=NETWORKS[arm], **options)
        more = {"batch_size": 32, "series_dropout": 0.1, "min_context": self.least}
        return setting.fit(f"{part}, {arm}", given, model, **more)


SETS = {
    "nfl": Tracks(
        COLUMNS, 20, 20, tuple(map(str, range(FOLDS))), lambda k: fold(int(k)), 5, 5, "mirrored"
    ),
    "pedestrians": Tracks(
        load_pedestrians.columns, 8, 12, (*PUBLISHED,), left_out, 1, 3, "coordinates"
    ),
}


def best_of(forecast: Any, joint: bool, generator: torch.Generator) -> Tensor:
    """Twenty futures (20, P, H, D): of the scene, or of each series by itself."""
    found = representatives(forecast.distribution(), N, DRAWS, generator, joint)
    return torch.where(found.centers.isfinite(), found.centers, found.centers[:1])


@torch.no_grad()
def score(forecaster: Forecaster, test: pd.DataFrame, stride: int, whole: bool) -> dict[str, str]:
    """The row of a model on test windows.

    Args:
        forecaster: fitted.
        test: frame.
        stride: steps between windows.
        whole: count series that are observed at every step of the window only, as is usual for
            pedestrians.
    """
    forecasts = forecasts_of(forecaster, test, Rolling(stride=stride))
    point = MetricTable(["ade", "fde"])
    likely = MetricTable(["nll_per_coordinate"])
    best, joint = MetricTable(["min_ade", "min_fde"]), MetricTable(["min_jade", "min_jfde"])
    inside = cells = 0.0
    generator = seeded(forecaster.seed)
    for forecast in forecasts:
        batch, future, distribution = forecast.batch, forecast.future, forecast.distribution()
        truth, seen = forecasts.truth(future), future.present
        if whole:
            seen = seen & (seen.all(1) & batch.present.all(1))[:, None]
        about = (seen, batch.scene, batch.n_scenes)
        point.update(Evaluation(truth, *about, point=distribution.mean))
        log_prob = distribution.log_prob(truth.nan_to_num(), seen)
        likely.update(Evaluation(truth, *about, log_prob=log_prob))
        for table, together in ((best, False), (joint, True)):
            samples = best_of(forecast, together, generator)
            table.update(Evaluation(truth, *about, samples=samples))
        low, high = (distribution.quantile(q) for q in (0.05, 0.95))
        within = ((low <= truth) & (truth <= high))[seen]
        inside, cells = inside + float(within.sum()), cells + within.numel()
    values = {**point.values(), **best.values(), **joint.values(), **likely.values()}
    pairs = {
        "ADE/FDE": ("ade", "fde"),
        "minADE/minFDE": ("min_ade", "min_fde"),
        "minJADE/minJFDE": ("min_jade", "min_jfde"),
    }
    row = {name: "/".join(f"{values[m]:.3f}" for m in pair) for name, pair in pairs.items()}
    share = inside / cells
    return row | {"NLL": f"{values['nll_per_coordinate']:.3f}", "90 % covers": f"{share:.3f}"}


def experiment(name: str, title: str, note: str, whole: bool, **options: Any) -> Experiment:
    """The declaration of a data set: an arm for each model and part."""
    tracks = SETS[name]

    def measure(arm: str, given: Options) -> dict[str, str]:
        part, _, model = arm.partition(", ")
        forecaster = tracks.fit(model, part, given)
        return score(forecaster, tracks.split(part).test, given.stride, whole)

    def sections(found: Found, given: Options) -> list[Section]:
        rows = {}
        for (arm, seed), row in found.items():
            rows[arm + (f", seed {seed}" if len(given.seeds) > 1 else "")] = row
        for part, published in PUBLISHED.items() if name == "pedestrians" else ():
            for model, figure in published.items():
                rows[f"{part}, *{model}, published*"] = {"minADE/minFDE": figure}
        table = pd.DataFrame(rows).T.fillna("-")
        text = f"{note} {given.steps} steps of 32 windows at most, width {given.width}."
        return [Section(name, title, table, text)]

    models = (*BASELINES, *NETWORKS)
    arms = [f"{part}, {model}" for part in tracks.parts for model in models]
    defaults = {"steps": 1000, "width": 64, "stride": tracks.stride, **options}
    return Experiment(title, "trajectories", (name,), measure, sections, arms, options=defaults)


SHARED = (
    "Best of 20: centroids of 300 draws of each series by itself (minADE/minFDE), and of the whole "
    "scene (minJADE/minJFDE)."
)
EXPERIMENTS = {
    "nfl": experiment(
        "nfl",
        "NFL plays, 2 s -> 2 s at 10 Hz",
        "Yards; 28 plays in four folds, each tested by a fit on the others. " + SHARED,
        whole=False,
    ),
    "pedestrians": experiment(
        "pedestrians",
        "Pedestrians, 8 -> 12 steps of 0.4 s",
        "Metres; each site is tested by a fit on the others; people seen at all 20 steps count. "
        + SHARED,
        whole=True,
    ),
}
