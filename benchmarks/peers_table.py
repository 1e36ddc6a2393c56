"""Peers in the same harness: neuralforecast's models, EqMotion- and AgentFormer-style, HiPerformer.

    python -m benchmarks.peers_table nba soccer refusals fit

The same windows, batches, steps and metrics for all of them. neuralforecast comes with the extra
`peers`; without it its rows say so. Fits are kept in the folder and not made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks._results import write_section
from benchmarks._runs import arguments, fit_or_load
from benchmarks.nba import reflect
from benchmarks.peers import (
    SOFTS,
    AgentFormer,
    EqMotion,
    FilledTSMixer,
    ITransformer,
    LinearStart,
    TimesNet,
    TSMixer,
    theirs,
)
from benchmarks.timing import Timings, interleave, steady
from hierforecast import Columns, ConstantVelocity, Forecaster, HiPerformer, Ridge
from hierforecast.cutoffs import cutoffs_of
from hierforecast.datasets import load_nba, load_soccer
from hierforecast.windows import Window

COLUMNS = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
LENGTHS = {"context_length": 40, "prediction_length": 10}
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


class Data(NamedTuple):
    """What a table is about."""

    train: pd.DataFrame
    val: pd.DataFrame | None
    test: pd.DataFrame
    stride: int


def plan(model: Model, options: Any, batch_size: int) -> Forecaster:
    """The same for all: no series is hidden in training, since some could not be trained so."""
    return Forecaster(
        model(),
        columns=COLUMNS,
        batch_size=batch_size,
        max_steps=options.steps,
        series_dropout=0.0,
        seed=options.seed,
        trainer={"accelerator": "cpu"},
        **LENGTHS,
    )


def message(error: Exception) -> str:
    """An error in its own words, as a cell of a table."""
    words = " ".join(str(error).split()).replace("|", "/")
    short = words if len(words) <= MESSAGE else words[: MESSAGE - 1] + "…"
    return f"fails: {type(error).__name__}: {short}"


def errors(forecaster: Forecaster, frame: pd.DataFrame, stride: int) -> dict[str, str]:
    """ADE/FDE for all, players and ball."""
    rows = forecaster.evaluate(frame, ["ade", "fde"], stride=stride)
    cells = rows.pivot_table(index="part", columns="metric", values="value")
    parts = {"all": "all", "players": "player", "ball": "ball"}
    return {k: f"{cells.loc[v, 'ade']:.3f}/{cells.loc[v, 'fde']:.3f}" for k, v in parts.items()}


def without(frame: pd.DataFrame, gone: tuple[str, ...] = ("home_4", "away_4")) -> pd.DataFrame:
    """The frame without some of its series."""
    return frame[~frame["unique_id"].isin(gone)]


def one_image(frame: pd.DataFrame) -> pd.DataFrame:
    """Each scene as one of its four mirror images, in turn: more windows than a fit here draws."""
    number = frame["scene"].astype("category").cat.codes.to_numpy() % 4
    images = reflect(frame)
    which = np.repeat(np.arange(4), len(frame))
    return images[which == np.tile(number, 4)]


def fitted(
    models: dict[str, Model], data: Data, options: Any, folder: Path, batch_size: int
) -> Iterator[tuple[str, Forecaster | Exception]]:
    """Each model fitted or loaded, or the error it met."""
    for label, model in models.items():
        if options.only and label not in options.only:
            continue
        try:
            forecaster = plan(model, options, batch_size)
            place = folder / "".join(x if x.isalnum() else "-" for x in label)
            trained = label not in SOLVED
            print(f"{label}: fitting or loading", flush=True)
            yield (
                label,
                fit_or_load(forecaster, place, data.train, data.val)
                if trained
                else forecaster.fit(data.train),
            )
        except Exception as error:  # a peer's own refusal is a result
            yield label, error


def batches(forecaster: Forecaster, frame: pd.DataFrame, size: int) -> Window:
    """One batch of windows of a frame."""
    panel = forecaster._read(frame)
    windows = forecaster._windows(panel, cutoffs_of(panel, 40, 10, 10))
    return windows.__getitems__(list(range(min(size, len(windows)))))


def speeds(forecasters: dict[str, Forecaster], frame: pd.DataFrame, rounds: int) -> list[Timings]:
    """Times of a training step and of a forecast, on the same batch of 64 windows, in turn."""
    train: dict[str, Any] = {}
    predict: dict[str, Any] = {}
    for label, forecaster in forecasters.items():
        window, model = batches(forecaster, frame, 64), forecaster.model_
        weights = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(weights, lr=0.0) if weights else None

        def step(model: Any = model, window: Window = window, optimiser: Any = optimiser) -> None:
            optimiser.zero_grad()
            model.loss(*window).backward()
            optimiser.step()

        def forward(model: Any = model, window: Window = window) -> None:
            with torch.no_grad():
                model(window.batch)

        predict[label] = forward
        if optimiser is not None:
            train[label] = step
    return [interleave(train, rounds), interleave(predict, rounds)]


def speed_cells(forecasters: dict[str, Forecaster], data: Data, rounds: int) -> dict[str, dict]:
    """Parameters and times relative to HiPerformer, for each of them."""
    train, predict = speeds(forecasters, data.test, rounds)
    rows = {}
    for label, forecaster in forecasters.items():
        count = sum(p.numel() for p in forecaster.model_.parameters())
        rows[label] = {"parameters": f"{count:,}"}
        for name, timings in (("training time", train), ("forecasting time", predict)):
            known = label in timings.seconds and "HiPerformer" in timings.seconds
            rows[label][name] = f"{timings.ratio(label, 'HiPerformer'):.2f}" if known else "-"
    return rows


def compare(
    models: dict[str, Model], data: Data, options: Any, folder: Path, batch_size: int
) -> tuple[pd.DataFrame, dict[str, Forecaster]]:
    """Fit all, and measure those that could be fitted."""
    table, done = {}, {}
    for label, forecaster in list(fitted(models, data, options, folder, batch_size)):
        if isinstance(forecaster, Exception):
            table[label] = {"all": message(forecaster)}
            continue
        done[label] = forecaster
        table[label] = errors(forecaster, data.test, data.stride)
        print(label, table[label], flush=True)
    return pd.DataFrame(table).T, done


def nba(options: Any) -> tuple[pd.DataFrame, str]:
    """NBA 40 -> 10 at 0.16 s, trained on reflected games, tested on others."""
    train, val, test = (load_nba(split=part, progress=False) for part in ("train", "val", "test"))
    few = val[val["scene"].isin(val["scene"].unique()[:CHECKED])]
    data = Data(one_image(train), few, test, options.stride)
    models = {**SOLVED, **TRAINED}
    table, done = compare(models, data, options, Path(options.folder) / "nba", 64)
    column = "players, two of ten missing"
    for label, forecaster in done.items():
        try:
            table.loc[label, column] = errors(forecaster, without(test), options.stride)["players"]
        except Exception as error:
            table.loc[label, column] = message(error)
    cells = pd.DataFrame(speed_cells(done, data, options.rounds)).T
    note = (
        f"ADE/FDE in feet on other games, a window every {options.stride} steps; "
        f"{options.steps} steps of 64 windows, seed {options.seed}, each training scene in one of "
        "its mirror images, no series hidden in training, one optimiser for all. Times of a "
        "training step (by AdamW) and of a forecast of 64 windows relative to HiPerformer's, one "
        "thread, interleaved medians. HiPerformer starts from a linear forecast and sees each "
        "scene in a canonical reflection, the peers do not; few steps make the most of that. "
        "TimesNet at equal parameters would take many times as long a step."
    )
    return table.join(cells).fillna("-"), note


def soccer(options: Any) -> tuple[pd.DataFrame, str]:
    """Soccer at 5 Hz with half of the player-frames unseen: three files -> a fourth."""
    data = Data(load_soccer((7, 8, 9)), None, load_soccer((10,)), 5)
    models = {**SOLVED, **TRAINED, **FILLED}
    table, _ = compare(models, data, options, Path(options.folder) / "soccer", 32)
    note = (
        "ADE/FDE in metres over the cells that are observed, a window every 5 steps; gaps within "
        f"a window lie on a line for all of them; {options.steps} steps of 32 windows, seed "
        f"{options.seed}, no further series hidden in training."
    )
    return table.fillna("-"), note


def refusals(options: Any) -> tuple[pd.DataFrame, str]:
    """What neuralforecast itself says of frames with missing players."""
    note = (
        "`NeuralForecast.fit` on one simulated scene of 22 series (11 agents, two coordinates), "
        "and `predict` after a fit to all of it. Messages are theirs. Rows of a series count as "
        "consecutive: where some are left out, the gap is closed and nothing is said."
    )
    return pd.DataFrame(theirs.refusals(message)).T, note


def fit(options: Any) -> tuple[pd.DataFrame, str]:
    """Time of a fit per training window against neuralforecast's iTransformer."""
    return theirs.fit_times(options.rounds), theirs.FIT_NOTE


