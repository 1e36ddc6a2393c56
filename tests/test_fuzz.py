"""Random frames of every kind go in: the right dates, ids and numbers come out, or a named error.

`HIERFORECAST_FUZZ` says how many frames are tried; the seed is fixed.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hierforecast import (
    ConstantVelocity,
    DataError,
    Forecaster,
    HiPerformer,
    LastValue,
    NotFittedError,
    Ridge,
)
from tests.drawn_frames import Case, cases
from tests.frames import LIBRARIES, pa

CASES = int(os.environ.get("HIERFORECAST_FUZZ", "150"))
MANY = settings(
    max_examples=CASES,
    derandomize=True,
    deadline=None,  # a busy machine is no fault
    database=None,
    suppress_health_check=list(HealthCheck),
)
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}


def forecaster_of(case: Case, model: Any, **options: Any) -> Forecaster:
    """A forecaster of the case's lengths."""
    lengths = {"context_length": case.context, "prediction_length": case.horizon}
    return Forecaster(model, columns=case.columns, trainer=QUIET, **lengths, **options)


def pandas_of(answer: Any) -> pd.DataFrame:
    """Any answer in pandas, integers as Python's."""
    frame = nw.from_native(answer).to_pandas()
    if "scene" not in frame:
        frame.insert(0, "scene", 0)
    return frame


def instants(labels: Any) -> list[Any]:
    """Labels that compare across libraries and units: integers, or UTC timestamps."""
    labels = pd.Index(labels)
    if not isinstance(labels, pd.DatetimeIndex):
        return [int(label) for label in labels]
    return list((labels.tz_convert("UTC") if labels.tz else labels).as_unit("ns"))


def check(case: Case, forecast: pd.DataFrame, draws: int = 1) -> None:
    """Rows, ids and dates are those expected, each as often as there are draws."""
    wanted = case.expected()
    assert len(forecast) == draws * len(wanted)
    for start in range(0, len(forecast), len(wanted)):
        part = forecast.iloc[start : start + len(wanted)]
        assert part.scene.tolist() == wanted.scene.tolist()
        assert part.unique_id.astype(str).tolist() == wanted.unique_id.astype(str).tolist()
        assert instants(part.ds) == instants(wanted.ds)


def unchanged(frame: Any, before: Any) -> None:
    """The user's frame is as it was."""
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(frame, before)
    else:
        assert frame.equals(before)


def copy_of(frame: Any) -> Any:
    return frame.copy(deep=True) if isinstance(frame, pd.DataFrame) else frame


