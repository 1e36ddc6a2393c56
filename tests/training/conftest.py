"""`frame`: three scenes to train on, the same for all tests of a file."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.helpers import make_frame


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame()