TABLES: dict[str, tuple[str, Callable[[Any], tuple[pd.DataFrame, str]], int]] = {
    "nba": ("Peers in the same harness: NBA, 40 -> 10 at 0.16 s", nba, 300),
    "soccer": ("Peers in the same harness: soccer, half of the players unseen", soccer, 120),
    "refusals": ("neuralforecast and missing series", refusals, 0),
    "fit": ("A fit against neuralforecast's iTransformer", fit, 0),
}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], "runs/peers", 0)
    parser.add_argument("tables", nargs="*", default=["nba", "soccer"], help=", ".join(TABLES))
    parser.add_argument("--only", action="append", help="fit and measure this row; write nothing")
    parser.add_argument("--stride", type=int, default=10, help="steps between NBA test windows")
    parser.add_argument("--rounds", type=int, default=5, help="of timing")
    options = parser.parse_args()
    steady()
    steps = options.steps
    for name in options.tables:
        if name not in TABLES:
            parser.error(f"no such table: {name}; there are {', '.join(TABLES)}")
        title, make, default = TABLES[name]
        options.steps = steps or default
        table, note = make(options)
        print(table.to_string(), note, sep="\n", flush=True)
        if not options.only:
            write_section(f"peers-{name}", title, table, note)


if __name__ == "__main__":
    main()
