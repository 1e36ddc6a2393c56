"""What a GPU gives: the same numbers as the CPU, how fast, and an NBA fit for a few minutes.

HIERFORECAST_DATA=data OUT=out python -m benchmarks gpu --set minutes=6

Each part prints what it has found and saves it under ``$OUT`` (or the folder) as it goes, so that
a run that is cut off has figures. Without CUDA the first two parts run on the CPU, at tiny sizes.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._gpu_steps import PRECISIONS, Steps, rate
from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON, games
from benchmarks._speed_blocks import SECTORS
from benchmarks.experiment import Experiment, Found, Options, Section
from benchmarks.fits import batch_of
from benchmarks.timing import training_step
from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.datasets import simulate_basketball
from hierforecast.nn.heads import HEADS
from hierforecast.task import Task
from hierforecast.training.optim import Muon, matrices_and_others
from hierforecast.windows import Window

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FULL = DEVICE == "cuda"
SAMPLES = 2000
Rows = dict[str, dict[str, str]]


class Notes:
    """Rows of a part; each figure is printed and saved at once."""

    def __init__(self, part: str, given: Options) -> None:
        self.part, self.rows, self.start = part, Rows(), perf_counter()
        self.folder = Path(os.environ.get("OUT") or given.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not FULL:
            print(f"{part}: no CUDA here, so at a tiny size on the CPU", flush=True)

    def add(self, row: str, **found: object) -> None:
        """Add figures to a row; underscores of their names stand for spaces."""
        figures = {name.replace("_", " "): str(value) for name, value in found.items()}
        self.rows.setdefault(row, {}).update(figures)
        path = self.folder / f"gpu-{self.part}-so-far.json"
        path.write_text(json.dumps(self.rows, indent=1))
        print(f"{perf_counter() - self.start:6.1f} s  {self.part}: {row}: {figures}", flush=True)


def basketball(scenes: int) -> tuple[Task, Window]:
    """The task and a batch of simulated scenes, some cells missing."""
    frame = simulate_basketball(scenes, 50, seed=0, missing=0.1)
    return batch_of(frame, COLUMNS, CONTEXT, HORIZON, dtype="float64")


def market(sizes: Sequence[int]) -> tuple[Task, Window]:
    """The task and a batch of one market of sectors of these sizes, 60 days -> 5."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    row, day = np.divmod(np.arange(65 * len(group)), 65)
    y = np.random.default_rng(0).normal(size=len(row))
    frame = pd.DataFrame({"unique_id": row, "group": group[row], "ds": day, "y": y})
    return batch_of(frame, Columns(group="group"), 60, 5, dtype="float64")


def moved(window: Window, *where: Any) -> Window:
    """A window on another device, or of another type of number."""
    return Window(*(part.to(*where) for part in window))


def answers(model: Any, window: Window) -> dict[str, torch.Tensor]:
    """What a model says of a window: point, loss, likelihood, and moments of samples."""
    batch, future = window
    with torch.no_grad():
        distribution = model(batch)
        samples = distribution.sample((SAMPLES,)).double()
        found = {
            "forward": distribution.mean,
            "loss": model.loss(batch, future),
            "log_prob": distribution.log_prob(future.values, future.present),
            "sample mean": samples.mean(0),
            "sample deviation": samples.std(0),
        }
    return {name: value.double().cpu() for name, value in found.items()}


def apart(name: str, found: torch.Tensor, wanted: dict[str, torch.Tensor]) -> str:
    """A difference as `parity` gives it."""
    error = found - wanted[name]
    if not name.startswith("sample"):
        return f"{error.abs().max() / wanted[name].abs().max().clamp(min=1):.1e}"
    unit = wanted["sample deviation"].clamp(min=1e-12) / SAMPLES**0.5
    return f"{(error / unit).square().mean().sqrt() / (2**0.5 if 'mean' in name else 1):.2f}"


def parity(given: Options) -> Rows:
    """Differences between CPU and GPU, of every head, in both types of number.

    Points, loss and likelihood: the largest, relative to their size. Moments of samples: in
    standard errors, root mean square over cells: about 1, above for a head with heavy tails.
    """
    (task, window), notes = basketball(4), Notes("parity", given)
    for head, dtype in product(HEADS, (torch.float64, torch.float32)):
        torch.manual_seed(0)
        model: Any = HiPerformer(16, 1, 2, dropout=0.0, head=head, task=task).to(dtype)
        here = moved(window, dtype)
        model.fit_statistics(*here)
        wanted = answers(model.eval(), here)
        found = answers(model.to(DEVICE), moved(here, DEVICE))
        row = {name: apart(name, value, wanted) for name, value in found.items()}
        notes.add(f"{head}, {str(dtype).removeprefix('torch.')}", **row)
    return notes.rows


def per_second(arm: Callable[[], Any], seconds: float) -> float:
    """How often a second an arm runs, after three rounds that do not count.

    A GPU is waited for after ten runs at a time: what a single one starts goes on beside the next.
    """
    rounds, start, each = -3, perf_counter(), 10 if FULL else 1
    while rounds < 1 or perf_counter() - start < seconds:
        for _ in range(each):
            arm()
        if FULL:
            torch.cuda.synchronize()
        rounds += 1
        start = perf_counter() if rounds == 0 else start
    return each * rounds / (perf_counter() - start)


def synchronizations(arm: Callable[[], Any]) -> str:
    """How often an arm waits for the GPU."""
    if not FULL:
        return "-"
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arm()
    torch.cuda.set_sync_debug_mode("default")
    return str(sum("synchroniz" in str(each.message) for each in caught))


