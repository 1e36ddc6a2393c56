"""NBA design ablation at equal steps: attention, tokens, size, symmetry, heads, decoding.

    python -m benchmarks.nba_ablation

40 steps in, 10 out at 0.16 s. Choices are made by the validation games; the test games only confirm
them. Each arm is fitted and measured once and kept in the folder; with `--arms` only the arms named
and no table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks._nba import (
    CONTEXT,
    HORIZON,
    LEARNING_RATE,
    SCENES_PER_BATCH,
    SIZE,
    STEPS,
    Arm,
    agent_errors,
    averaged,
    one_shot,
    rolled,
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
from benchmarks._results import write_section
from benchmarks._runs import arguments
from benchmarks.nba import reflect
from benchmarks.timing import Timings, interleave, steady
from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.cutoffs import cutoffs_of
from hierforecast.datasets import simulate_basketball
from hierforecast.frame import read_frame
from hierforecast.optim import Muon, matrices_and_others
from hierforecast.task import Task
from hierforecast.windows import WindowDataset

SPLITS = ("val", "test")
# Teams unknown, but the ball is told from the players.
KINDS = Columns(target=["x", "y"], group_type="kind", group=None, scene="scene")
BASE = "SA3"
PLAIN = {"scale": "coordinates"}


def sized(**options: Any) -> HiPerformer:
    """A model of the common size, with some options changed."""
    return HiPerformer(**{**SIZE, **options})


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


def measure(arm: Arm, forecaster: Forecaster, frame: pd.DataFrame) -> dict[str, float]:
    """ADE and FDE of all, players and ball; the likelihood where the arm has one law."""
    parts = summary(agent_errors(forecaster, frame, arm.forecast))
    found = {f"{part} {m}": float(rows[m].mean()) for part, rows in parts.items() for m in rows}
    if arm.forecast is one_shot:
        law = forecaster.evaluate(frame, ["nll_per_coordinate"]).query("part == 'all'")
        found["nll"] = float(law["value"].iloc[0])
    return found


def kept_at(name: str, folder: str, steps: int, count: int) -> Path:
    """The file of what `measure` found of an arm."""
    arm = ARMS[name]
    return arm.place(folder, steps) / f"ablation-{arm.forecast.__name__}-{count}.csv"


def measured(name: str, folder: str, steps: int, count: int) -> pd.DataFrame:
    """What `measure` found of an arm on each split, kept beside its fit."""
    arm, path = ARMS[name], kept_at(name, folder, steps, count)
    if not path.exists():
        forecaster = arm.fit(folder, steps)
        rows = {split: measure(arm, forecaster, windows(split, count)) for split in SPLITS}
        pd.DataFrame(rows).T.to_csv(path)
    return pd.read_csv(path, index_col=0)


def pace(names: list[str], rounds: int) -> tuple[Timings, dict[str, int]]:
    """Seconds of training steps, arms in turn, and each model's weights."""
    frame = simulate_basketball(n_scenes=SCENES_PER_BATCH, n_steps=CONTEXT + HORIZON, seed=0)
    steps, weights = {}, {}
    for name in names:
        arm = ARMS[name]
        panel = read_frame(frame, arm.columns, dtype="float32")
        lengths = CONTEXT, arm.prediction_length
        dataset = WindowDataset(panel, cutoffs_of(panel, *lengths, stride=100), *lengths)
        batch = dataset.__getitems__(list(range(len(dataset))))
        model = arm.model.for_task(Task.of(panel, *lengths))
        weights[name] = sum(p.numel() for p in model.parameters())
        optimiser = Muon(*matrices_and_others(model), lr=1e-5)

        def step(model: Any = model, batch: Any = batch, optimiser: Any = optimiser) -> None:
            optimiser.zero_grad()
            model.loss(*batch).backward()
            optimiser.step()

        steps[name] = step
    return interleave(steps, rounds), weights


def table_of(
    found: dict[str, pd.DataFrame], timings: Timings, weights: dict[str, int]
) -> pd.DataFrame:
    """A row per arm: what it costs in time, and its errors on both splits."""
    rows = {}
    for name, cells in found.items():
        val, test = cells.loc["val"], cells.loc["test"]
        gain = val["all ade"] - found[BASE].loc["val", "all ade"]
        rows[name] = {
            "weights": f"{weights[name]:,}",
            "time of a step": f"{timings.ratio(name, BASE):.2f}",
            "val ADE/FDE": f"{val['all ade']:.3f}/{val['all fde']:.3f}",
            "less SA3's ADE": f"{gain:+.3f}",
            "val players": f"{val['players ade']:.3f}/{val['players fde']:.3f}",
            "val ball": f"{val['ball ade']:.3f}/{val['ball fde']:.3f}",
            "val NLL": f"{val['nll']:.3f}" if "nll" in val else "-",
            "test ADE/FDE": f"{test['all ade']:.3f}/{test['all fde']:.3f}",
            "test NLL": f"{test['nll']:.3f}" if "nll" in test else "-",
        }
    return pd.DataFrame(rows).T


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], "runs/nba40", steps=STEPS)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), help="these only, no table")
    parser.add_argument("--measured", action="store_true", help="a table of what is there so far")
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9, help="of the timing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = {"folder": options.folder, "steps": options.steps, "count": options.windows}
    names = options.arms or list(ARMS)
    if options.measured:
        names = [name for name in names if kept_at(name, **where).exists()]
    found = {name: measured(name, **where) for name in names}
    if options.arms:
        return
    steady()
    result = table_of(found, *pace(names, options.rounds))
    seeds = pd.Series([found[n].loc["val", "all ade"] for n in list(ARMS)[:3] if n in found])
    note = (
        f"{options.steps:,} steps of {SCENES_PER_BATCH} windows at a learning rate of "
        f"{LEARNING_RATE:g}; unless said one seed, width 64, depth 2, patch 20, mirrored scale; "
        f"{options.windows:,} random windows of the validation games, which also chose the best "
        f"weights, and of the test games; feet. The ADE of {len(seeds)} seeds of SA3 has a "
        f"standard deviation of {seeds.std():.3f}: smaller differences say nothing. Time of a "
        "training step on one thread, by interleaved medians, relative to SA3's."
    )
    print(result.to_string())
    print(note)
    write_section("nba-ablation", "NBA, design ablation at equal steps", result, note)


if __name__ == "__main__":
    main()
