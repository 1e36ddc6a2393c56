"""From frames to a fitted model: what `Forecaster.fit` does before anything of it is kept."""

from __future__ import annotations

import threading
import warnings
from copy import copy, deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from hierforecast._random import drawing, seeded
from hierforecast.errors import DataError
from hierforecast.frame import Panel, read_frame
from hierforecast.io.checkpoints import digest, trainer_options
from hierforecast.models import Model
from hierforecast.models.base import Rung
from hierforecast.shards import Shards
from hierforecast.shards.pools import Pools, in_memory
from hierforecast.task import Task
from hierforecast.training.examples import (
    PooledWindows,
    as_seen,
    settled_cutoffs,
    windows_of,
    with_early,
)
from hierforecast.training.held_out import (
    FEWEST_JUDGED,
    REPORT_SHARE,
    HeldOutFacts,
    calibrate,
    calibrate_unseen,
    facts_of,
    few_forecasts,
)
from hierforecast.training.ladder import climb
from hierforecast.training.plan import NO_STEPS, Fitted, Plan
from hierforecast.training.pretraining import pretraining
from hierforecast.training.report import Report, report_on
from hierforecast.windows import Window, WindowDataset, few_windows, sample_windows
from hierforecast.windows.cutoffs import cutoffs_of, split_cutoffs
from hierforecast.windows.history import learn_smoothing

# Rows of training windows from which units and baselines are learned.
STATISTICS_ROWS = 50_000
# The same for a baseline that is only compared with.
BASELINE_ROWS = 10_000
# Held-out windows by which a rung is chosen, as a share of the windows trained on: `FEWEST_JUDGED`
# at least, but of very wide scenes only so many as have so many rows.
RUNG_SHARE, JUDGED_ROWS = 0.003, 200_000
CHECK_ROWS = 4_000  # of held-out windows that each validation may look at, however short the fit
_IMPORTING = threading.Lock()


def learn(
    plan: Plan,
    frame: Any,
    val: Any = None,
    resume: bool = False,
    start: Fitted | None = None,
    hidden: float | None = None,
) -> tuple[Fitted, BaseException | None]:
    """Fit a model to frames.

    Args:
        plan: the options; it is left as it is.
        frame, val, resume: as in `Forecaster.fit`.
        start: what a warm start goes on with.
        hidden: the share of series of which pieces are hidden; nothing but these is then learned,
            and nothing is chosen or calibrated. See `Forecaster.pretrain`.

    Returns:
        What is learned, and what is to be raised once this is kept: None if the fit came to its
        end.
    """
    panel, held_out, pools = _read(plan, frame, val, start)
    training, validation = split_cutoffs(panel, *plan.lengths, plan.seed, held_out)
    if start is None:
        end = np.zeros(len(panel.length), dtype=np.int64)
        np.maximum.at(end, training[:, 0], training[:, 1] + plan.prediction_length)
        panel.vocabulary = panel.learn(end)
    generator = seeded(plan.seed)
    fresh, model = _model(plan, panel, start, generator)
    if model.origin == "history":
        if start is None:
            smoothing = learn_smoothing(panel, end, plan.prediction_length)
            panel.vocabulary = replace(panel.vocabulary, smoothing=smoothing)
        training = settled_cutoffs(plan, panel, training)
    (held_out or panel).vocabulary = panel.vocabulary
    plan = plan.sized(panel.rows_of(training[:, 0]).mean())
    windows = windows_of(plan, model, panel, training)
    if fresh:
        with drawing(generator):
            model.fit_statistics(*_statistics(plan, windows, generator))
    checks = None
    if len(validation):
        checks = WindowDataset(held_out or panel, validation, *plan.lengths, **as_seen(model))
    history, stopped = NO_STEPS.copy(), None
    before = deepcopy(model)
    if _is_trained(model) or hidden is not None:
        about = _about(plan, panel, held_out, None if fresh else model)
        learned = with_early(plan, windows)
        examples: WindowDataset | PooledWindows = learned
        if pools is not None:
            about |= {"the shards": pools.digest()} if about else {}
            if held_out is None:
                pools.hold_out(panel, training, validation)
            examples = PooledWindows(pools, plan, model, learned)
        few = None if checks is None else _few_checks(plan, checks)
        student = model
        if hidden is not None:
            about |= {"the share of hidden pieces": hidden} if about else {}
            student, examples, few = pretraining(plan, model, examples, few, hidden)
            checks = None  # a fit will choose what answers
        history, stopped = _train(plan, student, examples, few, about, resume)
    report, beside = Report(), HeldOutFacts()
    if checks is not None and stopped is None:
        seen = _statistics(plan, windows, seeded(plan.seed), BASELINE_ROWS) if fresh else None
        answer, report = _judge(plan, model.eval(), before, seen, windows, checks, len(history))
        model = answer.model
        beside = facts_of(plan, model, checks, len(history))
        if fresh and held_out is None and answer.learn is not None:
            every = cutoffs_of(panel, *plan.lengths)  # the held-out ones too
            if model.origin == "history":
                every = settled_cutoffs(plan, panel, every)
            windows = windows_of(plan, model, panel, every)
            with drawing(generator):
                answer.learn(*_statistics(plan, windows, generator))
            calibrate_unseen(plan, model.eval(), windows, len(history))
    elif fresh and stopped is None and model.origin == "history" and hidden is None:
        # Too short to judge anything by: what was learned from so few windows is not trusted.
        model = model.eval().rungs(before, _statistics(plan, windows, generator))[0][0].model
    fitted = model.eval(), panel.vocabulary, panel.clock.step, history, report
    return Fitted(*fitted, *beside), stopped


