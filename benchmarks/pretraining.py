"""NBA 40 -> 10 with few games: fits that go on from a pretraining by masked cells, and others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON, games
from benchmarks.experiment import Experiment, Found, Options, Section, spread, stem
from benchmarks.fits import fit_or_load
from hierforecast import Forecaster, HiPerformer
from hierforecast.io.checkpoints import LAST

TITLE = "NBA, 40 -> 10: pretraining, and few games to fit"
# What a fit starts from; but for the first two, what was learned of all training games.
NOTHING, ALL_STEPS = "nothing", "nothing, all steps"
STARTS = (NOTHING, ALL_STEPS, "units and linear start", "masked cells", "forecasts")
GAMES = (10, 30, 100)
ARMS = {f"{start}, {n} games": (start, n) for n in GAMES for start in STARTS}
METRICS = {"ade": "ADE", "fde": "FDE", "nll_per_coordinate": "NLL"}


def few(n: int, seed: int) -> pd.DataFrame:
    """Random training games, the same for every start; fewer are among more."""
    frame = games("train")
    chosen = np.random.default_rng(seed).permutation(sorted(frame["game"].unique()))[:n]
    return frame[frame["game"].isin(chosen)]


def plan(given: Options, steps: int) -> Forecaster:
    """What is fitted or pretrained: the same in every arm but for its steps."""
    return Forecaster(
        HiPerformer(given.width, dropout=0.0, scale="mirrored"),
        context_length=CONTEXT, prediction_length=HORIZON, columns=COLUMNS,
        learning_rate=given.learning_rate, batch_size=given.batch_size, max_steps=steps,
        series_dropout=0.0, seed=given.seed, trainer={"enable_progress_bar": False},
    )  # fmt: skip


def started(start: str, given: Options) -> Forecaster:
    """What was learned of all training games, from its folder if that is done."""
    folder = given.folder / "fits" / stem(f"before, {start}", given).name
    train, val = games("train"), games("val")
    if start == "forecasts":
        return fit_or_load(plan(given, given.before), folder, train, val)
    if (folder / "forecaster").exists():
        return Forecaster.load(folder / "forecaster")
    forecaster = plan(given, given.before)
    forecaster.set_params(trainer={**(forecaster.trainer or {}), "default_root_dir": str(folder)})
    if start != "masked cells":  # a step that moves no weight to speak of
        forecaster.set_params(max_steps=1, learning_rate=1e-12)
    resume = (folder / LAST).exists()
    forecaster.pretrain(train, val, hidden=given.hidden, resume=resume).save(folder / "forecaster")
    return forecaster


def measure(name: str, given: Options) -> dict[str, Any]:
    """Errors of an arm on test games, and what answers."""
    start, n = ARMS[name]
    fresh = plan(given, given.steps + (given.before if start == ALL_STEPS else 0))
    warm = start not in (NOTHING, ALL_STEPS)
    forecaster = started(start, given) if warm else fresh
    forecaster.set_params(**{k: v for k, v in fresh.get_params(False).items() if k != "model"})
    folder = given.folder / "fits" / stem(name, given).name
    fitted = fit_or_load(forecaster, folder, few(n, given.seed), games("val"), warm_start=warm)
    rows = fitted.evaluate(games("test"), [*METRICS], stride=given.stride)
    value = rows[rows["part"] == "all"].set_index("metric")["value"]
    return {**{k: float(value[k]) for k in METRICS}, "answers": fitted.report_.rung}


def sections(found: Found, given: Options) -> list[Section]:
    """A row an arm: means over seeds, and how far it is ahead of fits from nothing."""
    rows = {}
    for arm in dict.fromkeys(name for name, _ in found):
        runs = pd.DataFrame({seed: kept for (name, seed), kept in found.items() if name == arm}).T
        scratch = f"{NOTHING}, {ARMS[arm][1]} games"
        ade = {seed: kept["ade"] for (name, seed), kept in found.items() if name == scratch}
        gain = 100 * (runs["ade"] / pd.Series(ade, dtype=float) - 1).dropna()
        rows[arm] = {title: spread(runs[k].astype(float)) for k, title in METRICS.items()}
        rows[arm]["ADE against nothing, %"] = "-" if arm == scratch else spread(gain, 1)
        rows[arm]["network answers"] = f"{(runs['answers'] == 'network').sum()} of {len(runs)}"
    longer = f" (all steps: {given.before} more)" if f"{ALL_STEPS}, 10 games" in rows else ""
    note = (
        f"Test games, a window every {given.stride} steps, feet; NLL in nats per coordinate. Each "
        f"fit has {given.steps} steps of {given.batch_size} windows of random training games, "
        f"width {given.width}, and stops and chooses by the validation games. It starts from "
        f"nothing{longer}, or from what was learned of all training games: units and linear start "
        f"alone; these and {given.before} steps by masked cells; {given.before} steps of a fit. "
        "Where the network does not answer, what it started from does. Mean ± deviation over seeds "
        f"({', '.join(map(str, given.seeds))}), which draw the games too."
    )
    return [Section("pretraining", TITLE, pd.DataFrame.from_dict(rows, orient="index"), note)]


OPTIONS = {
    "steps": 300,
    "before": 1000,
    "width": 64,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "hidden": 0.5,
    "stride": 10,
}
EXPERIMENTS = {
    "pretraining": Experiment(
        TITLE, "trajectories", ("pretraining",), measure, sections, [*ARMS], (0, 1, 2), OPTIONS
    )
}
