"""What if: how much closer a forecast comes once the horizon of somebody else is known.

Windows of other games, whose outcome is given to the fitted distribution piece by piece. It is
conditioned exactly; nothing is trained for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks._draws_data import DATA
from benchmarks.experiment import Found, Options, rows_of, spread, tidy
from hierforecast import Forecaster
from hierforecast.batch import SceneBatch
from hierforecast.distributions import SceneDistribution
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.inference import Forecast
from hierforecast.nn.heads import CoupledHead, LowRankHead

HEADS = {
    "independent rows": LowRankHead(0, 8, 2),
    "scene latents": LowRankHead(8, 4, 2),
    "coupled": CoupledHead(),
}
LEVEL = 0.9
QUESTIONS = (
    "defender -> carrier", "carrier -> defender", "ball -> carrier", "carrier -> ball",
    "ten others -> one", "away -> home", "first half -> second",
)  # fmt: skip


def roles(batch: SceneBatch, place: Tensor, ball: int) -> dict[str, Tensor]:
    """Rows (P,) bool of each role at the cutoff, in scenes of ten players and a ball.

    Args:
        batch: the context.
        place: (P, 2), where rows are.
        ball: code of the ball's type.
    """
    group, scene = batch.hierarchy.group, batch.scene
    names = ("ball", "carrier", "defender", "one", "home", "away")
    found = {name: torch.zeros(len(scene), dtype=torch.bool) for name in names}
    for number in range(batch.n_scenes):
        rows = (scene == number).nonzero()[:, 0]
        is_ball = batch.types[rows] == ball
        if len(rows) != 11 or is_ball.sum() != 1:
            continue
        (at,), players = rows[is_ball], rows[~is_ball]
        carrier = _nearest(place, at, players)
        home = group[players] == group[players].min()
        others = players[group[players] != group[carrier]]
        found["ball"][at] = found["carrier"][carrier] = True
        found["defender"][_nearest(place, carrier, others)] = True
        found["one"][players[number % 10]] = True
        found["home"][players[home]] = found["away"][players[~home]] = True
    return found


def _nearest(place: Tensor, one: Tensor, others: Tensor) -> Tensor:
    return others[(place[others] - place[one]).norm(dim=-1).argmin()]


def questions(rows: dict[str, Tensor], steps: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each question: its name, and the cells (P, H) bool that are given and asked for."""
    every = torch.ones(steps, dtype=torch.bool)
    full = rows["home"] | rows["away"] | rows["ball"]
    for name in QUESTIONS[:-1]:
        given, wanted = name.split(" -> ")
        known = full & ~rows["one"] if given == "ten others" else rows[given]
        yield name, known[:, None] & every, rows[wanted][:, None] & every
    early = torch.arange(steps) < steps // 2
    yield QUESTIONS[-1], full[:, None] & early, full[:, None] & ~early


def answers(
    joint: SceneDistribution, truth: Tensor, given: Tensor, wanted: Tensor
) -> dict[str, float]:
    """Error and likelihood of cells (P, H) before and after others are known, and coverage."""
    known = joint.condition(truth, given)
    cells = float(wanted.sum()) * truth.shape[-1]
    low, high = known.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    inside = ((truth >= low) & (truth <= high))[wanted]
    found = {"cells": cells, "inside": float(inside.sum())}
    for name, p in (("before", joint), ("after", known)):
        found[f"error {name}"] = float((p.mean - truth).norm(dim=-1)[wanted].sum())
        found[f"nll {name}"] = -float(p.log_prob(truth, wanted).sum())
    return found


@torch.no_grad()
def score(forecaster: Forecaster, frame: Any, stride: int) -> pd.DataFrame:
    """Sums over all windows of a frame, by question."""
    forecasts = forecasts_of(forecaster, frame, Rolling(stride=stride))
    ball = list(forecasts.windows.panel.vocabulary.types).index("ball")
    rows = []
    for forecast in forecasts:
        joint, truth = forecast.distribution(), forecasts.truth(forecast.future)
        place = _last(forecast)
        about = roles(forecast.batch, place, ball)
        for name, given, wanted in questions(about, truth.shape[1]):
            rows.append({"question": name, **answers(joint, truth, given, wanted)})
    return pd.DataFrame(rows).groupby("question", sort=False).sum().reset_index()


def _last(forecast: Forecast) -> Tensor:
    """Where rows were last observed, in the units of the frame: (P, 2)."""
    batch = forecast.batch
    steps = torch.arange(batch.present.shape[1])
    last = torch.where(batch.present, steps, -1).amax(1).clamp(min=0)
    return forecast.numbers(batch.values[torch.arange(len(last)), last][:, None])[:, 0]


def measure(name: str, given: Options) -> pd.DataFrame:
    """The sums of a head, fitted once."""
    data = DATA[given.data]
    fitted = data.fit(name, given, HEADS[name], series_dropout=0.05)
    return score(fitted, data.test(), data.stride)


def table(runs: Found) -> pd.DataFrame:
    """Question x head: change of the error, of the likelihood, and coverage."""
    found = tidy(runs)
    rows = found.assign(
        error=100 * (found["error after"] / found["error before"] - 1),
        nll=(found["nll after"] - found["nll before"]) / found["cells"],
        covered=found["inside"] / found["cells"],
    )
    columns = {"error": "ADE, %", "nll": "NLL", "covered": f"covered of {100 * LEVEL:.0f} %"}
    by = rows.groupby(["question", "arm"], sort=False)[list(columns)].agg(spread)
    wide = by.rename(columns=columns).unstack("arm")
    wide.columns = [f"{arm}: {name}" for name, arm in wide.columns]
    arms = list(dict.fromkeys(found["arm"]))
    order = [f"{arm}: {name}" for arm in arms for name in columns.values()]
    return wide.loc[[q for q in QUESTIONS if q in wide.index], order]


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    data = DATA[given.data]
    return (
        f"{data.context} steps -> {data.horizon} ({data.unit} a step), width {given.width}, "
        f"{given.steps} steps of training at most, seeds {', '.join(map(str, given.seeds))}; a "
        f"window every {data.stride} steps of games that training has not seen, which also chose "
        f"the weights. The whole horizon of those before the arrow is given. Change of the ADE of "
        f"those behind it and of their NLL in nats per coordinate, against the same forecast "
        f"without; coverage of their intervals once others are known. The carrier is nearest to "
        f"the ball at the cutoff, the defender the nearest opponent of his."
    )


EXPERIMENTS = {
    "what-if": rows_of(
        "what-if-{data}",
        "draws",
        "What if: {data}",
        measure,
        note,
        table=table,
        title="What if: forecasts once somebody else's future is known",
        arms=tuple(HEADS),
        options={"data": "nba", "steps": 1500, "width": 64},
    )
}