def _judge(
    plan: Plan,
    model: Model,
    before: Model,
    seen: Window | None,
    windows: WindowDataset,
    checks: WindowDataset,
    steps: int,
) -> tuple[Rung, Report]:
    """The rung of a model that answers, calibrated, and what held-out windows say of it."""
    answer, rungs = Rung("", model, learn=model.fit_statistics), None
    if _is_trained(model):
        levels = model.rungs(before, seen)
        share = int(RUNG_SHARE * steps * plan.batch)
        rows = max(int(share * checks.sizes.mean()), JUDGED_ROWS)
        some = few_windows(checks, max(share, FEWEST_JUDGED), rows, plan.seed)
        accelerator = (plan.trainer or {}).get("accelerator", "auto")
        answer, rungs = climb(levels, some, plan.batch, plan.seed, accelerator)
    calibrate(plan, answer.model.eval(), checks, steps)
    calibrate_unseen(plan, answer.model, windows, steps)
    report = report_on(few_forecasts(plan, answer.model, checks, REPORT_SHARE, steps))
    return answer, report if rungs is None else replace(report, rungs=rungs)


def _statistics(
    plan: Plan, windows: WindowDataset, generator: torch.Generator, rows: int = STATISTICS_ROWS
) -> Window:
    """Windows from which units, baselines and linear forecasts are learned."""
    return sample_windows(windows, rows, plan.seed, generator)


def _few_checks(plan: Plan, checks: WindowDataset) -> WindowDataset:
    """The held-out windows to stop by: few enough for the training to stay the longer part.

    Between two validations a quarter as many windows as there are learned from, or `FEWEST_JUDGED`,
    but of wide scenes only so many as have `CHECK_ROWS` rows; of very wide ones some of the rows.
    """
    checks = copy(checks)
    checks.max_rows = plan.max_rows
    rows = checks.sizes.mean()
    share = plan.between_validations * plan.batch // 4
    most = max(share, FEWEST_JUDGED), max(int(share * rows), CHECK_ROWS)
    return few_windows(checks, *most, plan.seed)


def _is_trained(model: nn.Module) -> bool:
    """Whether there is anything to learn by gradient."""
    return any(p.requires_grad for p in model.parameters())