def bare_step(model: HiPerformer, task: Task, window: Window) -> Callable[[], object]:
    """A step of training on one batch, on the device."""
    built: Any = model.for_task(task)
    built.fit_statistics(*moved(window, torch.float32))
    optimizer = Muon(*matrices_and_others(built.to(DEVICE)), lr=1e-4, fused=True)
    return training_step(built, moved(moved(window, torch.float32), DEVICE), optimizer)


def training(notes: Notes, seconds: float) -> None:
    """Windows a second that are learned from, from the panel on the device to the new weights."""
    frame = simulate_basketball(n_scenes=200 if FULL else 4, n_steps=120 if FULL else 54, seed=0)
    pace = partial(per_second, seconds=seconds)
    peaks = {name: rate(DEVICE, dtype, pace) for name, dtype in PRECISIONS.items()}
    sizes = product((128, 256), (64, 256, 1024)) if FULL else [(8, 2)]
    for (width, count), (name, dtype) in product(sizes, PRECISIONS.items()):
        steps = Steps(width, frame, count, DEVICE, dtype)
        found, same = pace(steps.step), steps.batch()
        share = steps.operations() * found / peaks[name]
        notes.add(
            f"NBA, width {width}, batches of {count}, {name}",
            training_windows_a_second=f"{count * found:.0f}",
            gathered_a_second=f"{count * pace(steps.batch):.0f}",
            learned_a_second=f"{count * pace(lambda: steps.learn(same)):.0f}",  # noqa: B023
            share_of_matrix_products=f"{share:.3f}",
            synchronizations_a_step=synchronizations(steps.step),
        )


def speed(given: Options) -> Rows:
    """Training steps and forecast windows a second."""
    notes, model = Notes("speed", given), HiPerformer(128 if FULL else 8, 2, 8, dropout=0.0)
    training(notes, given.seconds)
    step = bare_step(model, *market(SECTORS if FULL else (3, 2)))
    notes.add(
        "a market of 500 series",
        training_steps_a_second=f"{per_second(step, given.seconds):.2f}",
        synchronizations_a_step=synchronizations(step),
    )
    scenes = 1024 if FULL else 4
    frame = simulate_basketball(n_scenes=scenes, n_steps=50, seed=1)
    few = frame[frame["scene"].isin(frame["scene"].unique()[:64])]
    fitted = nba_plan(given, model, max_steps=1).fit(few)
    pace = scenes * per_second(lambda: fitted.predict(frame[frame["ds"] < 40]), given.seconds)
    notes.add("NBA, predict from frame to frame", windows_a_second=f"{pace:.0f}")
    return notes.rows


def nba_plan(given: Options, model: HiPerformer, max_steps: int, **trainer: Any) -> Forecaster:
    """A forecaster of NBA scenes on the device."""
    trainer |= {"accelerator": "gpu" if FULL else "cpu", "enable_progress_bar": False}
    lengths = {"context_length": CONTEXT, "prediction_length": HORIZON, "columns": COLUMNS}
    options: dict[str, Any] = {"seed": given.seed, "trainer": trainer, **lengths}
    return Forecaster(model, max_steps=max_steps, series_dropout=0.05, **options)


def nba(given: Options) -> Rows | None:
    """ADE/FDE in feet of a fit for so many minutes, on other games."""
    if not FULL:
        print("no CUDA here: the NBA fit is left out")
        return None
    notes, seconds = Notes("nba", given), int(60 * given.minutes)
    train, val, test = map(games, ("train", "val", "test"))
    model = HiPerformer(128, 2, 8, dropout=0.0, patch=20, scale="mirrored", n_frequencies=24)
    pace = per_second(bare_step(model, *basketball(64)), 3.0)
    # Windows are cut and validations made beside the steps.
    steps = given.steps or max(100, int(seconds * pace * 2 / 3))
    notes.add("HiPerformer", bare_steps_a_second=f"{pace:.1f}", steps_planned=steps)
    plan, start = nba_plan(given, model, steps, max_time={"seconds": seconds}), perf_counter()
    fitted = plan.fit(train, val)
    notes.add("HiPerformer", seconds=f"{perf_counter() - start:.0f}", steps=len(fitted.history_))
    fitted.save(notes.folder / "forecaster")
    for stride in (30, 3):  # a first look, and the windows of the table
        errors = fitted.evaluate(test, ["ade", "fde", "nll_per_coordinate"], stride=stride)
        value = errors[errors["part"] == "all"].set_index("metric")["value"].map("{:.3f}".format)
        found = f"{value['ade']}/{value['fde']}, NLL {value['nll_per_coordinate']}"
        notes.add("HiPerformer", **{f"ADE/FDE, a window every {stride} steps": found})
    return notes.rows


PARTS = {"parity": parity, "speed": speed, "nba": nba}


def measure(name: str, given: Options) -> Rows | None:
    """One part."""
    return PARTS[name](given)


def sections(found: Found, given: Options) -> Iterator[Section]:
    """A table of each part that was run."""
    for (name, _), rows in found.items():
        table = pd.DataFrame.from_dict(rows, orient="index").fillna("-")
        yield Section(f"gpu-{name}", f"On a GPU: {name}", table)


EXPERIMENTS = {
    "gpu": Experiment(
        "A GPU against the CPU: parity, speed, and an NBA fit for some minutes",
        "speed",
        (),
        measure,
        sections,
        tuple(PARTS),
        options={"minutes": 6.0, "seconds": 2.0, "steps": 0},
    )
}
