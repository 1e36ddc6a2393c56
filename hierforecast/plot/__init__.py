"""Pictures of forecasts. Frames in, matplotlib axes (or an animation) out.

`frames.py` and `scene.py` read, `style.py`, `look.py` and `courts.py` are the look, the others
draw: dark on light, or light on dark where the axes or the figure are dark.
"""

from __future__ import annotations

from hierforecast.plot.animate import animate_rollout
from hierforecast.plot.calibration import plot_calibration
from hierforecast.plot.courts import draw_court, draw_field, draw_pitch, draw_rink
from hierforecast.plot.fan import plot_forecast, plot_groups
from hierforecast.plot.heat import plot_influence, plot_surprise
from hierforecast.plot.horizon import plot_errors
from hierforecast.plot.matrix import plot_attention, plot_correlation
from hierforecast.plot.page import rollout_page
from hierforecast.plot.rollout import plot_rollout

__all__ = [
    "animate_rollout",
    "draw_court",
    "draw_field",
    "draw_pitch",
    "draw_rink",
    "plot_attention",
    "plot_calibration",
    "plot_correlation",
    "plot_errors",
    "plot_forecast",
    "plot_groups",
    "plot_influence",
    "plot_rollout",
    "plot_surprise",
    "rollout_page",
]
