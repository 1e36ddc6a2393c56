"""How many steps make a season, by the step of the data: 24 hours, 7 days, 12 months."""

from __future__ import annotations

from hierforecast.frame.step import NANOSECONDS, Step

DAY = NANOSECONDS["D"]


def season_of(step: str) -> int:
    """Steps of the season that a frequency suggests; 1 where it suggests none.

    A year of months or quarters, a week of days or business days, a year of weeks, a day of
    anything between a second and a day. Integers and what is faster than a second have none.

    Args:
        step: `Clock.step` of a panel.
    """
    parsed = Step.parse(step)
    whole = {"M": 12, "B": 5}.get(parsed.kind)
    if parsed.kind == "ns":
        whole = DAY if parsed.size < DAY else 7 * DAY if parsed.size < 7 * DAY else 364 * DAY
        if parsed.size < NANOSECONDS["s"]:
            return 1
    if whole is None or whole % parsed.size:
        return 1
    return whole // parsed.size
