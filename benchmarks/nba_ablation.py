"""NBA design ablation at equal steps: attention, tokens, size, symmetry, heads, decoding.

40 steps in, 10 out at 0.16 s. Choices are made by the validation games; the test games only confirm
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks._nba import (
    LEARNING_RATE,
    SCENES_PER_BATCH,
    STEPS,
    Arm,
    agent_errors,
    averaged,
    one_shot,
    rolled,
    sized,
    summary,
    windows,
)
from benchmarks._nba_variants import (
    Alone,
    SceneBlock,
    SeriesTokens,
    WithoutClasses,
    WithoutSeries,
    WithoutVelocity,
)
from benchmarks._scenes import CONTEXT, HORIZON, reflect
from benchmarks.experiment import Experiment, Found, Options, Section
from benchmarks.fits import batch_of
from benchmarks.timing import interleave, steady, training_step
from hierforecast import Columns, Forecaster
from hierforecast.datasets import simulate_basketball
from hierforecast.training.optim import Muon, matrices_and_others

SPLITS = ("val", "test")
# Teams unknown, but the kind of a series, ball or player, known.
KINDS = Columns(target=["x", "y"], group_type="kind", group=None, scene="scene")
BASE = "SA3"
PLAIN = {"scale": "coordinates"}


# Three blocks of attention over all tokens have about as many weights as two of SA3.
ARMS: dict[str, Arm] = {
    BASE: Arm("classes-0-seed0"),
    "SA3, seed 1": Arm("classes-0-seed1", seed=1),
    "SA3, seed 2": Arm("classes-0-seed2", seed=2),
    "without SA_C": Arm("without-sa-c", sized(block=WithoutClasses)),
    "without SA_S": Arm("without-sa-s", sized(block=WithoutSeries)),
    "without both: every series alone": Arm("alone", sized(block=Alone)),
    "full attention, series x steps (3 blocks)": Arm("full", sized(block=SceneBlock, depth=3)),
    "one token a series (iTransformer, 3 blocks)": Arm(
        "itrans", sized(block=SceneBlock, tokens=SeriesTokens, patch=CONTEXT, depth=3)
    ),
    "one group for all, kinds known": Arm("kinds", columns=KINDS),
    "not mirrored": Arm("plain", sized(**PLAIN)),
    "not mirrored, averaged over four reflections": Arm("plain", sized(**PLAIN), forecast=averaged),
    "not mirrored, trained on reflections": Arm("reflected", sized(**PLAIN), train=reflect),
    "patch 10": Arm("patch-10", sized(patch=10)),
    "patch 5": Arm("patch-5", sized(patch=5)),
    "patch 40": Arm("patch-40", sized(patch=40)),
    "depth 1": Arm("depth-1", sized(depth=1)),
    "depth 3": Arm("depth-3", sized(depth=3)),
    "width 128": Arm("width-128", sized(width=128)),
    "no velocity features": Arm("no-velocity", sized(tokens=WithoutVelocity)),
    "Gaussian head": Arm("gaussian", sized(head="gaussian")),
    "5 steps, twice (autoregressive)": Arm("rolled", prediction_length=5, forecast=rolled),
}


# The run that times a training step of every arm, one after the other.
TIMES = "time of a step"


def scores(arm: Arm, forecaster: Forecaster, frame: pd.DataFrame) -> dict[str, float]:
    """ADE and FDE of all, players and ball; the likelihood where the arm has one distribution."""
    parts = summary(agent_errors(forecaster, frame, arm.forecast))
    found = {f"{part} {m}": float(rows[m].mean()) for part, rows in parts.items() for m in rows}
    if arm.forecast is one_shot:
        likelihood = forecaster.evaluate(frame, ["nll_per_coordinate"]).query("part == 'all'")
        found["nll"] = float(likelihood["value"].iloc[0])
    return found


def measure(name: str, given: Options) -> dict[str, Any]:
    """The scores of an arm on each split, or the times of all."""
    if name == TIMES:
        return pace(given.rounds)
    forecaster = ARMS[name].fit(Path(given.fits), given.steps)
    return {
        split: scores(ARMS[name], forecaster, windows(split, given.windows)) for split in SPLITS
    }


def pace(rounds: int) -> dict[str, dict[str, str]]:
    """Each model's weights, and the time of its training step relative to SA3's, in turn."""
    steady()
    frame = simulate_basketball(n_scenes=SCENES_PER_BATCH, n_steps=CONTEXT + HORIZON, seed=0)
    steps, rows = {}, {}
    for name, arm in ARMS.items():
        task, batch = batch_of(frame, arm.columns, CONTEXT, arm.prediction_length)
        model = arm.model.for_task(task)
        rows[name] = {"weights": f"{sum(p.numel() for p in model.parameters()):,}"}
        steps[name] = training_step(model, batch, Muon(*matrices_and_others(model), lr=1e-5))
    timings = interleave(steps, rounds)
    return {name: {**row, TIMES: f"{timings.ratio(name, BASE):.2f}"} for name, row in rows.items()}


def row_of(cells: dict[str, Any], base: float) -> dict[str, str]:
    """An arm's errors on both splits, beside the ADE of SA3."""

    def pair(split: str, part: str) -> str:
        return f"{cells[split][f'{part} ade']:.3f}/{cells[split][f'{part} fde']:.3f}"

    likelihood = {s: f"{cells[s]['nll']:.3f}" if "nll" in cells[s] else "-" for s in SPLITS}
    return {
        "val ADE/FDE": pair("val", "all"),
        "less SA3's ADE": f"{cells['val']['all ade'] - base:+.3f}",
        "val players": pair("val", "players"),
        "val ball": pair("val", "ball"),
        "val NLL": likelihood["val"],
        "test ADE/FDE": pair("test", "all"),
        "test NLL": likelihood["test"],
    }


def sections(found: Found, given: Options) -> list[Section]:
    """A row per arm: what it costs in time, and its errors on both splits."""
    kept = {name: result for (name, _), result in found.items()}
    ade = {name: kept[name]["val"]["all ade"] for name in ARMS if name in kept}
    times, base = kept.get(TIMES, {}), ade.get(BASE, float("nan"))
    table = {name: {**times.get(name, {}), **row_of(kept[name], base)} for name in ade}
    seeds = pd.Series([ade[name] for name in list(ARMS)[:3] if name in ade])
    note = (
        f"{given.steps:,} steps of {SCENES_PER_BATCH} windows at a learning rate of "
        f"{LEARNING_RATE:g}; unless said one seed, width 64, depth 2, patch 20, mirrored scale; "
        f"{given.windows:,} random windows of the validation games, which also chose the best "
        f"weights, and of the test games; feet. The ADE of {len(seeds)} seeds of SA3 has a "
        f"standard deviation of {seeds.std():.3f}: smaller differences say nothing. Time of a "
        "training step on one thread, by interleaved medians, relative to SA3's."
    )
    title = "NBA, design ablation at equal steps"
    return [Section("nba-ablation", title, pd.DataFrame(table).T, note)]


EXPERIMENTS = {
    "nba-ablation": Experiment(
        "NBA, design ablation at equal steps: attention, tokens, size, symmetry, heads",
        "trajectories",
        ("nba-ablation",),
        measure,
        sections,
        lambda given: (*ARMS, TIMES),
        options={"steps": STEPS, "windows": 1000, "rounds": 9},
        beside={"fits": "runs/nba40"},
    )
}
