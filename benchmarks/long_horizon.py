"""Long horizons, a sanity row: ETTh1, ETTh2 and exchange, 336 steps -> 96, z-scored.

python -m benchmarks.long_horizon --steps 300 --folder runs/long_horizon
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from benchmarks._results import write_section
from benchmarks._runs import arguments, fit_or_load
from hierforecast import Columns, Forecaster, HiPerformer, Ridge, SeasonalNaive
from hierforecast.datasets import load_long_horizon
from hierforecast.datasets.long_horizon import SPLITS

CONTEXT, HORIZON = 336, 96
SEASON = {"ETTh1": 24, "ETTh2": 24, "exchange": 1}
LENGTHS = {"context_length": CONTEXT, "prediction_length": HORIZON, "columns": Columns(group=None)}


def split(
    frame: pd.DataFrame, lengths: tuple[int, int, int], context: int = CONTEXT
) -> dict[str, pd.DataFrame]:
    """Parts by time, each series z-scored by its training part.

    Validation and test begin a context early, so that their first forecast is of their first step.
    """
    step = frame.groupby("unique_id", sort=False).cumcount()
    train = frame[step < lengths[0]].groupby("unique_id", sort=False)["y"]
    by = frame["unique_id"]
    scaled = (frame["y"] - by.map(train.mean())) / by.map(train.std(ddof=0))
    frame = frame.assign(y=scaled)
    parts, start = {}, 0
    for name, length in zip(("train", "val", "test"), lengths, strict=True):
        before = context if start else 0
        parts[name] = frame[(step >= start - before) & (step < start + length)]
        start += length
    return parts


def errors(forecaster: Forecaster, test: pd.DataFrame) -> str:
    """MSE / MAE over every window of the test part."""
    found = forecaster.evaluate(test, ["mse", "mae"], stride=1)
    value = found[found["part"] == "all"].set_index("metric")["value"]
    return f"{value['mse']:.3f}/{value['mae']:.3f}"


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], "runs/long_horizon", 300)
    parser.add_argument("--sets", nargs="+", default=list(SPLITS), choices=list(SPLITS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table: dict[str, dict[str, str]] = {}
    for name in options.sets:
        parts = split(load_long_horizon(name), SPLITS[name])
        column = table.setdefault(name, {})
        for row, model in (
            ("seasonal naive", SeasonalNaive(SEASON[name])),
            ("Ridge", Ridge()),
            ("HiPerformer", HiPerformer(width=32, depth=1, heads=4, patch=48)),
        ):
            forecaster = Forecaster(
                model,
                max_steps=options.steps,
                batch_size=32,
                series_dropout=0.0,
                seed=options.seed,
                trainer={"enable_progress_bar": False},
                **LENGTHS,
            )
            folder = Path(options.folder) / f"{name}-{type(model).__name__}-{options.seed}"
            fitted = fit_or_load(forecaster, folder, parts["train"], parts["val"])
            column[row] = errors(fitted, parts["test"])
            print(name, row, column[row], flush=True)
    result = pd.DataFrame(table)
    note = (
        f"{CONTEXT} steps in, {HORIZON} out, every window of the test part; MSE/MAE of values "
        "z-scored by the training part; split 12, 4, 4 months (ETT), 7 : 1 : 2 (exchange). The "
        "season is a day (ETT) or a single step (exchange: the last value). A sanity row: one "
        f"seed, {options.steps} steps at most, options not searched."
    )
    print(result.to_string(), note, sep="\n")
    if len(options.sets) == len(SPLITS):
        write_section("long-horizon", "Long horizons, 336 -> 96", result, note)


if __name__ == "__main__":
    main()
