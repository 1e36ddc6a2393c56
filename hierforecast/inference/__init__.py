"""From a fitted model to answers: joint distributions of windows, and frames of them.

1. `forecast`: the distribution of one batch of windows, and the way back to the user's units.
2. `forecasts`: all windows, as points, intervals, draws or futures in a frame. `draws` are the same
   whatever windows are beside them, `devices` shares the windows out, `conformal` has other
   intervals.
3. `newcomers`: series that are announced but were never observed.
4. `imputing`: what is missing in a panel, gap by gap (`gaps`: which there are; `gap_widths`: how
   wide their paths are).
5. `scores`: how surprising a window was.
"""

from hierforecast.inference.forecast import Forecast
from hierforecast.inference.forecasts import Forecasts

__all__ = ["Forecast", "Forecasts"]
