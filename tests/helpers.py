"""Made frames for the tests, small, seeded, and as awkward as real ones; forecasters of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.testing import randomize_
from hierforecast.training import fitting
from hierforecast.training.report import Report

# Among the oldest versions that are allowed: `make release-check RELEASEFLAGS=--oldest`.
OLD = pd.__version__.startswith("2.")
newest = pytest.mark.skipif(OLD, reason="says what pandas 3 and libraries of its time give")

L, H = 11, 4  # no multiple of the patch, so that padding is always there
TEAMS = {"ball": 1, "home": 3, "away": 3, "bench": 2}
COLUMNS = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
EVERYTHING = Columns(
    target=["x", "y"],
    group=["side", "team"],
    group_type="kind",
    scene="scene",
    past_covariates=["pulse", "mood"],
    known_covariates=["plan", "weather"],
    static=["size", "role"],
)
CROSSED_COLUMNS = replace(COLUMNS, crossed="role")
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}
DOUBLE = {**QUIET, "precision": "64-true"}


def make_frame(
    n_scenes: int = 3, steps: int = 24, seed: int = 0, missing: float = 0.15
) -> pd.DataFrame:
    """Random walks of `TEAMS` with every kind of covariate, rows missing at random."""
    rng = np.random.default_rng(seed)
    members = [(team, f"{team}_{i}") for team, size in TEAMS.items() for i in range(size)]
    n = n_scenes * len(members)
    team, name = (np.tile(np.repeat(x, steps), n_scenes) for x in zip(*members, strict=True))
    walk = rng.normal(size=(n, steps, 2)).cumsum(1) + rng.uniform(10, 40, (n, 1, 2))
    frame = pd.DataFrame(
        {
            "scene": np.repeat(np.arange(n_scenes), len(members) * steps),
            "ds": np.tile(np.arange(steps), n),
            "unique_id": name,
            "team": team,
            "side": np.where(team == "ball", "none", "all"),
            "kind": np.where(team == "ball", "ball", "player"),
            "x": walk[..., 0].reshape(-1),
            "y": walk[..., 1].reshape(-1),
            "pulse": rng.normal(size=n * steps),
            "mood": rng.choice(["up", "down"], n * steps),
            "plan": rng.normal(size=n * steps),
            "weather": rng.choice(["sun", "rain"], n * steps),
            "size": np.repeat(rng.normal(size=n), steps),
            "role": np.repeat(rng.choice(["guard", "centre"], n), steps),
        }
    )
    kept = rng.random(len(frame)) >= missing
    # The last step of the ball stays, so that every scene ends at the same time.
    kept |= (name == "ball_0") & (frame.ds == steps - 1).to_numpy()
    return frame[kept].reset_index(drop=True)


def randomized(model: Any, seed: int = 0) -> Any:
    """Large random weights, those that are solved for too."""
    randomize_(model, seed=seed)
    others = getattr(getattr(model, "linear", None), "others", None)
    if others is not None:
        others.normal_(generator=torch.Generator().manual_seed(seed))
    return model


def random_weights(model: Any, scale: float = 2.0, **options: Any) -> Forecaster:
    """A fitted forecaster in float64; large random weights, so that all depends on all."""
    forecaster = tiny(model, trainer=DOUBLE, **options).fit(make_frame())
    if hasattr(forecaster.model_, "decoder"):
        randomize_(forecaster.model_.decoder, scale, seed=0)
    return forecaster


def tiny(model: Any = None, **options: Any) -> Forecaster:
    """A forecaster that fits in a blink."""
    given: dict[str, Any] = {
        "context_length": L,
        "prediction_length": H,
        "columns": COLUMNS,
        "max_steps": 4,
        "batch_size": 8,
        "trainer": QUIET,
        **options,
    }
    return Forecaster(HiPerformer(16, 1, 2, patch=4) if model is None else model, **given)


def trained_answers(patch: pytest.MonkeyPatch) -> None:
    """Let what was trained answer, whatever held-out windows say of it."""
    patch.setattr(fitting, "climb", lambda levels, *_: (levels[-1][-1], Report().rungs))


def assert_same_frame(one: pd.DataFrame, other: pd.DataFrame, atol: float, by: list[str]) -> None:
    """Frames with the same rows, up to their order, whose numbers differ by `atol` at most."""
    one, other = (frame.sort_values(by).reset_index(drop=True) for frame in (one, other))
    pd.testing.assert_frame_equal(one, other, rtol=0, atol=atol)