def _train(
    plan: Plan,
    model: Model,
    windows: WindowDataset | PooledWindows,
    checks: WindowDataset | None,
    about: dict[str, Any],
    resume: bool,
) -> tuple[pd.DataFrame, BaseException | None]:
    """Losses by step, and what stopped the training if something did."""
    # Lightning takes seconds to import: only those who train pay for it. It brings warning filters
    # along, which are for those who import it themselves.
    with _IMPORTING, warnings.catch_warnings():
        from hierforecast.training import loop
    dtype = next(model.parameters()).dtype
    history, stopped = loop.train(model, windows, checks, plan, about, resume)
    model.to(dtype)  # a fit in half precision leaves weights that numpy does not know
    return history, stopped


def _read(
    plan: Plan, frame: Any, val: Any, start: Fitted | None
) -> tuple[Panel, Panel | None, Pools | None]:
    """The frame to learn from, the user's own to stop by, and shards that do not fit beside."""
    first: dict[str, Any] = {"dtype": plan.dtype}
    second: dict[str, Any] = {**first, "context": plan.context_length}
    if start is not None:
        first = {**second, "vocabulary": start.vocabulary, "step": start.step}
    pools = None
    if isinstance(frame, Shards) and not frame.fits:
        bar = (plan.trainer or {}).get("enable_progress_bar", True)
        pools = Pools.open(frame, plan.columns, plan.seed, bar, **first)
        panel = pools.panel(pools.of_pass(0)[0])
    else:
        panel = read_frame(in_memory(frame, plan.columns, plan.seed), plan.columns, **first)
    if val is None:
        return panel, None, pools
    val = in_memory(val, plan.columns, plan.seed)
    second |= {"vocabulary": panel.vocabulary, "step": panel.clock.step, "variable": "val"}
    return panel, read_frame(val, plan.columns, **second), pools


def _model(
    plan: Plan, panel: Panel, start: Fitted | None, generator: torch.Generator
) -> tuple[bool, Model]:
    """Whether it is a fresh model without statistics, and the model to train."""
    task = Task.of(panel, *plan.lengths)
    dtype = torch.from_numpy(np.zeros(0, panel.dtype)).dtype
    if start is not None and _is_trained(start.model):
        assert start.model.task is not None
        task = replace(task, smooth=start.model.task.smooth)  # chosen once, by the first frame
        _check_alike(start.model, plan.model, task)
        return False, deepcopy(start.model).to(dtype).train()
    with drawing(generator):
        return True, plan.model.for_task(task).to(dtype)


def _check_alike(earlier: Model, planned: Model, task: Task) -> None:
    """Refuse a warm start that would need weights of other shapes."""
    assert earlier.task is not None
    with drawing(seeded(0)):  # what "auto" chooses shows once it is built
        now = {**planned.for_task(task).to_dict(), **task.to_dict()}
    then = {**earlier.to_dict(), **earlier.task.to_dict()}
    for name, value in now.items():
        if then.get(name) != value and name != "n_series":
            raise DataError(
                f"warm_start=True goes on with a model of {name}={then.get(name)!r}, but "
                f"{name}={value!r} is asked for: set it back, or fit with warm_start=False"
            )


def _about(
    plan: Plan, panel: Panel, held_out: Panel | None, start: nn.Module | None
) -> dict[str, Any]:
    """What a fit is, for its checkpoint: the options, and digests of what it learns from.

    Args:
        plan: the options.
        panel: what is learned from.
        held_out: the user's own frame for early stopping.
        start: the model that a warm start goes on with.
    """
    trainer = plan.trainer or {}
    if trainer.get("default_root_dir") is None:
        return {}
    return {
        "the model": type(plan.model).__name__,
        **{f"model {name}": value for name, value in plan.model.to_dict().items()},
        **{f"Columns {name}": value for name, value in plan.columns.to_dict().items()},
        **plan.options,
        **trainer_options(trainer),
        "the training frame": _digest(panel),
        "the frame given as val": None if held_out is None else _digest(held_out),
        "the model that warm_start goes on with": None if start is None else digest(start),
    }


def _digest(panel: Panel) -> str:
    return digest(*(v for k, v in vars(panel).items() if k not in ("columns", "labels")))