@MANY
@given(cases())
def test_every_verb_answers_any_frame(case):
    before = copy_of(case.frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # series not seen for long are named
        forecaster = forecaster_of(case, LastValue()).fit(case.frame)
        forecast = pandas_of(forecaster.predict(case.frame, level=[80]))
        samples = pandas_of(forecaster.sample(case.frame, 2))
        table = pandas_of(forecaster.backtest(case.frame))
        scores = pandas_of(forecaster.evaluate(case.frame, ["mae"]))
    unchanged(case.frame, before)
    check(case, forecast)
    check(case, samples, draws=2)
    truth = case.expected().y.to_numpy()
    tolerance = 1e-6 * case.spread + 4 * np.spacing(np.abs(truth) + 1)
    for target, name in names_of(case, "LastValue").items():
        low, point, high = (
            forecast[f"{name}{end}"].to_numpy(dtype=float) for end in ("-lo-80", "", "-hi-80")
        )
        wanted = truth if target == "y" else 1 - truth
        assert (np.abs(point - wanted) <= tolerance).all()
        assert (low <= point).all() and (point <= high).all() and np.isfinite(high - low).all()
        assert np.isfinite(samples[name].to_numpy(dtype=float)).all()
    check_backtest(case, table, scores)


def names_of(case: Case, model: str) -> dict[str, str]:
    """The column of the forecast of each target."""
    targets = case.columns.targets
    return {t: model if len(targets) == 1 else f"{model}_{t}" for t in targets}


def check_backtest(case: Case, table: pd.DataFrame, scores: pd.DataFrame) -> None:
    """The truth is the frame's, bit for bit, and the score is that of the table."""
    known = {
        (row.scene, str(row.unique_id), instant): row.y
        for row, instant in zip(case.plain.itertuples(), instants(case.plain.ds), strict=True)
        if row.present
    }
    keys = zip(table.scene, table.unique_id.astype(str), instants(table.ds), strict=True)
    truth = np.array([known.get(key, np.nan) for key in keys], dtype=float)
    np.testing.assert_array_equal(table["y"].to_numpy(dtype=float), truth)
    names = names_of(case, "LastValue").items()
    error = np.mean([np.nanmean(np.abs(table[name].astype(float) - table[t])) for t, name in names])
    value = scores[scores.part == "all"].value.item()
    np.testing.assert_allclose(value, error, rtol=1e-5, atol=1e-6 * case.spread)


MODELS = [ConstantVelocity(), Ridge(), HiPerformer(8, 1, 2, patch=3)]


@settings(MANY, max_examples=max(10, CASES // 5))
@given(cases(), st.sampled_from(MODELS))
def test_every_model_answers_any_frame_finitely(case, model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        forecaster = forecaster_of(case, model, max_steps=2).fit(case.frame)
        forecast = pandas_of(forecaster.predict(case.frame, level=[80]))
        scores = pandas_of(forecaster.evaluate(case.frame, n_samples=2))
    check(case, forecast)
    numbers = forecast.filter(like=type(model).__name__).to_numpy(dtype=float)
    assert np.isfinite(numbers).all()
    assert np.isfinite(scores[scores.part == "all"].value.to_numpy(dtype=float)).all()


def _repeat(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.head(2)])


SPOILERS = {
    "nothing": lambda f: f,
    "infinite": lambda f: f.assign(y=np.inf),
    "one infinite": lambda f: f.assign(y=f.y.where(np.arange(len(f)) > 0, -np.inf)),
    "all missing": lambda f: f.assign(y=np.nan),
    "huge": lambda f: f.assign(y=f.y * 1e300),
    "tiny": lambda f: f.assign(y=f.y * 1e-300),
    "text": lambda f: f.assign(y=f.y.astype(str)),
    "repeated": _repeat,
    "empty": lambda f: f.head(0),
    "one row": lambda f: f.head(1),
    "three rows": lambda f: f.head(3),
    "no time": lambda f: f.drop(columns="ds"),
    "null time": lambda f: f.assign(ds=f.ds.where(np.arange(len(f)) > 0)),
    "text time": lambda f: f.assign(ds=f.ds.astype(str)),
    "float time": lambda f: f.assign(ds=np.arange(len(f)) * 0.04),
    "random time": lambda f: f.assign(ds=np.random.default_rng(0).permutation(10**6)[: len(f)]),
    "null id": lambda f: f.assign(unique_id=f.unique_id.where(np.arange(len(f)) > 0)),
    "moving group": lambda f: f.assign(group=np.where(np.arange(len(f)) % 2, "A", "B")),
    "object": lambda f: f.assign(y=[object()] * len(f)),
    "boolean": lambda f: f.assign(y=f.y > 0),
    "durations": lambda f: f.assign(ds=pd.to_timedelta(np.arange(len(f)), unit="s")),
    "mixed ids": lambda f: f.assign(
        unique_id=[1, "a"][: len(f)] * (len(f) // 2) + [2] * (len(f) % 2)
    ),
}


@MANY
@given(cases(), st.sampled_from(sorted(SPOILERS)), st.booleans(), st.sampled_from([*LIBRARIES]))
def test_a_spoiled_frame_gets_a_named_error_or_a_finite_answer(case, spoiler, early, library):
    plain = case.plain.drop(columns=["present", "step"]).reset_index(drop=True)
    spoiled: Any = SPOILERS[spoiler](plain)
    # Not every library holds such a frame.
    with contextlib.suppress(pa.ArrowException, TypeError, ValueError):
        spoiled = LIBRARIES[library](spoiled)
    before = copy_of(spoiled)
    forecaster = forecaster_of(case, LastValue())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            forecaster.fit(spoiled if early else case.frame)
            forecast = pandas_of(forecaster.predict(spoiled, level=[80]))
        except (DataError, NotFittedError) as error:
            assert len(str(error)) > 20 and "tensor(" not in str(error)
            forecast = None
    unchanged(spoiled, before)
    if forecast is not None:
        numbers = forecast.filter(like="LastValue").to_numpy(dtype=float)
        assert len(numbers) and np.isfinite(numbers).all()
