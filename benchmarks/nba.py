"""NBA rollouts, 40 steps -> 10 at 0.16 s: trained on games, tested on other games of the archive.

    python -m benchmarks.nba --steps 12000 --folder runs/nba

Checkpoints go to the folder; the same command after a kill goes on from the last one, and after a
finished fit it only evaluates.
"""

from __future__ import annotations

import argparse

import pandas as pd
import torch

from benchmarks._results import write_section
from benchmarks._runs import arguments, fit_or_load
from hierforecast import Columns, ConstantVelocity, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.datasets import load_nba

COLUMNS = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
LENGTHS = {"context_length": 40, "prediction_length": 10}
LENGTH, WIDTH = 94.0, 50.0


def reflect(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame and its three mirror images: a court has no preferred end and no preferred side."""
    images = []
    for name, x, y in (("", 0, 0), ("/x", 1, 0), ("/y", 0, 1), ("/xy", 1, 1)):
        image = frame.copy()
        image["scene"] = frame["scene"].astype(str) + name
        image["x"] = LENGTH - frame["x"] if x else frame["x"]
        image["y"] = WIDTH - frame["y"] if y else frame["y"]
        images.append(image)
    return pd.concat(images, ignore_index=True)


def table(evaluations: list[pd.DataFrame]) -> pd.DataFrame:
    """ADE/FDE in feet for all agents, players and ball, and what a law adds, a row per model."""
    tidy = pd.concat(evaluations)
    wide = tidy.pivot_table(index="model", columns=["part", "metric"], values="value", sort=False)
    rows = {}
    for model in wide.index:
        row = wide.loc[model]
        cells = {
            part: f"{row[part, 'ade']:.3f}/{row[part, 'fde']:.3f}"
            for part in ("all", "player", "ball")
        }
        for metric in ("nll_per_coordinate", "coverage", "energy_score", "min_ade", "min_fde"):
            cells[metric] = f"{row['all', metric]:.3f}"
        rows[model] = cells
    return pd.DataFrame(rows).T


def network(options: argparse.Namespace) -> Forecaster:
    """The network, not yet fitted."""
    model = HiPerformer(
        width=options.width,
        depth=options.depth,
        patch=options.patch,
        dropout=options.dropout,
        scale="mirrored",
        n_frequencies=options.waves,
    )
    return Forecaster(
        model,
        columns=COLUMNS,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        max_steps=options.steps,
        series_dropout=options.series_dropout,
        seed=options.seed,
        **LENGTHS,
    )


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], folder="runs/nba", steps=12000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--patch", type=int, default=20)
    parser.add_argument("--waves", type=int, default=24)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--series-dropout", type=float, default=0.05)
    parser.add_argument("--stride", type=int, default=3, help="steps between test windows")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    train = load_nba(split="train")
    fitted = fit_or_load(network(options), options.folder, train, lambda: load_nba(split="val"))
    test = load_nba(split="test")
    metrics = ["ade", "fde", "nll_per_coordinate", "coverage", "energy_score", "min_ade", "min_fde"]
    evaluations = []
    for model in (LastValue(), ConstantVelocity(), Ridge()):
        baseline = Forecaster(model, columns=COLUMNS, **LENGTHS)
        baseline.fit(train)
        evaluations.append(baseline.evaluate(test, metrics, stride=options.stride))
    evaluations.append(fitted.evaluate(test, metrics, stride=options.stride))
    result = table(evaluations)
    games = {name: frame["game"].nunique() for name, frame in (("train", train), ("test", test))}
    note = (
        f"{games['train']} training games, {games['test']} other games to test, a window every "
        f"{options.stride} steps; ADE/FDE in feet, min over 20 joint samples; "
        f"{options.steps} steps at most of {options.batch_size} windows, seed {options.seed}."
    )
    print(result.to_string())
    print(note)
    write_section("nba", "NBA, 40 -> 10 at 0.16 s", result, note)


if __name__ == "__main__":
    main()
