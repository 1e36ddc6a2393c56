"""NBA 40 -> 10 on validation games: windows with short contexts, and attention over pairs."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks._nba_variants import AllTokens, OwnEdges
from benchmarks._scenes import errors, games
from benchmarks.experiment import Found, Options, rows_of
from benchmarks.nba import OPTIONS, SETTING
from hierforecast import HiPerformer

METRICS = ["nll_per_coordinate", "coverage"]


class Arm(NamedTuple):
    """What an arm changes.

    Args:
        model: options of `HiPerformer`.
        fit: options of `Forecaster`.
    """

    model: dict[str, Any]
    fit: dict[str, Any]


ARMS = {
    "whole contexts": Arm({}, {}),
    "short contexts": Arm({}, {"min_context": 10}),
    "short contexts, relational": Arm({"block": "relational"}, {"min_context": 10}),
    "short contexts, relational for all tokens": Arm({"block": AllTokens}, {"min_context": 10}),
    "short contexts, own edges": Arm({"block": OwnEdges}, {"min_context": 10}),
    "whole contexts, relational": Arm({"block": "relational"}, {}),
}


def measure(name: str, given: Options) -> dict[str, str]:
    """The row of an arm."""
    parts = ("width", "depth", "patch", "dropout", "n_frequencies")
    options = {part: getattr(given, part) for part in parts} | ARMS[name].model
    rest = ("learning_rate", "batch_size", "series_dropout")
    fit = {option: getattr(given, option) for option in rest} | ARMS[name].fit
    fitted = SETTING.fit(name, given, HiPerformer(scale="mirrored", **options), **fit)
    return errors(fitted, games("val"), given.stride, METRICS)


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    return (
        f"Validation games, which also chose the best weights; ADE/FDE in feet. {given.steps} "
        f"steps of {given.batch_size} windows with a full cosine, width {given.width}."
    )


TITLE = "NBA, 40 -> 10: windows and relations"
EXPERIMENTS = {
    "nba-gate": rows_of(
        "nba-gate", "trajectories", TITLE, measure, note, arms=[*ARMS],
        options={**OPTIONS, "steps": 1500},
    )
}  # fmt: skip
