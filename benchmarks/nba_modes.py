"""NBA, the community's protocol: 10 steps -> 20 at 5 Hz, metres, best of 20, on other games.

Three fits: a mixture of 20 joint modes, and two joint Gaussians. `nba-modes-shuffled` splits as the
community does: windows are shuffled, so that games are shared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks._scenes import COLUMNS
from benchmarks.experiment import Experiment, Found, Options, Section
from benchmarks.fits import Setting
from hierforecast import ConstantVelocity, Forecaster, HiPerformer, Ridge
from hierforecast._random import seeded
from hierforecast.datasets import load_nba
from hierforecast.distributions import SceneDistribution, SceneMixture
from hierforecast.distributions.futures import representatives
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.metrics import Evaluation, MetricTable

TITLE = "NBA, 10 -> 20 at 5 Hz, best of 20"
RATE, SAMPLES = 5.0, 20
CONTEXT, HORIZON = 10, 20
LENGTH = CONTEXT + HORIZON
SHUFFLED, PARTS = "shuffled", ("train", "val", "test")
# As the community counts, whatever a foot is: the court's 94 feet are 28 metres.
METRES = 28 / 94
ARMS = ("mixture", "lowrank", "coupled")
# Joint draws that are clustered to representative futures.
DRAWS = 300
BASELINES = {"ConstantVelocity": ConstantVelocity, "Ridge": Ridge}
PUBLISHED = {
    "MoFlow": ("0.71/0.86", "-"),
    "MART": ("0.72/0.90", "1.52/2.77"),
    "CausalTraj": ("0.77/1.01", "1.34/2.47"),
    "JointDiff": ("0.80/1.09", "1.39/2.53"),
    "LED": ("0.81/1.10", "-"),
    "GroupNet": ("0.94/1.22", "-"),
}


def iid(distribution: SceneDistribution) -> Tensor:
    """Twenty independent joint draws (20, P, H, D)."""
    return distribution.sample((SAMPLES,))


def modes(distribution: Any) -> Tensor:
    """The twenty joint modes (20, P, H, D), of a scene's likelier mirror image if it has two."""
    if isinstance(distribution, SceneMixture):
        distribution = distribution.likeliest
    found: Tensor = distribution.modes
    return found


def futures(distribution: SceneDistribution, joint: bool) -> Tensor:
    """Twenty representative futures (20, P, H, D), of the scene or of each agent by itself."""
    found = representatives(distribution, SAMPLES, DRAWS, seeded(0), joint)
    return found.centers.to(distribution.mean)


class Scores:
    """What the table says of one way to make twenty futures.

    Args:
        futures: a distribution in metres -> (20, P, H, D).
        honest: whether they are draws from it, so that an energy score of them has a meaning.
        together: whether those of all agents belong together, so that joint errors have one.
        ball_known: whether the ball's path is known; its own errors are then none.
    """

    def __init__(
        self,
        futures: Callable[[Any], Tensor],
        honest: bool = False,
        together: bool = True,
        ball_known: bool = False,
    ) -> None:
        self.futures, self.together, self.ball_known = futures, together, ball_known
        best, joint = ["min_ade", "min_fde"], ["min_jade", "min_jfde"]
        self.best = MetricTable(best)
        self.joint = MetricTable([*joint, "energy_score"] if honest else joint)

    def add(self, distribution: SceneDistribution, truth: Evaluation, ball: Tensor) -> None:
        """Count a batch: its distribution in metres, the truth, and which rows (P,) are a ball."""
        if self.ball_known:
            known = ball[:, None] & truth.present.to(ball.device)
            distribution = distribution.condition(truth.truth.nan_to_num(), known)
        scored = Evaluation(
            truth.truth,
            truth.present,
            truth.scene,
            truth.n_scenes,
            samples=self.futures(distribution),
        )
        self.joint.update(scored)
        for part, rows in (("all", None), ("players", ~ball), ("ball", ball)):
            self.best.update(scored if rows is None else scored.subset(rows), part=part)

    def cells(self) -> dict[str, str]:
        """Metric -> figure."""
        joint = self.joint.values()
        best = {
            f"minADE/minFDE {part}": self.best.values(part) for part in ("all", "players", "ball")
        }
        cells = {name: f"{v['min_ade']:.3f}/{v['min_fde']:.3f}" for name, v in best.items()}
        pair = f"{joint['min_jade']:.3f}/{joint['min_jfde']:.3f}"
        cells["minJADE/minJFDE"] = pair if self.together else "-"
        cells["energy"] = f"{joint['energy_score']:.2f}" if "energy_score" in joint else "-"
        return cells


