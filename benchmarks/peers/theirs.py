"""neuralforecast as its users run it: `NeuralForecast(...).fit` on a long panel."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._scenes import COLUMNS
from benchmarks.fits import batch_of
from benchmarks.timing import interleave
from hierforecast import Forecaster, HiPerformer
from hierforecast.datasets import simulate_basketball
from hierforecast.errors import import_extra

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
# The sizes of the peers' table; all but these are neuralforecast's own defaults.
SIZES: dict[str, dict[str, Any]] = {
    "iTransformer": {"n_series": 22, "hidden_size": 104, "d_ff": 416},
    "SOFTS": {"n_series": 22, "hidden_size": 104, "d_core": 104, "d_ff": 416},
    "TSMixer": {"n_series": 22},
    "TimesNet": {"hidden_size": 16, "conv_hidden_size": 16, "top_k": 2, "num_kernels": 3},
}
WINDOWS, SHORT, LONG = 64, 20, 60
FIT_NOTE = (
    "Simulated basketball, one thread, process time, medians of interleaved rounds. A window is "
    "the same for both: 40 steps in and 10 out of all 11 agents (22 series for neuralforecast), "
    "64 of them in a step. A fit is that of 60 steps, from the frame on, with all that the library "
    "does by default, HiPerformer's validations among it; a further step is the difference between "
    "fits of 60 and of 20 steps. neuralforecast gets the scenes end to end as one panel. Times the "
    "windows per second of neuralforecast's iTransformer; above 1 is faster than it. At equal "
    "parameters it does less for a window: 22 tokens and one attention a layer, against 33 tokens "
    "and three attentions a block (the paper's, not the relational default), and a joint "
    "distribution besides."
)


def panel(n_scenes: int, n_steps: int = 60, seed: int = 0) -> pd.DataFrame:
    """Simulated scenes end to end as 22 long series, in neuralforecast's columns."""
    frame = simulate_basketball(n_scenes=n_scenes, n_steps=n_steps, seed=seed)
    frame["ds"] += n_steps * frame["scene"].astype("category").cat.codes.astype(int)
    tall = frame.melt(["unique_id", "ds"], ["x", "y"], "coordinate", "y_")
    tall["unique_id"] = tall["unique_id"] + "_" + tall["coordinate"]
    tall = tall.rename(columns={"y_": "y"})[["unique_id", "ds", "y"]]
    return tall.sort_values(["unique_id", "ds"], ignore_index=True)


def forecaster(name: str, steps: int) -> Any:
    """A `NeuralForecast` around one of its models.

    Raises:
        MissingExtraError: if neuralforecast is not installed.
    """
    library = import_extra("neuralforecast", "peers", "to run its own fit")
    models = import_extra("neuralforecast.models", "peers", f"for {name}")
    model = getattr(models, name)(
        h=10, input_size=40, max_steps=steps, windows_batch_size=WINDOWS, **SIZES[name], **QUIET
    )
    return library.NeuralForecast(models=[model], freq=1)


def quietly(call: Callable[[], Any]) -> Any:
    """Call without the library's advice on machines and versions."""
    for name in ("lightning", "lightning_fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
        for child in ("utilities.rank_zero", "callbacks", "trainer"):
            logging.getLogger(f"{name}.{child}").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def refusals(message: Callable[[Exception], str], steps: int = 2) -> dict[str, dict[str, str]]:
    """What each model says of a frame in which players are missing.

    Args:
        message: an error as a cell of a table.
        steps: of training, where they train.
    """
    whole = panel(1, n_steps=80)
    hole = whole[~((whole["unique_id"] == "home_4_x") & whole["ds"].between(30, 40))]
    empty = whole.assign(y=whole["y"].where(whole.index.isin(hole.index), np.nan))
    fewer = whole[~whole["unique_id"].str.startswith(("home_4", "away_4"))]

    def tried(call: Callable[[], Any]) -> str:
        try:
            answer = quietly(call)
        except Exception as error:
            return message(error)
        lost = isinstance(answer, pd.DataFrame) and answer.iloc[:, -1].isna().any()
        return "runs, forecasts NaN" if lost else "runs"

    rows = {}
    for name in SIZES:

        def after(frame: pd.DataFrame, name: str = name) -> Any:
            fitted = forecaster(name, steps)
            fitted.fit(whole)
            return fitted.predict(frame)

        rows[name] = {
            "fit, some steps NaN": tried(lambda name=name: forecaster(name, steps).fit(empty)),
            "fit, their rows left out": tried(lambda name=name: forecaster(name, steps).fit(hole)),
            "predict, some steps NaN": tried(lambda after=after: after(empty)),
            "predict, two players left out": tried(lambda after=after: after(fewer)),
        }
    return rows


def fit_times(rounds: int, scenes: int = 200) -> pd.DataFrame:
    """Windows per second of fits, relative to neuralforecast's iTransformer."""
    frame, tall = simulate_basketball(n_scenes=scenes, n_steps=60, seed=0), panel(scenes)
    small: dict[str, Any] = {"width": 64, "dropout": 0.0, "block": "sa3"}
    plans = {
        "HiPerformer, 64 wide": HiPerformer(**small),
        "the same, independent head": HiPerformer(**small, head="gaussian"),
        "the same, one token for the context": HiPerformer(**small, head="gaussian", patch=40),
    }

    def ours(model: HiPerformer, steps: int) -> Any:
        bare = {"accelerator": "cpu", "enable_progress_bar": False}
        lengths = {"context_length": 40, "prediction_length": 10}
        plan = Forecaster(model, columns=COLUMNS, max_steps=steps, trainer=bare, **lengths)
        return plan.fit(frame)

    arms: dict[str, Callable[[], Any]] = {}
    for steps in (SHORT, LONG):
        arms[f"theirs {steps}"] = lambda steps=steps: quietly(
            lambda: forecaster("iTransformer", steps).fit(tall)
        )
        for label, model in plans.items():
            arms[f"{label} {steps}"] = lambda model=model, steps=steps: ours(model, steps)
    seconds = interleave(arms, rounds).seconds
    count = {label: _parameters(model) for label, model in plans.items()}
    count["theirs"] = sum(p.numel() for p in forecaster("iTransformer", 1).models[0].parameters())
    rows = {}
    for label in ("theirs", *plans):
        name = "neuralforecast iTransformer, 104 wide" if label == "theirs" else label
        rows[name] = {"parameters": f"{count[label]:,}", **_relative(seconds, label)}
    return pd.DataFrame(rows).T


def _relative(seconds: dict[str, list[float]], label: str) -> dict[str, str]:
    """Windows per second of a fit and of its further steps, relative to theirs."""
    whole, step = {}, {}
    for name in ("theirs", label):
        long, short = (np.array(seconds[f"{name} {steps}"]) for steps in (LONG, SHORT))
        whole[name], step[name] = long, long - short
    return {
        "a fit of 60 steps": f"{np.median(whole['theirs'] / whole[label]):.2f}",
        "a further step": f"{np.median(step['theirs'] / step[label]):.2f}",
    }


def _parameters(model: HiPerformer) -> int:
    """Of a model built for simulated basketball."""
    task, _ = batch_of(simulate_basketball(n_scenes=2, n_steps=50, seed=0), COLUMNS, 40, 10)
    return sum(p.numel() for p in model.for_task(task).parameters())
