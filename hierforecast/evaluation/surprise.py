"""What was surprising: the joint log density of what happened, split by series and step."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierforecast._progress import progress
from hierforecast.errors import DataError
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.inference import Forecasts
from hierforecast.inference.scores import HeldOutScores, Scored
from hierforecast.learned import Learned

COLUMNS = ("cutoff", "log_prob", "score", "p_value")


class Surprising(Learned):
    """The verb `surprise` of a forecaster."""

    def surprise(
        self,
        frame: Any,
        held_out: Any = None,
        *,
        n_windows: int | None = None,
        start: Any = None,
        stride: int | None = None,
    ) -> Any:
        """How unexpected each series was, given what all the others of its scene did.

        A series i of a window has the log density ``log p(y_i | y of all others)``, and its step t
        the part ``log p(y_i,t | y of all others, y_i before t)``: the parts of a series add up
        (chain rule), and no order of the series matters. All are exact conditionals of the joint
        distribution. Several targets of a step are one part.

        Args:
            frame: scenes with their outcome.
            held_out: frame with outcomes that the fit has not seen; p-values are ranks among its
                windows. None: among windows that the fit itself held out, up to 1000 series of a
                group type, which `save` keeps too. By these the training was stopped and the
                distribution calibrated, so that they are a little less surprising than new ones.
            n_windows, start, stride: as in `backtest`; of `held_out` all windows are used.

        Returns:
            A row for each step at which a series was observed: ``[scene,] unique_id, ds, cutoff``,
            and of the step and, with ``series_``, of its whole window:

            - ``log_prob``, ``series_log_prob``: log densities of the frame's numbers, so that a
              series in small units has higher ones;
            - ``score``, ``series_score``: the same of numbers in standard deviations of their
              forecast, for a whole window the mean over its steps: without a unit;
            - ``p_value``, ``series_p_value``: the share of held-out scores of the same group type
              (of steps: and the same step) that are at most as high, ``(1 + count) / (1 + n)``,
              never 0; NaN where nothing was held out. They are exact if scores of a type are
              exchangeable; series of one window depend on each other, so that they hold on average
              over windows, as in `Conformal`.

            Low values are surprising.

        Raises:
            DataError: if a column of the answer has the name of a key, or `held_out` lacks a group
                type.
        """
        forecasts = forecasts_of(self, frame, Rolling(n_windows, start, stride))
        names = (*COLUMNS, *(f"series_{name}" for name in COLUMNS[1:]))
        twice = [name for name in names if name in self.columns.keys]
        if twice:
            raise DataError(
                f"the answer would have two columns {twice[0]!r}: rename that column of the frame"
            )
        bar = (self.trainer or {}).get("enable_progress_bar", True)
        found, among = _scored(forecasts, bar), self._fitted().scores
        if held_out is not None:
            other = _scored(forecasts_of(self, held_out, Rolling()), bar)
            types = forecasts.windows.panel.vocabulary.types
            among = HeldOutScores.of(other, len(types))
            for code in among.lacks(found.types[found.seen.any(1)]):
                whose = f" of group type {str(types[code])!r}" if len(types) else ""
                raise DataError(
                    f"held_out has no outcome of a series{whose}, to which those of the frame "
                    "could be compared: give a held_out with some, or leave held_out out"
                )
        return _to_frame(forecasts, found, among)


def _scored(forecasts: Forecasts, bar: bool) -> Scored:
    """The scores of all windows."""
    batches = -(-len(forecasts.windows) // forecasts.batch_size)
    return Scored.join([Scored.of(each) for each in progress(forecasts, "surprise", batches, bar)])


def _to_frame(forecasts: Forecasts, found: Scored, among: HeldOutScores | None) -> Any:
    """The answer of `surprise`, in the library of the user's frame."""
    panel, (row, step) = forecasts.windows.panel, found.seen.nonzero()
    rows, cutoff = found.rows[row], found.cutoff[row]
    empty = np.full((len(found.rows), 1 + found.seen.shape[1]), np.nan)
    rank = empty if among is None else among.p_values(found)
    total = np.nansum(found.log_prob, axis=1)
    data: dict[str, Any] = {
        "cutoff": panel.time_column("cutoff", panel.row_scene[rows], cutoff - 1),
        "log_prob": found.log_prob[row, step],
        "score": found.score[row, step],
        "p_value": rank[row, 1 + step],
        "series_log_prob": total[row],
        "series_score": found.all_scores[row, 0].astype(np.float64),
        "series_p_value": rank[row, 0],
    }
    return panel.to_frame(rows, cutoff + step, data)