@torch.no_grad()
def score(
    forecaster: Forecaster, frame: pd.DataFrame, stride: int, **ways: Scores
) -> dict[str, dict[str, str]]:
    """Rows of the table: name -> metric -> figure, in metres, over all windows of a frame."""
    forecasts = forecasts_of(forecaster, frame, Rolling(stride=stride))
    point, likelihood = MetricTable(["ade", "fde"]), MetricTable(["nll_per_coordinate"])
    ball = list(forecasts.windows.panel.vocabulary.types).index("ball")
    torch.manual_seed(forecaster.seed)
    for forecast in forecasts:
        distribution = forecast.distribution().affine(0.0, METRES)
        batch, future = forecast.batch, forecast.future
        values = forecasts.truth(future).to(distribution.mean) * METRES
        about = (future.present, batch.scene, batch.n_scenes)
        truth = Evaluation(values, *about, point=distribution.mean)
        point.update(truth)
        log_prob = distribution.log_prob(values, future.present.to(values.device))
        likelihood.update(Evaluation(values, *about, log_prob=log_prob))
        for scores in ways.values():
            scores.add(distribution, truth, (batch.types == ball).to(values.device))
    mean, (nll,) = point.values(), likelihood.values().values()
    shared = {"ADE/FDE of the mean": f"{mean['ade']:.3f}/{mean['fde']:.3f}", "NLL": f"{nll:.3f}"}
    return {name: {**scores.cells(), **shared} for name, scores in ways.items()}


@functools.cache
def games(split: str) -> pd.DataFrame:
    """The scenes of a split at 5 Hz, read once."""
    return load_nba(split=split, rate=RATE)


