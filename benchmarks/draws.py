"""Do draws move like players? Roughness, coverage along time and scores of the joint heads.

Every figure is of games that a choice may look at; those of the test splits are left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._draws_data import DATA
from benchmarks.experiment import Found, Options, averaged, rows_of
from hierforecast import Forecaster
from hierforecast.distributions import SceneDistribution
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.metrics import Evaluation, MetricTable
from hierforecast.nn.heads import CoupledHead, LowRankHead, MixtureHead, RowsHead

HEADS = {
    "low rank, memory 0": LowRankHead(),
    "low rank, memory 2": LowRankHead(memory=2),
    "low rank, memory 2, own latents": LowRankHead(0, 8, 2),
    "coupled": CoupledHead(),
    "mixture, memory 2": MixtureHead(memory=2),
    "rows, memory 2": RowsHead(),
    "rows, memory 4": RowsHead(memory=4),
}
# Levels of 99 draws are order statistics: their intervals cover as much as they say.
DRAWS, BEST_OF, LEVEL = 99, 20, 0.9
MOVES = ("position", "velocity", "acceleration")


class Motions:
    """What is measured of the draws, summed over batches: all of it of players but the scores."""

    def __init__(self) -> None:
        self.likelihood = MetricTable(["nll_per_coordinate"])
        self.best = MetricTable(["ade", "fde", "min_ade", "min_jade", "energy_score"])
        self.moves = MetricTable(["roughness", "path_length"])
        self.inside = np.zeros((2, len(MOVES)))

    def add(self, distribution: SceneDistribution, truth: Evaluation, ball: Tensor) -> None:
        """Count a batch: its distribution, the truth with its likelihood, rows (P,) of a ball."""
        drawn = distribution.sample((DRAWS,))
        about = truth.truth, truth.present, truth.scene, truth.n_scenes
        few = Evaluation(*about, point=distribution.mean, samples=drawn[:BEST_OF])
        self.likelihood.update(truth)
        self.best.update(few)
        self.moves.update(few.subset(~ball))
        for order in range(len(MOVES)):
            self.inside[:, order] += covered(few.subset(~ball), drawn[:, ~ball], order)

    def cells(self) -> dict[str, float]:
        """Figure by name."""
        share = self.inside[0] / self.inside[1]
        coverage = {f"covers {move}": value for move, value in zip(MOVES, share, strict=True)}
        tables = (self.likelihood, self.moves, self.best)
        found = {name: value for table in tables for name, value in table.values().items()}
        return found | coverage


def covered(evaluation: Evaluation, drawn: Tensor, order: int) -> tuple[float, float]:
    """How many of the true differences of an order lie in the central interval of the draws."""
    present = evaluation.present.unfold(1, order + 1, 1).all(-1)
    truth, draws = (x.diff(order, dim=-2) for x in (evaluation.truth, drawn))
    ranks = (draws < truth).sum(0)  # the truth is as likely to be at any of DRAWS + 1 places
    outside = round((1 - LEVEL) / 2 * (DRAWS + 1))
    inside = (ranks >= outside) & (ranks <= DRAWS - outside)
    return float(inside[present].sum()), float(inside[present].numel())


@torch.no_grad()
def score(forecaster: Forecaster, frame: Any, stride: int) -> dict[str, float]:
    """Figures over all windows of a frame."""
    forecasts, motions = forecasts_of(forecaster, frame, Rolling(stride=stride)), Motions()
    ball = list(forecasts.windows.panel.vocabulary.types).index("ball")
    torch.manual_seed(forecaster.seed)
    for forecast in forecasts:
        distribution, future, batch = forecast.distribution(), forecast.future, forecast.batch
        values = forecasts.truth(future).to(distribution.mean)
        log_prob = distribution.log_prob(values, future.present)
        about = (future.present, batch.scene, batch.n_scenes)
        motions.add(
            distribution, Evaluation(values, *about, log_prob=log_prob), batch.types == ball
        )
    return motions.cells()


def measure(name: str, given: Options) -> dict[str, float]:
    """The figures of a head, fitted once."""
    data = DATA[given.data]
    fitted = data.fit(name, given, HEADS[name], series_dropout=0.0)
    return score(fitted, data.test(), data.stride)


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    data = DATA[given.data]
    return (
        f"{data.context} steps -> {data.horizon} ({data.unit} a step), width {given.width}, "
        f"{given.steps} steps of training at most, seeds {', '.join(map(str, given.seeds))}; a "
        f"window every {data.stride} steps of scenes that training has not seen, which also chose "
        f"the weights. NLL in nats per coordinate. Roughness and path length of players' draws "
        f"over the truth's: 1 is right. Coverage of players' 90 % intervals, of positions and of "
        f"their first and second differences along time, by the truth's rank among {DRAWS} draws. "
        f"Minima over {BEST_OF} draws, of all agents."
    )


EXPERIMENTS = {
    "draws": rows_of(
        "draws-{data}",
        "draws",
        "Draws that move: {data}",
        measure,
        note,
        table=averaged(),
        title="Do draws move like players? Joint heads on five data sets",
        arms=tuple(HEADS),
        options={"data": "soccer", "steps": 400, "width": 64},
    )
}
