"""From frames to a fitted model: what `Forecaster.fit` does before anything of it is kept."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from hierforecast._random import drawing, draws_by_itself, seeded
from hierforecast.errors import DataError
from hierforecast.frame import Panel
from hierforecast.models import Model
from hierforecast.models.base import Rung
from hierforecast.task import Task
from hierforecast.training.data import Data
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
from hierforecast.windows.cutoffs import cutoffs_of

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
    data, generator = Data.read(plan, frame, val, start), seeded(plan.seed)
    fresh, model = _model(plan, data.panel, start, generator)
    if model.origin == "history":
        data.smooth(plan, learn=start is None)
    fit = _Fit(plan.sized(data.panel.rows_of(data.training[:, 0]).mean()), data, model, generator)
    if fresh:
        with drawing(generator if draws_by_itself(model) else None):
            model.fit_statistics(*fit.statistics())
    before = deepcopy(model)
    history, stopped = NO_STEPS.copy(), None
    if _is_trained(model) or hidden is not None:
        history, stopped = fit.train(resume, None if fresh else model, hidden)
    report, facts = Report(), HeldOutFacts()
    if hidden is None and stopped is None:
        if fit.checks is not None:
            model, report, facts = fit.judge(before, len(history), fresh)
        elif fresh and model.origin == "history":
            # Too short to judge anything by: what was learned from so few windows is not trusted.
            model = model.eval().rungs(before, fit.statistics())[0][0].model
    learned = model.eval(), data.panel.vocabulary, data.panel.clock.step, history, report
    return Fitted(*learned, *facts), stopped


class _Fit:
    """A fit whose units are known.

    Args:
        plan: the options, with a batch size.
        data: the frames.
        model: to train, in place.
        generator: of what is drawn in this process, one after the other.

    Attributes:
        windows: to learn from.
        checks: held-out ones; None where there are none.
    """

    def __init__(self, plan: Plan, data: Data, model: Model, generator: torch.Generator) -> None:
        self.plan, self.data, self.model, self.generator = plan, data, model, generator
        cutoffs = data.training
        if data.held_out is None:  # one frame has one history, which takes long to smooth
            cutoffs = np.concatenate([data.training, data.validation])
        self.windows = windows_of(plan, model, data.panel, cutoffs)
        held_out = copy(self.windows)
        self.windows.cutoffs = data.training
        held_out.cutoffs, held_out.hide, held_out.max_rows = data.validation, None, None
        if data.held_out is not None:
            how = as_seen(model)
            held_out = WindowDataset(data.held_out, data.validation, *plan.lengths, **how)
        self.checks = held_out if len(data.validation) else None

    def statistics(self) -> Window:
        """Windows from which units, baselines and linear forecasts are learned."""
        return sample_windows(self.windows, STATISTICS_ROWS, self.plan.seed, self.generator)

    def train(
        self, resume: bool, start: Model | None, hidden: float | None
    ) -> tuple[pd.DataFrame, BaseException | None]:
        """Losses by step, and what stopped the training if something did; see `learn`."""
        plan, data, model = self.plan, self.data, self.model
        about = data.about(plan, start)
        first = with_early(plan, self.windows)
        examples: WindowDataset | PooledWindows = first
        if data.pools is not None:
            if data.held_out is None:
                data.pools.hold_out(data.panel, data.training, data.validation)
            examples = PooledWindows(data.pools, plan, model, first)
        few = None if self.checks is None else _few_checks(plan, self.checks)
        if hidden is not None:
            about |= {"the share of hidden pieces": hidden} if about else {}
            model, examples, few = pretraining(plan, model, examples, few, hidden)
        return _train(plan, model, examples, few, about, resume)

    def judge(self, before: Model, steps: int, fresh: bool) -> tuple[Model, Report, HeldOutFacts]:
        """The model that answers, calibrated, and what held-out windows say of it.

        Args:
            before: the model before it was trained.
            steps: that it was trained.
            fresh: whether what is learned at once, not by steps, is learned here.
        """
        plan, model, checks = self.plan, self.model.eval(), self.checks
        assert checks is not None
        answer, rungs = Rung("", model, learn=model.fit_statistics), Report().rungs
        if _is_trained(model):
            answer, rungs = self._climb(before, checks, steps, fresh)
        calibrate(plan, answer.model.eval(), checks, steps)
        calibrate_unseen(plan, answer.model, self.windows, checks, steps)
        report = report_on(few_forecasts(plan, answer.model, checks, REPORT_SHARE, steps))
        facts = facts_of(plan, answer.model, checks, steps)
        if fresh and self.data.held_out is None and answer.learn is not None:
            self._learn_all(answer.model, answer.learn, steps)
        return answer.model, replace(report, rungs=rungs), facts

    def _climb(
        self, before: Model, checks: WindowDataset, steps: int, fresh: bool
    ) -> tuple[Rung, pd.DataFrame]:
        """The rung of a trained model that answers, and a table of all."""
        plan, model = self.plan, self.model
        window = sample_windows(self.windows, BASELINE_ROWS, plan.seed, seeded(plan.seed))
        levels = model.rungs(before, window if fresh else None)
        if not fresh:
            levels = [*model.relearned(before, window), *levels]
        share = int(RUNG_SHARE * steps * plan.batch)
        rows = max(int(share * checks.sizes.mean()), JUDGED_ROWS)
        some = few_windows(checks, max(share, FEWEST_JUDGED), rows, plan.seed)
        accelerator = (plan.trainer or {}).get("accelerator", "auto")
        return climb(levels, some, plan.batch, plan.seed, accelerator)

    def _learn_all(self, model: Model, learn: Callable[..., Any], steps: int) -> None:
        """Learn what is learned at once anew, from the windows that were held out too."""
        plan, panel = self.plan, self.data.panel
        every = cutoffs_of(panel, *plan.lengths)
        if model.origin == "history":
            every = settled_cutoffs(plan, panel, every)
        self.windows = windows_of(plan, model, panel, every)
        with drawing(self.generator if draws_by_itself(model) else None):
            learn(*self.statistics())
        assert self.checks is not None
        calibrate_unseen(plan, model.eval(), self.windows, self.checks, steps)


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


def _model(
    plan: Plan, panel: Panel, start: Fitted | None, generator: torch.Generator
) -> tuple[bool, Model]:
    """Whether it is a fresh model without statistics, and the model to train."""
    task = Task.of(panel, *plan.lengths)
    dtype = torch.from_numpy(np.zeros(0, panel.dtype)).dtype
    if start is not None and _is_trained(start.model):
        assert start.model.task is not None
        then = start.model.task
        # Chosen once, by the first frame and its version.
        task = replace(task, smooth=then.smooth, one_hot=then.one_hot)
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
