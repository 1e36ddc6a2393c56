"""Windows per second of fits and backtests, relative to neuralforecast's iTransformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._scenes import COLUMNS
from benchmarks.peers.theirs import WINDOWS, forecaster, panel, quietly
from benchmarks.timing import interleave
from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.datasets import simulate_basketball

SHORT, LONG, CUTOFFS = 20, 60, 40
SMALL: dict[str, Any] = {"width": 64, "dropout": 0.0, "block": "sa3"}
NOTE = (
    "One thread, process time, medians of interleaved rounds; above 1 is faster than "
    "neuralforecast's iTransformer. 40 steps in and 10 out. 11 agents: simulated basketball, 22 "
    "series for neuralforecast, which gets the scenes end to end as one panel, 64 windows in a "
    "step. 500 series: a walk with a weekly season in 11 groups, 8 windows in a step. A fit is "
    "that of 60 steps, from the frame on, with all that the library does by default, "
    "HiPerformer's validations among it; a further step is the difference between fits of 60 and "
    f"of 20 steps; a backtest forecasts {CUTOFFS} cutoffs with what was fitted, frame to frame. At "
    "equal parameters iTransformer does less for a window: one token a series and target and one "
    "attention a layer, against three tokens a series and three attentions a block (the paper's, "
    "not the relational default), and a joint distribution besides."
)


@dataclass(frozen=True)
class Case:
    """Data for both libraries, and how many windows a step has.

    Args:
        ours, theirs: the same numbers as each library wants them.
        columns: of ours.
        windows: in a step of training.
        options: of iTransformer, beyond its sizes.
        models: ours, by name.
        freq: of theirs.
    """

    ours: pd.DataFrame
    theirs: pd.DataFrame
    columns: Columns
    windows: int
    options: dict[str, Any]
    models: dict[str, HiPerformer] = field(default_factory=dict)
    freq: Any = 1

    def fit_ours(self, model: HiPerformer, steps: int) -> Forecaster:
        """One fit of ours."""
        bare = {"accelerator": "cpu", "enable_progress_bar": False}
        plan = Forecaster(
            model, context_length=40, prediction_length=10, columns=self.columns,
            batch_size=self.windows, max_steps=steps, trainer=bare,
        )  # fmt: skip
        return plan.fit(self.ours)

    def fit_theirs(self, steps: int) -> Any:
        """One fit of theirs."""
        made = forecaster(
            "iTransformer", steps, self.freq, windows_batch_size=self.windows, **self.options
        )
        quietly(lambda: made.fit(self.theirs))
        return made


def cases(scenes: int = 200, series: int = 500, steps: int = 400) -> dict[str, Case]:
    """11 agents in scenes, and many series in one."""
    agents = {
        "HiPerformer": HiPerformer(**SMALL),
        "with an independent head": HiPerformer(**SMALL, head="gaussian"),
        "and one token for the context": HiPerformer(**SMALL, head="gaussian", patch=40),
    }
    many = {
        "HiPerformer": HiPerformer(**SMALL),
        "with one token for the context": HiPerformer(**SMALL, patch=40),
    }
    frame = simulate_basketball(n_scenes=scenes, n_steps=60, seed=0)
    wide = walks(series, steps)
    return {
        "11 agents": Case(frame, panel(scenes), COLUMNS, WINDOWS, {}, agents),
        f"{series} series": Case(
            wide, wide[["unique_id", "ds", "y"]], Columns(), 8, {"n_series": series}, many, "D"
        ),
    }


def walks(series: int, steps: int) -> pd.DataFrame:
    """Walks with a weekly season, of either sign, in 11 groups."""
    moves = np.random.default_rng(0).normal(size=(series, steps))
    season = 2 * np.sin(np.arange(steps) * 2 * np.pi / 7)
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i:04}" for i in range(series)], steps),
            "ds": np.tile(pd.date_range("2024-01-01", periods=steps), series),
            "group": np.repeat(np.arange(series) % 11, steps),
            "y": (moves.cumsum(1) / 4 + season).ravel(),
        }
    )


def fit_times(rounds: int, **sizes: int) -> pd.DataFrame:
    """A row a model and case; see `NOTE`."""
    rows = {}
    for name, case in cases(**sizes).items():
        arms, counts = _arms(case)
        seconds = interleave(arms, rounds).seconds
        for label in ("neuralforecast iTransformer", *case.models):
            found = _relative(seconds, label)
            rows[f"{name}: {label}"] = {"parameters": f"{counts[label]:,}", **found}
    return pd.DataFrame(rows).T


def _arms(case: Case) -> tuple[dict[str, Callable[[], Any]], dict[str, int]]:
    """What is timed, by model and what it does; and the parameters of each model."""
    arms: dict[str, Callable[[], Any]] = {}
    peer = case.fit_theirs(1)
    counts = {"neuralforecast iTransformer": _size(peer.models[0])}
    asked = {"n_windows": CUTOFFS, "step_size": 1, "use_fitted": True}
    for steps in (SHORT, LONG):
        arms[f"neuralforecast iTransformer {steps}"] = lambda s=steps: case.fit_theirs(s)
    arms["neuralforecast iTransformer backtest"] = lambda: quietly(
        lambda: peer.cross_validation(case.theirs, **asked)
    )
    for label, model in case.models.items():
        fitted = case.fit_ours(model, 1)
        counts[label] = _size(fitted.model_)
        for steps in (SHORT, LONG):
            arms[f"{label} {steps}"] = lambda m=model, s=steps: case.fit_ours(m, s)
        frame = _few(case.ours, case.columns)
        arms[f"{label} backtest"] = lambda f=fitted, x=frame: f.backtest(
            x, n_windows=_each(x), stride=1
        )
    return arms, counts


def _few(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Scenes that have so many cutoffs together, or all of the only one."""
    if columns.scene is None:
        return frame
    some = frame[columns.scene].unique()[: CUTOFFS // _each(frame)]
    return frame[frame[columns.scene].isin(some)]


def _each(frame: pd.DataFrame) -> int:
    """Cutoffs of a scene."""
    return 10 if "scene" in frame else CUTOFFS


def _relative(seconds: dict[str, list[float]], label: str) -> dict[str, str]:
    """Windows per second of a fit, of its further steps and of a backtest, relative to theirs."""
    whole, step, back = {}, {}, {}
    for name in ("neuralforecast iTransformer", label):
        long, short = (np.array(seconds[f"{name} {steps}"]) for steps in (LONG, SHORT))
        whole[name], step[name] = long, long - short
        back[name] = np.array(seconds[f"{name} backtest"])
    return {
        title: f"{np.median(each['neuralforecast iTransformer'] / each[label]):.2f}"
        for title, each in (
            ("a fit of 60 steps", whole),
            ("a further step", step),
            ("a backtest", back),
        )
    }


def _size(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())
