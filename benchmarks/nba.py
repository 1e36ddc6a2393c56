"""NBA rollouts, 40 steps -> 10 at 0.16 s: trained on games, tested on other games."""

from __future__ import annotations

from dataclasses import replace

from benchmarks._scenes import COLUMNS, errors, games
from benchmarks.experiment import Found, Options, rows_of
from benchmarks.fits import Setting
from hierforecast import ConstantVelocity, HiPerformer, LastValue, Ridge

BASELINES = {"LastValue": LastValue, "ConstantVelocity": ConstantVelocity, "Ridge": Ridge}
# Blocks, and whether windows that begin before their scene does are learned from.
NETWORKS = {"HiPerformer": ("sa3", False), "HiPerformer, relational": ("relational", True)}
METRICS = ["nll_per_coordinate", "coverage", "energy_score", "min_ade", "min_fde"]
OPTIONS = {
    "steps": 12000,
    "width": 128,
    "depth": 2,
    "patch": 20,
    "n_frequencies": 24,
    "dropout": 0.0,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "series_dropout": 0.05,
    "min_context": 10,  # of the windows that begin before their scene does
    "stride": 3,  # steps between test windows
}
SETTING = Setting(COLUMNS, 40, 10, lambda: games("train"), lambda: games("val"))


def measure(name: str, given: Options) -> dict[str, str]:
    """The row of a model."""
    if name in BASELINES:
        fitted = replace(SETTING, val=None).fit(name, given, BASELINES[name]())
    else:
        block, early = NETWORKS[name]
        parts = ("width", "depth", "patch", "dropout", "n_frequencies")
        options = {part: getattr(given, part) for part in parts}
        model = HiPerformer(scale="mirrored", block=block, **options)
        rest = ("learning_rate", "batch_size", "series_dropout", *["min_context"] * early)
        options = {option: getattr(given, option) for option in rest}
        fitted = SETTING.fit(name, given, model, **options)
    return errors(fitted, games("test"), given.stride, METRICS)


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    count = {split: games(split)["game"].nunique() for split in ("train", "test")}
    return (
        f"{count['train']} training games, {count['test']} other games to test, a window every "
        f"{given.stride} steps; ADE/FDE in feet, min over 20 joint samples; "
        f"{given.steps} steps at most of {given.batch_size} windows, seed {given.seed}; "
        "relational: half of them begin before their scene, of which they see "
        f"{given.min_context} steps or more."
    )


TITLE, ARMS = "NBA, 40 -> 10 at 0.16 s", (*BASELINES, *NETWORKS)
EXPERIMENTS = {
    "nba": rows_of("nba", "trajectories", TITLE, measure, note, arms=ARMS, options=OPTIONS)
}
