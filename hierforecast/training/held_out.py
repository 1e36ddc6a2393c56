"""What held-out windows are asked after a training: so few that a fit does not get longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from hierforecast.inference import Forecast, Forecasts
from hierforecast.inference.draws import Draws
from hierforecast.inference.gap_widths import GapWidths, learn_gap_widths
from hierforecast.inference.newcomers import Newcomers
from hierforecast.inference.scores import HeldOutScores, affordable, held_out_scores
from hierforecast.models import Model
from hierforecast.nn.coverage import misses
from hierforecast.nn.growth import Growth, Looked
from hierforecast.nn.temperature import Seen, Temperature
from hierforecast.nn.unseen import Unseen, steps_unseen
from hierforecast.training.ladder import overlap_of
from hierforecast.training.newcomers import learn_newcomers
from hierforecast.training.plan import Plan
from hierforecast.windows import WindowDataset, few_windows
from hierforecast.windows.hiding import HiddenEnds

# Held-out windows looked at after training: their rows, and a share of the windows trained on.
HELD_OUT_ROWS, CALIBRATION_SHARE, REPORT_SHARE = 5_000, 0.01, 0.004
# The same of windows that were learned from, where some series are out of view.
UNSEEN_ROWS, UNSEEN_SHARE = 20_000, 0.03
# And the share of the series of held-out windows of which the end of the context is hidden.
UNSEEN_RATE = 0.3
# Up to so many windows all of them, however short the fit.
FEWEST_JUDGED = 64


class HeldOutFacts(NamedTuple):
    """What a fit keeps of held-out windows beside its report; None where it is not known.

    Attributes:
        scores: how surprising they were.
        gaps: how wide paths through gaps are.
        newcomers: how series that are not observed differ from others.
    """

    scores: HeldOutScores | None = None
    gaps: GapWidths | None = None
    newcomers: Newcomers | None = None


def facts_of(plan: Plan, model: Model, checks: WindowDataset, steps: int) -> HeldOutFacts:
    """Learn from the forecasts of a model that answers; `steps` were trained."""
    some, more = (
        few_forecasts(plan, model, checks, share, steps, FEWEST_JUDGED)
        for share in (REPORT_SHARE, CALIBRATION_SHARE)
    )

    def learned(learn: Callable[[Forecasts, int], Any], forecasts: Forecasts) -> Any:
        few = affordable(forecasts, plan.seed)
        try:
            return None if few is None else learn(few, plan.seed)
        except NotImplementedError:  # the family has no formula for it
            return None

    return HeldOutFacts(
        learned(held_out_scores, some),
        learned(learn_gap_widths, more),
        learned(learn_newcomers, some),
    )


def calibrate(plan: Plan, model: Model, checks: WindowDataset, steps: int) -> None:
    """Stretch and damp the distributions of a model that can be, if held-out windows say so."""
    temperature, growth = (getattr(model, name, None) for name in ("temperature", "growth"))
    if isinstance(growth, Growth):
        growth.reset()
    if isinstance(temperature, Temperature):
        temperature.reset()  # a warm start brings one along
        some = few_forecasts(plan, model, checks, CALIBRATION_SHARE, steps)
        size = min(some.batch_size, -(-len(some.windows) // 8))
        temperature.fit(
            [
                Seen(each.raw, each.batch.types, each.future.values, each.future.present)
                for each in replace(some, batch_size=size, damped=False)
            ],
            overlap_of(some.windows),
        )
    if isinstance(growth, Growth) and checks.warp is not None:
        some = few_forecasts(plan, model, checks, CALIBRATION_SHARE, steps)
        growth.fit([_looked(each) for each in some], overlap_of(some.windows))


def _looked(forecast: Forecast) -> Looked:
    """What `Growth` learns from, of a forecast in logarithms."""
    assert forecast.warp is not None and forecast.truth is not None
    seen = forecast.future.present[..., None].to(forecast.truth.device)
    truth = torch.where(seen, forecast.truth, torch.nan)
    ways = forecast.way_back(), forecast.warp, truth.to(forecast.raw.mean.device)
    return Looked(forecast.raw, *ways, forecast.future.rows)


def calibrate_unseen(
    plan: Plan, model: Model, windows: WindowDataset, checks: WindowDataset, steps: int
) -> None:
    """Let intervals of series out of view cover their share, by how long they have not been seen.

    By windows that were learned from, as held-out ones show few such series, and by held-out ones,
    as those learned from are no surprise: of them the ends of some contexts are hidden. Both
    flatter, so intervals are widened, never narrowed. Where no series is out of view nothing is
    done.
    """
    unseen = getattr(model, "unseen", None)
    if not isinstance(unseen, Unseen):
        return
    unseen.reset()  # a warm start brings one along
    most = max(int(UNSEEN_SHARE * steps * plan.batch), FEWEST_JUDGED) if steps else len(windows)
    for some, hide in ((windows, None), (checks, HiddenEnds(UNSEEN_RATE, plan.seed))):
        few = few_windows(some, most, UNSEEN_ROWS, plan.seed)
        few.max_rows, few.hide = None, hide
        if hide is None and not bool(
            steps_unseen(few.__getitems__(range(len(few))).batch.present).any()
        ):
            return
        forecasts = Forecasts(model, few, plan.looked_at(few), Draws(plan.seed))
        try:
            parts = [_missed(each, unseen) for each in forecasts]
        except NotImplementedError:
            return
        unseen.widen(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _missed(forecast: Forecast, unseen: Unseen) -> tuple[torch.Tensor, ...]:
    """What `Unseen.widen` learns from."""
    away, wide = (x.cpu() for x in misses(forecast.raw, forecast.outcome()))
    looked = forecast.future.present.cpu()[..., None] & wide
    share = (1 / looked.sum((1, 2)).clamp(min=1).double())[:, None, None].expand_as(away)
    rows = forecast.batch.types, unseen.bins(forecast.batch)
    types, bins = (x.cpu()[:, None, None].expand_as(looked)[looked] for x in rows)
    return away[looked], types, bins, share[looked]


def few_forecasts(
    plan: Plan, model: Model, checks: WindowDataset, share: float, steps: int, fewest: int = 1
) -> Forecasts:
    """Forecasts of so few held-out windows that a fit of so many steps does not get longer."""
    most = int(share * steps * plan.batch) if steps else len(checks)
    some = few_windows(checks, max(most, fewest), HELD_OUT_ROWS, plan.seed)
    return Forecasts(model, some, plan.looked_at(some), Draws(plan.seed))
