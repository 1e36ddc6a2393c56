"""`fitted`: a forecaster of daily series to take backtests of."""

from __future__ import annotations

import pytest

from hierforecast import Forecaster
from tests.evaluation.backtests import daily, forecaster


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return forecaster().fit(daily())
