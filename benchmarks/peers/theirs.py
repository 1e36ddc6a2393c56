"""neuralforecast as its users run it: `NeuralForecast(...).fit` on a long panel."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

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
WINDOWS = 64


def panel(n_scenes: int, n_steps: int = 60, seed: int = 0) -> pd.DataFrame:
    """Simulated scenes end to end as 22 long series, in neuralforecast's columns."""
    frame = simulate_basketball(n_scenes=n_scenes, n_steps=n_steps, seed=seed)
    frame["ds"] += n_steps * frame["scene"].astype("category").cat.codes.astype(int)
    tall = frame.melt(["unique_id", "ds"], ["x", "y"], "coordinate", "y_")
    tall["unique_id"] = tall["unique_id"] + "_" + tall["coordinate"]
    tall = tall.rename(columns={"y_": "y"})[["unique_id", "ds", "y"]]
    return tall.sort_values(["unique_id", "ds"], ignore_index=True)


def forecaster(name: str, steps: int, freq: Any = 1, **options: Any) -> Any:
    """A `NeuralForecast` around one of its models, for the panel of scenes unless options differ.

    Raises:
        MissingExtraError: if neuralforecast is not installed.
    """
    library = import_extra("neuralforecast", "peers", "to run its own fit")
    models = import_extra("neuralforecast.models", "peers", f"for {name}")
    usual = {"h": 10, "input_size": 40, "windows_batch_size": WINDOWS, **SIZES[name], **QUIET}
    model = getattr(models, name)(max_steps=steps, **{**usual, **options})
    return library.NeuralForecast(models=[model], freq=freq)


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
