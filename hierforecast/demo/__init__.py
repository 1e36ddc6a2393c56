"""The main job in a few minutes: forecast at once, then train, forecast with players missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from hierforecast.datasets import simulate_basketball
from hierforecast.demo.pictures import HIDDEN, HORIZON, draw_rollout, look_ahead, save_picture
from hierforecast.forecaster import Forecaster
from hierforecast.io.files import write_table
from hierforecast.models import ConstantVelocity, HiPerformer, LastValue, Ridge
from hierforecast.weights import pretrained

CONTEXT = 40  # steps of 0.16 s
HOW_MANY = (0, 1, 2, 4)


@dataclass(frozen=True)
class Size:
    """How much work a demo is.

    Args:
        scenes: to train on.
        tests: scenes to measure on; they are drawn with another seed.
        steps: training steps at most.
        length: steps of a scene.
        width: of the model.
        dpi: of the animation.
    """

    scenes: int
    tests: int
    steps: int
    length: int = 100
    width: int = 64
    dpi: int = 100


def run(
    out: Path,
    *,
    seed: int = 0,
    scenes: int = 400,
    steps: int = 1200,
    quick: bool = False,
    console: Console | None = None,
) -> pd.DataFrame:
    """Train, compare, hide players, draw; write everything into a folder.

    Args:
        out: the folder; what an earlier demo wrote there is replaced.
        seed: of everything random.
        scenes: to train on.
        steps: training steps at most.
        quick: seconds of work instead of minutes; the figures are then worth nothing.
        console: where to print.

    Returns:
        The scores: model, part, hidden, metric, value.
    """
    start = time.perf_counter()
    console = console or Console()
    size = Size(12, 4, 3, 72, 16, 40) if quick else Size(scenes, 60, steps)
    out.mkdir(parents=True, exist_ok=True)
    console.rule("forecast")
    show_first(out / "first.png", console, start)
    console.rule("simulate")
    train = simulate_basketball(size.scenes, n_steps=size.length, seed=seed)
    test = simulate_basketball(size.tests, n_steps=size.length, seed=seed + 1)
    console.print(
        f"{size.scenes} scenes to train on, {size.tests} of another seed to test on: a ball and "
        f"ten players, {size.length} steps of 0.16 s. From {CONTEXT} steps, forecast {HORIZON}."
    )
    with one_thread():
        console.rule("train")
        forecasters = fit_models(train, size, seed)
        console.rule("compare")
        scores = compare(forecasters, test)
        console.print(accuracy_table(scores))
        scores = pd.concat([scores, compare_hidden(forecasters, test)], ignore_index=True)
        console.print(hidden_table(scores))
    console.rule("draw")
    files = write_files(out, forecasters["HiPerformer"], test, scores, size, console)
    console.print(f"Files in {out.resolve()}:", soft_wrap=True)
    console.print(files_table(files))
    console.print(f"Done in {time.perf_counter() - start:.0f} s. Go on from here, for example:")
    command = f"hierforecast predict {out / 'history.csv'} {out / 'forecaster'} --level 90"
    console.print(f"  {command}", soft_wrap=True, highlight=False)
    return scores


def show_first(path: Path, console: Console, start: float) -> None:
    """A forecast by the forecaster that comes with the package, before anything is trained."""
    with one_thread():
        forecaster = pretrained("basketball")
        *_, (past, _, truth) = look_ahead(forecaster, simulate_basketball(20, 80, seed=1))
        save_picture(draw_rollout(past, truth, forecaster), path)
    console.print(
        f"After {time.perf_counter() - start:.0f} s, by a forecaster that comes with the package "
        f"(hierforecast.pretrained): {path}. Now one of your own:",
        soft_wrap=True,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Threads gain nothing on a model this small; where cores are busy, they wait for each other.

    Measured on two cores with a load of five: 3.6 s a step with two threads, 0.2 s with one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fit_models(train: pd.DataFrame, size: Size, seed: int) -> dict[str, Forecaster]:
    """The model and its baselines by name, fitted on the same scenes."""
    model = HiPerformer(width=size.width, depth=2, heads=4, patch=20, scale="mirrored")
    options: dict[str, Any] = {
        "context_length": CONTEXT,
        "prediction_length": HORIZON,
        "columns": simulate_basketball.columns,
        "learning_rate": 3e-3,
        "max_steps": size.steps,
        "seed": seed,
    }
    plans = [model, Ridge(), ConstantVelocity(), LastValue()]
    return {type(plan).__name__: Forecaster(plan, **options).fit(train) for plan in plans}


# --- figures ----------------------------------------------------------------------------------


def displacement(backtest: pd.DataFrame, model: str) -> tuple[float, float]:
    """ADE and FDE in feet of a backtest in which every truth is present."""
    error = np.hypot(backtest[f"{model}_x"] - backtest["x"], backtest[f"{model}_y"] - backtest["y"])
    return float(error.mean()), float(error[backtest["ds"] - backtest["cutoff"] == HORIZON].mean())


def compare(forecasters: dict[str, Forecaster], test: pd.DataFrame) -> pd.DataFrame:
    """ADE and FDE of every model for all agents, players and ball, nobody hidden."""
    parts = [f.evaluate(test, ["ade", "fde", "coverage"]) for f in forecasters.values()]
    return pd.concat(parts, ignore_index=True).assign(hidden=0)


def compare_hidden(forecasters: dict[str, Forecaster], test: pd.DataFrame) -> pd.DataFrame:
    """ADE and FDE of the same seven agents while players of both teams are hidden from the model.

    Constant velocity looks at one agent at a time: for it nothing changes.
    """
    parts = []
    for name in ("HiPerformer", "ConstantVelocity"):
        for count in HOW_MANY:
            seen = test[~test["unique_id"].isin(HIDDEN[:count])]
            backtest = forecasters[name].backtest(seen)
            always = backtest[~backtest["unique_id"].isin(HIDDEN)]
            errors = {"metric": ("ade", "fde"), "value": displacement(always, name)}
            parts.append(pd.DataFrame(errors).assign(model=name, hidden=count))
    return pd.concat(parts, ignore_index=True).assign(part="always visible")


def accuracy_table(scores: pd.DataFrame) -> Table:
    """Models against parts; the ratio is the one to look at."""
    table = _table(
        ("model", "all agents", "players", "ball", "ratio", "covered"),
        "Error in feet, mean over the horizon / at its last step (ADE / FDE)",
        "ratio: ADE of all agents over that of constant velocity; "
        "covered: truths inside the 90 % interval",
    )
    value = scores.set_index(["model", "part", "metric"])["value"]
    for model in scores["model"].unique():
        cells = [
            f"{value[model, part, 'ade']:.2f} / {value[model, part, 'fde']:.2f}"
            for part in ("all", "player", "ball")
        ]
        ratio = value[model, "all", "ade"] / value["ConstantVelocity", "all", "ade"]
        covered = value[model, "all", "coverage"]
        style = "bold" if model == "HiPerformer" else None
        table.add_row(model, *cells, f"{ratio:.2f}", f"{covered:.0%}", style=style)
    return table


def hidden_table(scores: pd.DataFrame) -> Table:
    """What hiding players costs the others."""
    models = ("HiPerformer", "ConstantVelocity")
    table = _table(
        ("players hidden", *models, "ratio"),
        f"The same {11 - len(HIDDEN)} agents while others are hidden (ADE / FDE, feet)",
        "A hidden player's rows are not there; the others are forecast all the same.",
    )
    own = scores[scores["part"] == "always visible"]
    value = own.set_index(["model", "hidden", "metric"])["value"]
    for count in HOW_MANY:
        ade, fde = ([value[model, count, metric] for model in models] for metric in ("ade", "fde"))
        who = f"{count}: {', '.join(HIDDEN[:count])}" if count else "0"
        cells = [f"{mean:.2f} / {last:.2f}" for mean, last in zip(ade, fde, strict=True)]
        table.add_row(who, *cells, f"{ade[0] / ade[1]:.2f}")
    return table


def _table(heads: tuple[str, ...], title: str, caption: str) -> Table:
    """An empty table of figures, the first column of which holds names."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, caption=caption)
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left")
    return table


