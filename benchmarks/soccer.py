"""Soccer, half of the player-frames unseen: 8 s in, 2 s out at 5 Hz, three files -> a fourth."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import _visibility as visibility
from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON
from benchmarks.experiment import Experiment, Found, Options, Section, rows_of, spread
from benchmarks.fits import Setting
from hierforecast import ConstantVelocity, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.datasets import load_soccer

TRAIN, TEST = (7, 8, 9), (10,)
SERIES = ["scene", "unique_id"]
WINDOW = [*SERIES, "cutoff"]
BASELINES = {"LastValue": LastValue, "ConstantVelocity": ConstantVelocity, "Ridge": Ridge}
NETWORK, LIKELIHOOD, HEADS = "HiPerformer", "likelihood", "both heads"
OPTIONS = {"steps": 1500, "stride": 5}  # stride: steps between test windows


@functools.cache
def matches(files: tuple[int, ...]) -> pd.DataFrame:
    """Files of the match, read once."""
    return load_soccer(files)


def fitted(name: str, given: Options, **options: Any) -> Forecaster:
    """A model that has learned from the training files: a baseline, or HiPerformer, fitted once.

    Args:
        name: of a baseline, or of the folder of HiPerformer's fit.
        given: steps, seed and the folder.
        options: of HiPerformer, beside the usual ones.
    """
    setting = Setting(COLUMNS, CONTEXT, HORIZON, lambda: matches(TRAIN))
    if name in BASELINES:
        return setting.fit(name, given, BASELINES[name]())
    model = HiPerformer(**{"dropout": 0.0, "scale": "mirrored", **options})
    return setting.fit(name, given, model, batch_size=32)


def scored(forecaster: Forecaster, test: pd.DataFrame, stride: int) -> pd.DataFrame:
    """A row per series, cutoff and step: error, interval and steps since the series was last seen.

    Returns:
        The backtest with ``error`` (metres, NaN where the truth was not seen), ``ahead`` (steps
        after the cutoff), ``kind`` of series, ``unseen`` (steps since it was last seen, 0 in view).
    """
    name = type(forecaster.model).__name__
    rows = forecaster.backtest(test, stride=stride, level=[90])
    error = np.hypot(rows[f"{name}_x"] - rows["x"], rows[f"{name}_y"] - rows["y"])
    rows = rows.assign(error=error, ahead=rows["ds"] - rows["cutoff"])
    kinds = test.drop_duplicates(SERIES)[[*SERIES, "kind"]]
    rows = rows.merge(kinds, on=SERIES).sort_values("cutoff", kind="stable")
    seen = test[[*SERIES, "ds"]].rename(columns={"ds": "last"}).sort_values("last")
    rows = pd.merge_asof(rows, seen, left_on="cutoff", right_on="last", by=SERIES)
    return rows.assign(unseen=rows["cutoff"] - rows["last"])


def errors(rows: pd.DataFrame) -> dict[str, str]:
    """ADE/FDE in metres over the observed cells: all, by kind, by whether it is in view."""

    def cell(part: pd.DataFrame) -> str:
        path = part.groupby(WINDOW)["error"].mean().mean()
        last = part.loc[part["ahead"] == HORIZON, "error"].mean()
        return f"{path:.3f}/{last:.3f}"

    ball = rows["kind"] == "ball"
    return {
        "all": cell(rows),
        "players": cell(rows[~ball]),
        "ball": cell(rows[ball]),
        "in view at the cutoff": cell(rows[rows["unseen"] == 0]),
        "out of view at the cutoff": cell(rows[rows["unseen"] > 0]),
        "cells": f"{int(rows['error'].notna().sum())}",
    }


def likelihood(forecaster: Forecaster, test: pd.DataFrame, stride: int) -> dict[str, str]:
    """NLL per coordinate (nats, metres) and coverage of the 90 % interval over all series."""
    rows = forecaster.evaluate(test, ["nll_per_coordinate", "coverage"], stride=stride)
    found = rows[rows["part"] == "all"].set_index("metric")["value"]
    return {name: f"{value:.3f}" for name, value in found.items()}


def measure(name: str, given: Options) -> dict[str, str]:
    """The row of a model; or what the network says of its own errors."""
    test, model = matches(TEST), fitted(NETWORK if name == LIKELIHOOD else name, given)
    if name == LIKELIHOOD:
        return likelihood(model, test, given.stride)
    return errors(scored(model, test, given.stride))


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    test, scores = matches(TEST), found[LIKELIHOOD, given.seed]
    slots = test.groupby("scene")[["ds"]].nunique()["ds"].sum() * 22
    share = (test["kind"] != "ball").sum() / slots
    return (
        f"Files {TRAIN} to train, {TEST} to test, one match; {share:.0%} of the test file's "
        f"player-frames are seen. ADE/FDE in metres over the cells that are observed, a window "
        f"every {given.stride} steps. HiPerformer: NLL per coordinate "
        f"{scores['nll_per_coordinate']}, 90 % interval covers {scores['coverage']}."
    )


def seen(name: str, given: Options) -> Any:
    """Cells of players by the time since they were last seen, or the likelihoods of two heads."""
    test = matches(TEST)
    if name == HEADS:
        joint, alone = fitted(NETWORK, given), fitted("gaussian", given, head="gaussian")
        scores = (likelihood(each, test, given.stride) for each in (joint, alone))
        return [score["nll_per_coordinate"] for score in scores]
    return visibility.binned(scored(fitted(name, given), test, given.stride))


def visibility_sections(found: Found, given: Options) -> list[Section]:
    """Error and certainty against the time since a player was last seen; drawn, too."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for (name, _), kept in found.items():
        if name != HEADS:
            frames.setdefault(name, []).append(kept)
    seeds = ", ".join(str(seed) for name, seed in found if name == NETWORK)
    note = visibility.NOTE.format(stride=given.stride, seeds=seeds)
    if heads := [kept for (name, _), kept in found.items() if name == HEADS]:
        joint, apart = (spread(pd.Series(map(float, x))) for x in zip(*heads, strict=True))
        note += (
            f" NLL per coordinate over all series: joint head {joint}, independent head trained "
            f"alike {apart}."
        )
    if given.picture:
        first = {name: each[0] for name, each in frames.items()}
        visibility.draw(first, WINDOW, COLUMNS, given.picture)
    rows = {name: pd.concat(each) for name, each in frames.items()}
    table = visibility.table(rows, len(frames[NETWORK]))
    title = "Soccer, error against visibility"
    return [Section("soccer-visibility", title, table, note)]


EXPERIMENTS = {
    "soccer": rows_of(
        "soccer",
        "soccer",
        "Soccer, half of the players unseen",
        measure,
        note,
        (LIKELIHOOD,),
        arms=(*BASELINES, NETWORK),
        options=OPTIONS,
    ),
    "soccer-visibility": Experiment(
        "Soccer, error and certainty against the time since a player was last seen",
        "soccer",
        ("soccer-visibility",),
        seen,
        visibility_sections,
        (*BASELINES, NETWORK, HEADS),
        needs=("Ridge", NETWORK),
        options=OPTIONS,
        beside={"picture": "docs/soccer_visibility.png"},
    ),
}
