"""Peers in the same harness: neuralforecast's models, EqMotion- and AgentFormer-style, HiPerformer.

The same windows, batches, steps and metrics for all of them. neuralforecast comes with the extra
`peers`; without it its rows say so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON, errors, games, reflect
from benchmarks.experiment import Experiment, Found, Options, Section, cells, one_table, rows_of
from benchmarks.fits import Setting
from benchmarks.peers import (
    SOFTS,
    AgentFormer,
    EqMotion,
    FilledTSMixer,
    ITransformer,
    LinearStart,
    TimesNet,
    TSMixer,
    fit_times,
    theirs,
)
from benchmarks.timing import forward, interleave, steady, training_step
from hierforecast import ConstantVelocity, Forecaster, HiPerformer, Ridge
from hierforecast.datasets import load_soccer
from hierforecast.windows import Window
from hierforecast.windows.cutoffs import cutoffs_of

MESSAGE = 110  # letters of an error that fit into a table
CHECKED = 60  # scenes of the validation games to stop by: twenty looks at all would cost a fit
Model = Callable[[], Any]

SOLVED: dict[str, Model] = {"constant velocity": ConstantVelocity, "ridge": Ridge}
TRAINED: dict[str, Model] = {
    "HiPerformer": lambda: HiPerformer(width=64, dropout=0.0, scale="mirrored"),
    "iTransformer": ITransformer,
    "iTransformer + our linear start": lambda: LinearStart(ITransformer()),
    "SOFTS": SOFTS,
    "TSMixer": TSMixer,
    "EqMotion-style": EqMotion,
    "AgentFormer-style": AgentFormer,
    "TimesNet": TimesNet,
}
FILLED: dict[str, Model] = {"TSMixer, the unseen filled in": FilledTSMixer}


# The run that times all models, one after the other.
TIMES = "times"


class Data(NamedTuple):
    """What a table is about."""

    train: pd.DataFrame
    val: pd.DataFrame | None
    test: pd.DataFrame


@functools.cache
def nba_data() -> Data:
    """NBA 40 -> 10 at 0.16 s, trained on reflected games, tested on others."""
    val = games("val")
    few = val[val["scene"].isin(val["scene"].unique()[:CHECKED])]
    return Data(one_image(games("train")), few, games("test"))


@functools.cache
def soccer_data() -> Data:
    """Soccer at 5 Hz with half of the player-frames unseen: three files -> a fourth."""
    train, test = load_soccer((7, 8, 9)), load_soccer((10,))
    return Data(train, None, test)


def message(error: Exception) -> str:
    """An error in its own words, as a cell of a table."""
    words = " ".join(str(error).split()).replace("|", "/")
    short = words if len(words) <= MESSAGE else words[: MESSAGE - 1] + "…"
    return f"fails: {type(error).__name__}: {short}"


def without(frame: pd.DataFrame, gone: tuple[str, ...] = ("home_4", "away_4")) -> pd.DataFrame:
    """The frame without some of its series."""
    return frame[~frame["unique_id"].isin(gone)]


def one_image(frame: pd.DataFrame) -> pd.DataFrame:
    """Each scene as one of its four mirror images, in turn: more windows than a fit here draws."""
    number = frame["scene"].astype("category").cat.codes.to_numpy() % 4
    images = reflect(frame)
    which = np.repeat(np.arange(4), len(frame))
    return images[which == np.tile(number, 4)]


def fitted(label: str, data: Data, given: Options) -> Forecaster:
    """A model fitted or loaded; no series is hidden in training: some could not be trained so."""
    val = None if label in SOLVED or data.val is None else lambda: data.val
    setting = Setting(COLUMNS, CONTEXT, HORIZON, lambda: data.train, val)
    options = {"batch_size": given.batch_size, "series_dropout": 0.0}
    model = (SOLVED | TRAINED | FILLED)[label]()
    return setting.fit(label, given, model, trainer={"accelerator": "cpu"}, **options)


def scored(label: str, data: Data, given: Options) -> dict[str, str]:
    """The row of a model; its own refusal is a result."""
    try:
        return errors(fitted(label, data, given), data.test, given.stride)
    except Exception as error:
        return {"all": message(error)}


def soccer(label: str, given: Options) -> dict[str, str]:
    """The row of a model in the soccer table."""
    return scored(label, soccer_data(), given)


def nba(label: str, given: Options) -> dict[str, Any]:
    """The row of a model in the NBA table, or the times of all."""
    data = nba_data()
    if label == TIMES:
        return times(data, given)
    row = scored(label, data, given)
    if "ball" in row:
        few = data._replace(test=without(data.test))
        found = scored(label, few, given)
        row["players, two of ten missing"] = found.get("players", found["all"])
    return row


def batches(forecaster: Forecaster, frame: pd.DataFrame, size: int) -> Window:
    """One batch of windows of a frame."""
    panel = forecaster._read(frame)
    windows = forecaster._forecasts(panel, cutoffs_of(panel, 40, 10, 10)).windows
    return windows.__getitems__(list(range(min(size, len(windows)))))


def times(data: Data, given: Options) -> dict[str, dict[str, str]]:
    """Parameters, and the times of a training step and of a forecast of 64 windows, in turn."""
    steady()
    rows: dict[str, dict[str, str]] = {}
    arms: dict[str, dict[str, Any]] = {"training time": {}, "forecasting time": {}}
    for label in SOLVED | TRAINED:
        try:
            forecaster = fitted(label, data, given)
        except Exception as error:  # it has a row that says so
            print(f"{label}: {message(error)}")
            continue
        window, model = batches(forecaster, data.test, 64), forecaster.model_
        weights = [p for p in model.parameters() if p.requires_grad]
        rows[label] = {"parameters": f"{sum(p.numel() for p in model.parameters()):,}"}
        if weights:
            optimizer = torch.optim.AdamW(weights, lr=0.0)
            arms["training time"][label] = training_step(model, window, optimizer)
        arms["forecasting time"][label] = forward(model, window.batch)
    for name, each in arms.items():
        timings = interleave(each, given.rounds)
        for label, row in rows.items():
            known = label in each and "HiPerformer" in each
            row[name] = f"{timings.ratio(label, 'HiPerformer'):.2f}" if known else "-"
    return rows


def nba_sections(found: Found, given: Options) -> list[Section]:
    """Errors, and what they cost."""
    spent = found.pop((TIMES, given.seed), {})
    rows = {run: {**row, **spent.get(run[0], {})} for run, row in found.items()}
    note = (
        f"ADE/FDE in feet on other games, a window every {given.stride} steps; "
        f"{given.steps} steps of 64 windows, seed {given.seed}, each training scene in one of "
        "its mirror images, no series hidden in training, one optimizer for all. Times of a "
        "training step (by AdamW) and of a forecast of 64 windows relative to HiPerformer's, one "
        "thread, interleaved medians. HiPerformer starts from a linear forecast and sees each "
        "scene in a canonical reflection, the peers do not; few steps make the most of that. "
        "TimesNet at equal parameters would take many times as long a step."
    )
    return [Section("peers-nba", f"{TITLE}: NBA, 40 -> 10 at 0.16 s", cells(rows), note)]


def soccer_note(found: Found, given: Options) -> str:
    """What a reader must know of the soccer table."""
    return (
        f"ADE/FDE in metres over the cells that are observed, a window every {given.stride} "
        f"steps; gaps within a window lie on a line for all of them; {given.steps} steps of 32 "
        f"windows, seed {given.seed}, no further series hidden in training."
    )


TITLE = "Peers in the same harness"
EXPERIMENTS = {
    "peers-nba": Experiment(
        f"{TITLE}: NBA, 40 -> 10 at 0.16 s",
        "peers",
        ("peers-nba",),
        nba,
        nba_sections,
        lambda given: (*SOLVED, *TRAINED, TIMES),
        options={"steps": 300, "batch_size": 64, "stride": 10, "rounds": 5},
    ),
    "peers-soccer": rows_of(
        "peers-soccer",
        "peers",
        f"{TITLE}: soccer, half of the players unseen",
        soccer,
        soccer_note,
        arms=lambda given: (*SOLVED, *TRAINED, *FILLED),
        options={"steps": 120, "batch_size": 32, "stride": 5},
    ),
    "peers-refusals": one_table(
        "peers-refusals",
        "peers",
        "neuralforecast and missing series",
        lambda: pd.DataFrame(theirs.refusals(message)).T,
        "`NeuralForecast.fit` on one simulated scene of 22 series (11 agents, two coordinates), "
        "and `predict` after a fit to all of it. Messages are theirs. Rows of a series count as "
        "consecutive: where some are left out, the gap is closed and nothing is said.",
    ),
    "peers-fit": one_table(
        "peers-fit",
        "peers",
        "Fit and backtest against neuralforecast's iTransformer",
        fit_times.fit_times,
        fit_times.NOTE,
        rounds=5,
    ),
}
