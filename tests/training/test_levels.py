"""Prices given as returns: a fit warns of them, and of nothing that is returns."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Ridge
from hierforecast.errors import NoReturnsWarning
from tests.helpers import tiny

RNG = np.random.default_rng(0)
RETURNS = 0.02 * RNG.normal(size=(4, 60))
PRICES = (1 + 9 * np.arange(4))[:, None] * np.exp(RETURNS.cumsum(1))
HOLED = np.where(RNG.random(PRICES.shape) < 0.3, np.nan, PRICES)


def fit(values: np.ndarray, scale: str) -> None:
    frame = pd.DataFrame({
        "unique_id": np.repeat([*"abcd"], 60), "ds": np.tile(np.arange(60), 4), "y": values.ravel()
    })  # fmt: skip
    tiny(Ridge(scale=scale), columns=Columns(group=None)).fit(frame)


@pytest.mark.parametrize(
    ("values", "scale", "warned"),
    [
        (PRICES, "returns", True),
        (HOLED, "returns", True),
        (PRICES, "series", False),
        (RETURNS, "returns", False),
        (np.abs(RETURNS), "returns", False),
        (np.zeros_like(RETURNS), "returns", False),
    ],
    ids=["prices", "with gaps", "of another scale", "returns", "sizes of returns", "nothing"],
)
def test_a_fit_warns_of_prices_that_are_taken_for_returns(
    values: np.ndarray, scale: str, warned: bool
) -> None:
    match = r"'y' is never negative and moves by 1\.\d% .*np\.log\(y\)\.diff\(\)"
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoReturnsWarning)
        with pytest.warns(NoReturnsWarning, match=match) if warned else nullcontext():
            fit(values, scale)
