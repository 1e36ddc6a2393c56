"""NBA, the community's protocol: 10 steps -> 20 at 5 Hz, metres, best of 20, on other games.

    python -m benchmarks.nba_modes --steps 2000 --folder runs/nba_modes

Two fits: a mixture of 20 joint modes, and one joint Gaussian; ``--fit --arms mixture`` makes one of
them and stops. Checkpoints go to the folder; the same command after a kill goes on from the last.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks._results import write_section
from benchmarks._runs import arguments, fit_or_load
from hierforecast import Columns, ConstantVelocity, Forecaster, HiPerformer, Ridge
from hierforecast.backtesting import Rolling, forecasts_of
from hierforecast.datasets import load_nba
from hierforecast.distributions import SceneDistribution
from hierforecast.metrics import Evaluation, MetricTable

COLUMNS = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
LENGTHS = {"context_length": 10, "prediction_length": 20}
RATE, SAMPLES = 5.0, 20
# As the community counts, whatever a foot is: the court's 94 feet are 28 metres.
METRES = 28 / 94
ARMS = ("mixture", "lowrank")
PUBLISHED = {
    "MoFlow": ("0.71/0.86", "-"),
    "MART": ("0.72/0.90", "1.52/2.77"),
    "CausalTraj": ("0.77/1.01", "1.34/2.47"),
    "JointDiff": ("0.80/1.09", "1.39/2.53"),
    "LED": ("0.81/1.10", "-"),
    "GroupNet": ("0.94/1.22", "-"),
}


def iid(law: SceneDistribution) -> Tensor:
    """Twenty independent joint draws (20, P, H, D)."""
    return law.sample((SAMPLES,))


def modes(law: Any) -> Tensor:
    """The twenty joint modes (20, P, H, D)."""
    found: Tensor = law.modes
    return found


class Scores:
    """What the table says of one way to make twenty futures.

    Args:
        futures: a law in metres -> (20, P, H, D).
        honest: whether they are draws from the law, so that an energy score of them has a meaning.
    """

    def __init__(self, futures: Callable[[Any], Tensor], honest: bool) -> None:
        self.futures = futures
        best, joint = ["min_ade", "min_fde"], ["min_jade", "min_jfde"]
        self.best = MetricTable(best)
        self.joint = MetricTable([*joint, "energy_score"] if honest else joint)

    def add(self, law: SceneDistribution, truth: Evaluation, ball: Tensor) -> None:
        """Count a batch: its law in metres, the truth, and which rows (P,) are a ball."""
        told = Evaluation(
            truth.truth, truth.present, truth.scene, truth.n_scenes, samples=self.futures(law)
        )
        self.joint.update(told)
        for part, rows in (("all", None), ("players", ~ball), ("ball", ball)):
            self.best.update(told if rows is None else told.subset(rows), part=part)

    def cells(self) -> dict[str, str]:
        """Metric -> figure."""
        joint = self.joint.values()
        told = {
            f"minADE/minFDE {part}": self.best.values(part) for part in ("all", "players", "ball")
        }
        cells = {name: f"{v['min_ade']:.3f}/{v['min_fde']:.3f}" for name, v in told.items()}
        cells["minJADE/minJFDE"] = f"{joint['min_jade']:.3f}/{joint['min_jfde']:.3f}"
        cells["energy"] = f"{joint['energy_score']:.2f}" if "energy_score" in joint else "-"
        return cells


@torch.no_grad()
def measure(
    forecaster: Forecaster, frame: pd.DataFrame, stride: int, **futures: Scores
) -> dict[str, dict[str, str]]:
    """Rows of the table: name -> metric -> figure, in metres, over all windows of a frame."""
    forecasts = forecasts_of(forecaster, frame, Rolling(stride=stride))
    point, likelihood = MetricTable(["ade", "fde"]), MetricTable(["nll_per_coordinate"])
    ball = list(forecasts.windows.panel.vocabulary.types).index("ball")
    torch.manual_seed(forecaster.seed)
    for forecast in forecasts:
        law = forecast.distribution().affine(0.0, METRES)
        batch, future = forecast.batch, forecast.future
        values = forecasts.truth(future).to(law.mean) * METRES
        about = (future.present, batch.scene, batch.n_scenes)
        truth = Evaluation(values, *about, point=law.mean)
        point.update(truth)
        told = law.log_prob(values, future.present.to(values.device))
        likelihood.update(Evaluation(values, *about, log_prob=told))
        for scores in futures.values():
            scores.add(law, truth, (batch.types == ball).to(values.device))
    mean, (nll,) = point.values(), likelihood.values().values()
    law_cells = {"ADE/FDE of the mean": f"{mean['ade']:.3f}/{mean['fde']:.3f}", "NLL": f"{nll:.3f}"}
    return {name: {**scores.cells(), **law_cells} for name, scores in futures.items()}


def network(given: argparse.Namespace, arm: str) -> Forecaster:
    """An arm, fitted once and then loaded."""
    options = {"width": given.width, "depth": given.depth, "dropout": 0.0, "scale": "mirrored"}
    plan = Forecaster(
        HiPerformer(head=arm, **options),
        columns=COLUMNS,
        learning_rate=given.learning_rate,
        batch_size=given.batch_size,
        max_steps=given.steps,
        series_dropout=0.0,
        seed=given.seed,
        **LENGTHS,
    )
    splits = (lambda split=split: load_nba(split=split, rate=RATE) for split in ("train", "val"))
    return fit_or_load(plan, Path(given.folder) / arm, *splits)


def table(
    given: argparse.Namespace, networks: dict[str, Forecaster], held_out: pd.DataFrame
) -> pd.DataFrame:
    """Every row that is measured here: baselines, then the arms."""
    train = load_nba(split="train", rate=RATE)
    rows: dict[str, dict[str, str]] = {}
    for model in (ConstantVelocity(), Ridge()):
        baseline = Forecaster(model, columns=COLUMNS, seed=given.seed, **LENGTHS).fit(train)
        name = f"{type(model).__name__}, 20 draws"
        rows |= measure(baseline, held_out, given.stride, **{name: Scores(iid, honest=True)})
    for arm, network in networks.items():
        futures = {f"HiPerformer {arm}, 20 draws": Scores(iid, honest=True)}
        if arm == "mixture":
            futures[f"HiPerformer {arm}, its 20 modes"] = Scores(modes, honest=False)
        rows |= measure(network, held_out, given.stride, **futures)
    return pd.DataFrame(rows).T


def published(columns: list[str]) -> pd.DataFrame:
    """The community's figures, as rows of the same table."""
    told = {
        f"*{name}, published*": {
            **dict.fromkeys(columns, "-"),
            "minADE/minFDE all": one,
            "minJADE/minJFDE": joint,
        }
        for name, (one, joint) in PUBLISHED.items()
    }
    return pd.DataFrame(told).T


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = arguments(__doc__.splitlines()[0], "runs/nba_modes", steps=2000)
    options.add_argument("--width", type=int, default=128)
    options.add_argument("--depth", type=int, default=2)
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--learning-rate", type=float, default=1e-3)
    options.add_argument("--stride", type=int, default=10, help="steps between windows measured")
    options.add_argument("--split", default="test", help="games to measure on; val writes nothing")
    options.add_argument("--arms", nargs="*", default=ARMS, choices=ARMS)
    options.add_argument("--fit", action="store_true", help="fit the arms and stop")
    return options


def main() -> None:
    given = parser().parse_args()
    torch.set_num_threads(given.threads)
    networks = {arm: network(given, arm) for arm in given.arms}
    if given.fit:
        return
    measured = table(given, networks, load_nba(split=given.split, rate=RATE))
    result = pd.concat([measured, published(list(measured.columns))])
    fits = "; ".join(
        f"{arm}: {n.max_steps} steps at most of {n.batch_size} windows, width {n.model.width}, "
        f"depth {n.model.depth}, seed {n.seed}"
        for arm, n in networks.items()
    )
    note = (
        f"minADE_20/minFDE_20 and minJADE_20/minJFDE_20 at 4.0 s in metres (feet x 28/94) over all "
        f"11 agents, 20 futures each; a window every {given.stride} steps of {given.split} games, "
        f"none of which training has seen. NLL in nats per coordinate and energy score of a scene, "
        f"in metres. {fits}. The *published* figures are on other windows, shuffled before the "
        f"split: their training and test share games."
    )
    print(result.to_string())
    print(note)
    if given.split == "test":
        write_section("nba-modes", "NBA, 10 -> 20 at 5 Hz, best of 20", result, note)


if __name__ == "__main__":
    main()
