"""Every remedy that an error prints is run on the very frame that caused it, and leads to a fit."""

from __future__ import annotations

from functools import partial
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns
from hierforecast.errors import DataError, UnknownLabelsWarning
from tests.frame.cases import long
from tests.frame.unreadable import CASES
from tests.frames import LIBRARIES, fit, mend, mended, naive, pl, to_pandas


@pytest.mark.parametrize("case", CASES)
def test_remedies_lead_to_a_fit(case: str, library: str, to: Any) -> None:
    given = CASES[case]
    if library not in given.only:
        pytest.skip(f"{library} has no such frame")
    frame = to(given.frame)
    with pytest.raises(DataError, match=given.message) as caught:
        fit(frame, given.columns)
    error = caught.value
    shown = error.on_command_line()
    assert given.options in shown
    assert not any(word in shown for word in ("frame[", "frame.", "Columns(", "pd.", "pl.", "pa."))
    scope = mend(error, frame=frame, columns=given.columns)
    columns, frame = scope["columns"], scope["frame"]
    forecast = fit(frame, columns).predict(frame)
    assert type(forecast) is type(to(given.frame))
    answer = to_pandas(forecast)
    assert str(answer[columns.time].iloc[0]).startswith(given.start)
    first = answer.groupby(list(columns.ids))["LastValue"].first()
    wanted = given.ids
    if not isinstance(wanted, dict):
        wanted = dict(zip(wanted, given.last, strict=True))
    assert first.to_dict() == pytest.approx(wanted, rel=1e-6)


def with_labels(stores: Any) -> pd.DataFrame:
    """Two series, each with its label in `store`."""
    labels = stores if isinstance(stores, pd.Categorical) else pd.array(stores)
    return long().assign(store=labels.take(np.repeat([0, 1], 24)))


# The column `store` in training and at prediction, and what is said.
LABELS_NOW = {
    "numbers, then text": ((1, 2), ("1", "2"), r"was a number in training; convert it as then"),
    "text, then numbers": (("1", "2"), (1, 2), r"was a category in training; convert it as then"),
    "text, then floats": (("1", "2"), (1.0, 2.0), r"was a category in training; convert it"),
    "digits, then numbers": (("01", "02"), (1, 2), r"was a category in training; convert it as"),
    "truths, then text": (
        (True, False),
        ("True", "False"),
        r"they are 'False', 'True' now \(its type is .*\) and were False, True; convert it as then",
    ),
    "truths, then numbers": ((True, False), (1, 0), r"was a category in training; convert it"),
    "text, then whole labels": (
        ("1", "2"),
        pd.Categorical([1, 2]),
        r"knew none of the labels of \w+ covariate 'store' of the frame: they are 1, 2 now \(its "
        r"type is .*\) and were '1', '2'; convert it as then",
    ),
    "whole labels, then text": (
        pd.Categorical([1, 2]),
        ("1", "2"),
        r"they are '1', '2' now \(its type is .*\) and were 1, 2; convert it as then",
    ),
}


@pytest.mark.parametrize("role", ["static", "past_covariates", "group_type"])
@pytest.mark.parametrize("case", LABELS_NOW)
def test_labels_of_another_type_than_in_training(
    case: str, role: str, library: str, to: Any
) -> None:
    then, now, message = LABELS_NOW[case]
    if library == "polars" and "whole labels" in case:
        pytest.skip("polars has no categories of integers")
    columns = Columns(group=None, **{role: "store" if role == "group_type" else ["store"]})
    if role == "group_type":
        message = r"has the group type .* not there in training: known are \[.*\]; rename it"
        if case == "truths, then numbers":
            pytest.skip("a truth and its number are equal labels")
    fitted = fit(to(with_labels(then)), columns)
    frame = to(with_labels(now))
    scope = mended(message, lambda: fitted.predict(frame), frame=frame)
    forecast = fitted.predict(scope["frame"])
    assert nw.from_native(forecast)["LastValue"].to_list() == [23] * 3 + [123] * 3


@pytest.mark.parametrize("role", ["static", "past_covariates"])
def test_a_column_that_is_missing_altogether_may_have_any_type(role: str, to: Any) -> None:
    columns = Columns(group=None, **{role: ["store"]})
    for then in (("x", "y"), (1.0, 2.0)):
        fitted = fit(to(with_labels(then)), columns)
        wanted = nw.from_native(fitted.predict(to(with_labels(then))))["LastValue"].to_list()
        for now in (
            pd.Series([None] * 48, dtype=object),
            pd.Series([None] * 48, dtype="str"),
            pd.Series([np.nan] * 48),
            pd.Series([None] * 48, dtype="category"),
        ):
            forecast = fitted.predict(to(long().assign(store=now)))
            assert nw.from_native(forecast)["LastValue"].to_list() == wanted


def test_no_known_label_is_a_warning_and_some_are_enough() -> None:
    columns = Columns(group=None, static=["store"])
    fitted = fit(with_labels(("x", "y")), columns)
    fitted.predict(with_labels(("x", "new")))
    with pytest.warns(
        UnknownLabelsWarning, match=r"'store' .* they are 'new', 'old' now .*'x', 'y'"
    ):
        fitted.predict(with_labels(("old", "new")))
    kinds = fit(with_labels(("x", "y")), Columns(group=None, group_type="store"))
    for to in LIBRARIES.values():
        frame = to(with_labels(("x", "new")))
        message = r"the group type 'new', .*; drop its series"
        scope = mended(message, partial(kinds.predict, frame), frame=frame)
        forecast = kinds.predict(scope["frame"])
        assert nw.from_native(forecast)["unique_id"].to_list() == ["a"] * 3


def test_lazy_frames_of_one_scene_are_collected() -> None:
    fit(pl.from_pandas(long()).lazy())


def test_a_context_that_is_too_long_is_shortened() -> None:
    fitted = naive()
    with pytest.raises(
        DataError, match=r"8 \+ 3 = 11 steps, but the longest scene has 10"
    ) as caught:
        fitted.fit(long(n=10))
    assert caught.value.on_command_line().endswith("or a shorter context: --context 7")
    mend(caught.value, forecaster=fitted)
    assert fitted.context_length == 7 and len(fitted.fit(long(n=10)).predict(long(n=10))) == 6


def test_other_frames_are_mended_under_their_own_names(to: Any) -> None:
    to, columns = to, Columns(group=None, known_covariates=["plan"])
    train = long().assign(plan=1.0)
    ahead = train[-3:].assign(ds=lambda f: f.ds + pd.Timedelta("3D"))
    ahead = pd.concat([ahead, ahead.assign(unique_id="a")])
    fitted = fit(to(train), columns)
    for known, message in (
        (
            pd.concat([ahead, ahead[:1]]),
            r"the known frame has duplicated rows: .*they tell the same",
        ),
        (
            ahead.rename(columns={"plan": "Plan"}),
            r"the known frame has no column 'plan' \(did you mean",
        ),
    ):
        predict = partial(fitted.predict, to(train))
        scope = mended(message, partial(predict, known=to(known)), known=to(known))
        assert len(predict(known=scope["known"])) == 6
    differ = to(pd.concat([ahead, ahead[:1].assign(plan=2.0)]))
    with pytest.raises(DataError, match="they tell different values: keep the one that is right"):
        fitted.predict(to(train), known=differ)
    val = to(train.rename(columns={"y": "Y"}))
    again = partial(naive(columns).fit, to(train))
    again(val=mended("the val frame has no column 'y'", partial(again, val=val), val=val)["val"])
