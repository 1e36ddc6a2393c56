"""How far a time lies from the cutoff, in words: in seconds or more where known, else in steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hierforecast.plot.scene import SceneView

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (0.0, "s"))  # seconds a step takes at least


@dataclass(frozen=True)
class Clock:
    """The clock of a scene.

    Args:
        view: the scene.
        rate: steps a second, where times are step numbers; None if nobody knows.
    """

    view: SceneView
    rate: float | None = None

    def at(self, time: Any, end: Any) -> str:
        """``history −1.6 s``, ``forecast +0.8 of 1.6 s``; `end` is the last time shown."""
        away = time - self.view.cutoff
        if not away:
            return "cutoff"
        now, unit = self._told(abs(away))
        if time < self.view.cutoff:
            return f"history \N{MINUS SIGN}{now}{unit}"
        return f"forecast +{now} of {self._told(end - self.view.cutoff)[0]}{unit}"

    @property
    def seconds(self) -> float | None:
        """What a step takes, where known."""
        if isinstance(self.view.step, np.timedelta64):
            return float(self.view.step / np.timedelta64(1, "s"))
        return None if self.rate is None else 1 / self.rate

    def _told(self, span: Any) -> tuple[str, str]:
        """A span of time as a number and its unit; steps have none."""
        steps, step = float(span / self.view.step), self.seconds
        if step is None:
            return f"{steps:.0f}", ""
        size, unit = next(pair for pair in UNITS if step >= pair[0])
        step /= size or 1.0
        decimals = 0 if step % 1 == 0 else 1 if step >= 0.1 else 2
        return f"{steps * step:.{decimals}f}", f" {unit}"
