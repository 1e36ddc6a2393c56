"""Batches gathered where the model is: those of the host, to the bit, and nothing is waited for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hierforecast import Columns, Forecaster, HiPerformer, _waiting
from hierforecast._random import seeded
from hierforecast.frame import read_frame
from hierforecast.windows import Window, WindowDataset, resident
from hierforecast.windows.cutoffs import cutoffs_of
from hierforecast.windows.hiding import SeriesDropout
from hierforecast.windows.history import learn_smoothing
from hierforecast.windows.resident import Resident, gather_on
from tests.helpers import COLUMNS, QUIET, make_frame
from tests.waiting import unwaited

HERE, META = torch.device("cpu"), torch.device("meta")
DAYS = Columns(
    group=["city", "shop"], crossed=["kind"], past_covariates=["price"], known_covariates=["plan"],
    static=["size"], freq="D",
)  # fmt: skip


def days() -> pd.DataFrame:
    """Daily sales with gaps, far from zero, one of them a constant; two scenes would be one."""
    rng, when = np.random.default_rng(0), pd.date_range("2024-01-01", periods=60)
    frame = pd.DataFrame({"unique_id": np.repeat(np.arange(8), 60), "ds": np.tile(when, 8)})
    number = frame["unique_id"]
    frame["city"], frame["shop"], frame["kind"] = number % 2, number % 4, number // 4
    frame["y"] = 1e6 + rng.normal(size=480).cumsum() * (number > 0)
    frame["price"], frame["plan"], frame["size"] = rng.normal(size=480), number % 3, number * 1.0
    return frame[rng.random(480) > 0.2]


def windows_of(
    frame: pd.DataFrame, columns: Columns, lengths: tuple[int, int], dtype: str, **options: Any
) -> WindowDataset:
    panel = read_frame(frame, columns, dtype=dtype)
    panel.vocabulary = panel.learn(panel.length)
    if options.get("origin") == "history":
        smoothing = learn_smoothing(panel, panel.length, lengths[1])
        panel.vocabulary = replace(panel.vocabulary, smoothing=smoothing)
    cutoffs = cutoffs_of(panel, *lengths)
    early = cutoffs[:2] - [0, 3]  # they begin before their scene does
    return WindowDataset(panel, np.concatenate([early, cutoffs]), *lengths, **options)


def leaves(node: Any) -> list[Any]:
    if hasattr(node, "__dataclass_fields__"):
        return [leaf for field in fields(node) for leaf in leaves(getattr(node, field.name))]
    return [leaf for part in node for leaf in leaves(part)] if isinstance(node, tuple) else [node]


def check_equal(found: Window, wanted: Window) -> None:
    """The same numbers of the same types, NaN too, and the same plan."""
    for one, other in zip(leaves(tuple(found)), leaves(tuple(wanted)), strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        else:
            np.testing.assert_array_equal(one, other)


CASES: dict[str, dict[str, Any]] = {
    "row": {"origin": "row"},
    "zero": {"origin": "zero"},
    "as they are": {},
    "calendar": {"origin": "row", "calendar": True},
    "hidden": {"origin": "row", "hide": SeriesDropout(0.3)},
    "history": {"origin": "history", "calendar": True},
    "few rows": {"origin": "row", "max_rows": 5, "hide": SeriesDropout(0.1)},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("data", ["court", "days"])
def test_batches_are_those_of_the_host(case: str, dtype: str, data: str):
    frame, columns, lengths = (make_frame(), COLUMNS, (8, 4))
    if data == "days":
        frame, columns, lengths = days(), DAYS, (20, 5)
    windows = windows_of(frame, columns, lengths, dtype, **CASES[case])
    there = Resident(windows, HERE)
    for some in (np.arange(len(windows)), np.array([3]), np.array([2, 2, 0]), np.arange(0)):
        wanted = windows.__getitems__(some, seeded(1))
        check_equal(there.__getitems__(some, seeded(1)), wanted)
    assert there.__getitems__(np.arange(4)).batch.values.isfinite().all()


def test_gathering_waits_for_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        resident, "sent", lambda x, device: torch.empty(x.shape, dtype=x.dtype, device=device)
    )
    windows = windows_of(days(), DAYS, (20, 5), "float32", origin="row", calendar=True)
    there = Resident(windows, META)
    with unwaited():
        batch, future = there.__getitems__(np.arange(4), seeded(0))
    wanted, after = windows.__getitems__(np.arange(4), seeded(0))
    assert {x.device for x in leaves(batch) if isinstance(x, Tensor)} == {META}
    assert batch.known.shape == wanted.known.shape and future.values.shape == after.values.shape


def test_what_does_not_fit_is_gathered_on_the_host(monkeypatch: pytest.MonkeyPatch):
    windows = windows_of(days(), DAYS, (20, 5), "float32", origin="row")
    assert gather_on(HERE, windows) == windows.__getitems__
    assert gather_on(torch.device("mps"), windows) == windows.__getitems__
    monkeypatch.setattr(_waiting, "HOSTS", set())
    assert isinstance(gather_on(HERE, windows).__self__, Resident)  # type: ignore[attr-defined]
    monkeypatch.setattr(resident, "MOST", 1000)
    assert gather_on(HERE, windows) == windows.__getitems__


@pytest.mark.parametrize("origin", ["row", "history"])
def test_a_fit_is_the_same_where_windows_are_gathered(monkeypatch: pytest.MonkeyPatch, origin: str):
    monkeypatch.setattr(_waiting, "HOSTS", set())
    scale, found, made = {"row": "series", "history": "demand"}[origin], [], []
    monkeypatch.setattr(Resident, "__getitems__", counting(Resident.__getitems__, made))
    for most in (0, resident.MOST):
        monkeypatch.setattr(resident, "MOST", most)
        forecaster = Forecaster(
            HiPerformer(16, 1, 2, scale=scale), context_length=20, prediction_length=5,
            columns=DAYS, max_steps=6, batch_size=4, series_dropout=0.2, trainer=QUIET,
        )  # fmt: skip
        frame = days()
        found.append(forecaster.fit(frame.assign(y=frame["y"] - 9e5)).history_)
        assert bool(made) == (most > 0)
    pd.testing.assert_frame_equal(*found, check_exact=True)


def counting(call: Any, made: list[int]) -> Any:
    def counted(*args: Any) -> Any:
        made.append(1)
        return call(*args)

    return counted
