"""`frames`: a play, the history of it, its forecast and draws of that."""

from __future__ import annotations

import pytest

from tests.plot.plays import K, T, forecast_of, play


@pytest.fixture
def frames():
    full = play()
    history = full[full.ds < T].reset_index(drop=True)
    return full, history, forecast_of(history), forecast_of(history, draws=K)
