"""Options checked at the door: what is taken, as what, and the one line that refuses the rest."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

from hierforecast import DataError
from hierforecast._options import levels, number, quantiles, share, whole


def test_numpy_scalars_become_python_numbers():
    for found, wanted in (
        (whole("n", np.int64(5)), 5),
        (whole("n", np.uint8(5), 5, 5), 5),
        (number("x", np.float32(0.5)), 0.5),
        (number("x", np.int16(3), low=3), 3.0),
        (share("x", 1), 1.0),
    ):
        assert found == wanted and type(found) in (int, float)
    assert type(whole("n", np.int64(5))) is int and type(number("x", np.float32(1))) is float


@pytest.mark.parametrize(
    "value", [2.0, "2", True, np.bool_(True), np.timedelta64(2, "D"), None, [2], math.nan, 0, -1]
)
def test_what_is_no_count(value):
    with pytest.raises(DataError, match=r"^depth=.* must be a whole number of at least 1$"):
        whole("depth", value)


@pytest.mark.parametrize("value", ["0.1", True, None, math.nan, math.inf, -1, [0.1]])
def test_what_is_no_number(value):
    with pytest.raises(DataError, match=r"^rate=.* must be a number between 0 and 0.5$"):
        share("rate", value, high=0.5)


def test_bounds_are_told():
    for call, message in (
        (lambda: whole("k", 9, 1, 8), "k=9 must be a whole number from 1 to 8"),
        (lambda: number("x", math.nan), "x=nan must be a number"),
        (lambda: number("x", -1, 0), "x=-1 must be a number of at least 0"),
        (lambda: number("x", 0, 0, ends=False), "x=0 must be a number above 0"),
        (lambda: whole("k", np.float64(2)), "k=2.0 must be a whole number of at least 1"),
    ):
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            call()
    with pytest.raises(DataError) as told:
        whole("k", pd.DataFrame({"a": range(100)}))
    assert len(str(told.value)) < 120 and "\n" not in str(told.value)


def test_levels_and_quantiles_are_one_or_several_each_once():
    assert levels(None) == quantiles(None) == []
    assert levels(90) == levels([90, 90]) == levels(np.array([90])) == [90.0]
    assert levels(pd.Series([80, 97.5])) == [80.0, 97.5]
    assert levels(np.float32(80)) == [80.0] and levels((1,)) == [1.0]
    assert quantiles(0.5) == [0.5] and quantiles(np.arange(1, 4) / 4) == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("level", [0.9, [80, 0.9], np.array([0.9]), np.float64(0.9)])
def test_a_share_is_no_level(level):
    with pytest.raises(DataError, match=r"^level=0\.9 is 0\.9 percent: did you mean 90\?$"):
        levels(level)


@pytest.mark.parametrize("level", [0, 100, -5, [80, 101], "90", True, math.nan, [[None]]])
def test_what_is_no_level(level):
    with pytest.raises(DataError, match=r"^level=.* must lie between 0 and 100 \(percent\), e.g."):
        levels(level)


def test_a_percentage_is_no_quantile():
    with pytest.raises(DataError, match=r"^quantiles=90 must .* 0 and 1: did you mean 0\.9\?$"):
        quantiles([0.1, 90])
    for wrong in (0, 1, -0.1, 100, "0.5", True, math.nan):
        with pytest.raises(DataError, match=r"^quantiles=.* between 0 and 1 \(a probability\)"):
            quantiles([wrong])
