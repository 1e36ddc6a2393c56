"""Which part of a table a command looks at: the options of a backtest, and a tail held out."""

from __future__ import annotations

from typing import Annotated, Any

import pandas as pd

from hierforecast._console import declare, option
from hierforecast.cli.options import Text
from hierforecast.errors import DataError
from hierforecast.frame import Columns

Cutoff = Annotated[Text, option("--cutoff", "Look at nothing after this time.")]
OPTIONS: dict[str, Any] = {
    "n_windows": Annotated[int | None, option("--n-windows", "The last so many. [all]")],
    "start": Annotated[Text, option("--start", "First time to forecast; cutoffs go on from it.")],
    "cutoff": Annotated[Text, option("--cutoff", "Last time before it, instead of --start.")],
    "stride": Annotated[int | None, option("--stride", "Steps between cutoffs. [the horizon]")],
}
REFIT: dict[str, Any] = {
    "refit": Annotated[int | None, option("--refit", "Fit anew every so many windows. [never]")],
}


class Windows:
    """The windows that the options of a command describe.

    Args:
        options: of `OPTIONS`, None where they were not given.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def of(self, frame: pd.DataFrame, columns: Columns, step: float | None) -> dict[str, Any]:
        """Arguments of `compare` or `surprise`.

        Args:
            frame: the table.
            columns: of it.
            step: the size of the steps in which its times are counted, if they are.
        """
        start, cutoff = (self.options[name] for name in ("start", "cutoff"))
        if cutoff is not None:
            if start is not None:
                raise DataError("--start and --cutoff exclude each other: a start follows a cutoff")
            times = frame[columns.time]
            later = times[times > _moment(cutoff, times, step, "--cutoff")]
            if later.empty:
                raise DataError(f"--cutoff={cutoff}: nothing follows, the last is {times.max()}")
            start = later.min()
        elif start is not None:
            start = _moment(start, frame[columns.time], step, "--start")
        given = {name: self.options[name] for name in ("n_windows", "stride")}
        if "refit" in self.options:
            given["refit"] = self.options["refit"] or False
        return {**given, "start": start}


reads_windows = declare("windows", OPTIONS | REFIT, Windows)
picks_windows = declare("windows", OPTIONS, Windows)


def until(
    frame: pd.DataFrame, columns: Columns, cutoff: str | None, step: float | None
) -> pd.DataFrame:
    """The rows of a table up to a time; all of them for None."""
    if cutoff is None:
        return frame
    times = frame[columns.time]
    kept = frame[times <= _moment(cutoff, times, step, "--cutoff")]
    if kept.empty:
        raise DataError(f"--cutoff={cutoff}: there is nothing up to it, the first is {times.min()}")
    return kept


def _moment(text: str, times: pd.Series, step: float | None, flag: str) -> Any:
    """A time as the table has it, from how the user wrote it."""
    try:
        if step is not None:
            return round(float(text) / step)
        if pd.api.types.is_integer_dtype(times):
            return int(text)
        moment = pd.Timestamp(text)
        zone = getattr(times.dtype, "tz", None)
        if zone is not None and moment.tz is None:
            return moment.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
        _ = times.iloc[:1] <= moment  # zones do not compare with none
        return moment
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{flag}={text} is no time of column {times.name!r}: give one such as {times.max()}"
        ) from error
