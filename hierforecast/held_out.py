"""What held-out windows are asked after a training: so few that a fit does not get longer."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hierforecast.draws import Draws
from hierforecast.inference import Forecasts
from hierforecast.models import Model
from hierforecast.newcomers import Newcomers
from hierforecast.nn.temperature import Seen, Temperature
from hierforecast.plan import Plan
from hierforecast.scores import HeldOutScores, held_out_scores
from hierforecast.unobserved import learn_newcomers
from hierforecast.widths import GapWidths, learn_gap_widths
from hierforecast.windows import WindowDataset, few_windows

# Held-out windows looked at after training: their rows, and a share of the windows trained on.
HELD_OUT_ROWS, CALIBRATION_SHARE, REPORT_SHARE = 5_000, 0.01, 0.004
# Up to so many windows all of them, however short the fit.
FEWEST_JUDGED = 64


class Lessons(NamedTuple):
    """What a fit keeps of held-out windows beside its report; None where it is not known.

    Attributes:
        scores: how surprising they were.
        gaps: how wide paths through gaps are.
        newcomers: how series that are not observed differ from others.
    """

    scores: HeldOutScores | None = None
    gaps: GapWidths | None = None
    newcomers: Newcomers | None = None


def lessons_of(plan: Plan, model: Model, checks: WindowDataset, steps: int) -> Lessons:
    """Learn from the forecasts of a model that answers; `steps` were trained."""
    some, more = (
        forecasts_of(plan, model, checks, share, steps, FEWEST_JUDGED)
        for share in (REPORT_SHARE, CALIBRATION_SHARE)
    )
    return Lessons(
        held_out_scores(some, plan.seed),
        learn_gap_widths(more, plan.seed),
        learn_newcomers(some, plan.seed),
    )


def calibrate(plan: Plan, model: Model, checks: WindowDataset, steps: int) -> None:
    """Stretch the distributions of a model that has a temperature, if held-out windows say so."""
    temperature = getattr(model, "temperature", None)
    if isinstance(temperature, Temperature):
        temperature.reset()  # a warm start brings one along
        some = forecasts_of(plan, model, checks, CALIBRATION_SHARE, steps)
        size = min(some.batch_size, -(-len(some.windows) // 8))
        temperature.fit(
            [
                Seen(each.raw, each.batch.types, each.future.values, each.future.present)
                for each in replace(some, batch_size=size)
            ]
        )


def forecasts_of(
    plan: Plan, model: Model, checks: WindowDataset, share: float, steps: int, fewest: int = 1
) -> Forecasts:
    """Forecasts of so few held-out windows that a fit of so many steps does not get longer."""
    most = int(share * steps * plan.batch) if steps else len(checks)
    some = few_windows(checks, max(most, fewest), HELD_OUT_ROWS, plan.seed)
    return Forecasts(model, some, some.at_once(plan.batch), Draws(plan.seed))
