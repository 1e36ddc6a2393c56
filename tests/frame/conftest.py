"""Tests that take `library` run once for each library of frames; `to` converts a pandas frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from tests.frames import LIBRARIES


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def to(library: str) -> Callable[[pd.DataFrame], Any]:
    return LIBRARIES[library]