@functools.cache
def shuffled(part: str) -> pd.DataFrame:
    """All games in windows of 30 steps, of which a quarter tests: part "train", "val" or "test".

    What lies between two windows of another part is a scene, so training slides its windows there;
    no step of a test window is trained on, but its game is, and the steps just before and after.
    """
    frame = pd.concat([games(split) for split in ("train", "val", "test")], ignore_index=True)
    first = frame.groupby("scene")["ds"].transform("min")
    block = frame["scene"].astype(str) + "/" + ((frame["ds"] - first) // LENGTH).astype(str)
    codes, names = pd.factorize(block)
    rows = np.random.default_rng(0).choice(3, len(names), p=(0.72, 0.03, 0.25))[codes]
    kept = frame[rows == PARTS.index(part)].copy()
    code = pd.Series(codes, frame.index)[kept.index]
    # Windows of one scene have codes in a row; one of another part between them parts scenes.
    starts = code.drop_duplicates()
    whole = kept["scene"].astype(str)[starts.index]
    run = ((starts.diff() != 1) | (whole != whole.shift()) | (part == "test")).cumsum()
    kept["scene"] = code.map(dict(zip(starts, run, strict=True)))
    return kept


def setting(given: Options) -> Setting:
    """What is learned from, by the split."""
    split = shuffled if given.split == SHUFFLED else games
    return Setting(COLUMNS, CONTEXT, HORIZON, lambda: split("train"), lambda: split("val"))


def network(given: Options, head: str) -> Forecaster:
    """HiPerformer with a head, fitted once and then loaded."""
    model = HiPerformer(given.width, given.depth, dropout=0.0, scale="mirrored", head=head)
    options = {"learning_rate": given.learning_rate, "batch_size": given.batch_size}
    return setting(given).fit(head, given, model, series_dropout=0.0, **options)


def measure(name: str, given: Options) -> dict[str, dict[str, str]] | None:
    """The rows of a model, by name."""
    if name in BASELINES:
        fitted = replace(setting(given), val=None).fit(name, given, BASELINES[name]())
    else:
        fitted = network(given, name)
    if given.fit_only:
        return None
    label = name if name in BASELINES else f"HiPerformer {name}"
    ways = {f"{label}, 20 draws": Scores(iid, honest=True)}
    if name == "mixture":
        ways[f"{label}, its 20 modes"] = Scores(modes)
    if name == "coupled":
        ways[f"{label}, futures(20)"] = Scores(partial(futures, joint=True))
        each = Scores(partial(futures, joint=False), together=False)
        ways[f"{label}, futures(20) of each agent"] = each
        given_ball = Scores(partial(futures, joint=True), ball_known=True)
        ways[f"{label}, futures(20) given the ball's path"] = given_ball
    test = shuffled("test") if given.split == SHUFFLED else games(given.split)
    return score(fitted, test, given.stride, **ways)


def published(columns: list[str]) -> pd.DataFrame:
    """The community's figures, as rows of the same table."""
    rows = {
        f"*{name}, published*": {
            **dict.fromkeys(columns, "-"),
            "minADE/minFDE all": one,
            "minJADE/minJFDE": joint,
        }
        for name, (one, joint) in PUBLISHED.items()
    }
    return pd.DataFrame(rows).T


def sections(found: Found, given: Options) -> list[Section]:
    """Rows of ours, then the published ones."""
    rows = pd.DataFrame({name: row for rows in found.values() for name, row in rows.items()}).T
    fits = "; ".join(
        f"{arm}: {given.steps} steps at most of {given.batch_size} windows, width {given.width}, "
        f"depth {given.depth}, seed {given.seed}"
        for arm, _ in found
        if arm in ARMS
    )
    which = (
        f"a window every {given.stride} steps of {given.split} games, none of which training has "
        "seen"
        if given.split != SHUFFLED
        else "all games cut into windows of 30 steps, a quarter of which test: training has seen "
        "their games, and what came just before and after"
    )
    note = (
        f"minADE_20/minFDE_20 and minJADE_20/minJFDE_20 at 4.0 s in metres (feet x 28/94) over all "
        f"11 agents, 20 futures each; {which}. NLL in nats per coordinate and energy score of a "
        f"scene, in metres. {fits}. The *published* figures are on other windows, shuffled before "
        f"the split: their training and test share games."
    )
    key = "nba-modes" if given.split == "test" else f"nba-modes-{given.split}"
    table = pd.concat([rows, published(list(rows.columns))])
    title = f"{TITLE}, {SHUFFLED}" if given.split == SHUFFLED else TITLE
    return [Section(key, title, table, note)]


OPTIONS = {
    "steps": 2000,
    "width": 128,
    "depth": 2,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "stride": 10,  # steps between windows measured
    "split": "test",  # of val nothing is written
}


def experiment(key: str, title: str, arms: tuple[str, ...], **options: Any) -> Experiment:
    """A declaration of some of the models."""
    options, beside = {**OPTIONS, **options}, {"fit_only": False}
    place = title, "trajectories", (key,)
    return Experiment(*place, measure, sections, arms, options=options, beside=beside)


EXPERIMENTS = {
    "nba-modes": experiment("nba-modes", TITLE, (*BASELINES, *ARMS)),
    f"nba-modes-{SHUFFLED}": experiment(
        f"nba-modes-{SHUFFLED}", f"{TITLE}, {SHUFFLED}", ARMS, split=SHUFFLED, stride=LENGTH
    ),
}