# --- files ------------------------------------------------------------------------------------


def write_files(
    out: Path,
    forecaster: Forecaster,
    test: pd.DataFrame,
    scores: pd.DataFrame,
    size: Size,
    console: Console,
) -> dict[Path, str]:
    """Everything that stays: path -> what it is."""
    from hierforecast.plot import animate_rollout

    history, forecast, (past, ahead, truth) = look_ahead(forecaster, test)
    files = {
        out / "rollout.png": "one scene, two players hidden: forecast, truth, samples",
        out / "rollout.gif": "the same, moving",
        out / "scores.csv": "the figures above",
        out / "history.csv": "the test scenes up to the cutoff, two players hidden",
        out / "forecast.csv": "their forecast, with 90 % intervals",
        out / "forecaster": "the trained model, for `hierforecast predict` and Forecaster.load",
    }
    picture, animation, *tables, folder = files
    figure = draw_rollout(past, truth, forecaster)
    save_picture(figure, picture)
    with console.status(f"writing {animation}"):
        animate_rollout(
            past, ahead, truth, path=animation, rate=6.25, dpi=size.dpi, title="Two players hidden"
        )
    for path, table in zip(tables, (scores, history, forecast), strict=True):
        write_table(table, path)
    forecaster.save(folder)
    return files


def files_table(files: dict[Path, str]) -> Table:
    """What the files are; names only, so that no path is broken over lines."""
    table = Table(show_header=False, box=None)
    for path, what in files.items():
        table.add_row(f"  {path.name}", what)
    return table
