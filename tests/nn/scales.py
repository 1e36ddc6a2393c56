"""A batch with gaps, and scales fitted to it."""

from __future__ import annotations

from hierforecast.batch import SceneBatch
from hierforecast.nn.scale import make_scale
from hierforecast.nn.views import Scale
from tests.rows import FLAT, TASK, make_content, pack


def make_batch(missing: float = 0.4) -> SceneBatch:
    return pack(FLAT, make_content(FLAT, TASK, missing=missing))


def fitted(name: str, batch: SceneBatch) -> Scale:
    scale = make_scale(name, 2).double()
    scale.fit(batch)
    return scale
