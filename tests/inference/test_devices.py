"""Several devices answer as one does: here processes of the CPU, which share out the batches."""

from __future__ import annotations

import os
import sys
from typing import Any

import pandas as pd
import pytest
import torch

from hierforecast import DataError, Forecaster, HiPerformer
from hierforecast.inference import devices
from hierforecast.inference.devices import devices_of
from tests.helpers import COLUMNS, QUIET, make_frame, tiny

FRAME = make_frame(9, 24)
HISTORY = FRAME[FRAME.ds < 20]
ASKED: dict[str, Any] = {
    "predict": (HISTORY, {"level": [80], "quantiles": [0.1]}),
    "totals": (HISTORY, {"by": "team"}),
    "conformal": (HISTORY, {"level": [80], "conformal": FRAME}),
    "given": (HISTORY, {"given": FRAME[(FRAME.ds == 22) & (FRAME.unique_id == "ball_0")]}),
    "sample": (HISTORY, {"n": 3}),
    "futures": (HISTORY, {"n": 2, "n_samples": 10}),
    "backtest": (FRAME, {"stride": 2}),
    "evaluate": (FRAME, {"n_samples": 3}),
}


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return tiny(HiPerformer(8, 1, 2, patch=4), columns=COLUMNS, batch_size=2).fit(FRAME)


@pytest.fixture
def two(forecaster, monkeypatch) -> Forecaster:
    """The same on two processes, however little there is to do."""
    monkeypatch.setattr(devices, "LEAST", 1)
    found = Forecaster(**forecaster.get_params(deep=False))
    found._learned(forecaster._fitted())
    return found.set_params(trainer={**QUIET, "devices": 2})


def assert_same(two: Forecaster, one: Forecaster, name: str) -> None:
    (frame, options), verb = ASKED[name], name if hasattr(Forecaster, name) else "predict"
    found, expected = (getattr(each, verb)(frame, **options) for each in (two, one))
    if verb == "evaluate":  # sums are added up in another order
        pd.testing.assert_frame_equal(found, expected, rtol=1e-12)
    else:
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_two_processes_answer_as_one(forecaster, two, name):
    assert_same(two, forecaster, name)


@pytest.mark.parametrize("name", ASKED)
def test_shares_are_the_whole_to_the_bit(forecaster, two, monkeypatch, name):
    """Of every verb, by way of what processes are sent and send back."""
    asked = []

    def run(places: tuple[str, ...], threads: int, given: bytes) -> list[bytes]:
        asked.append(places)
        return [devices.answer(given, n, len(places), place) for n, place in enumerate(places)]

    monkeypatch.setattr(devices, "_run", run)
    assert_same(two, forecaster, name)
    assert asked == [("cpu", "cpu")]


def test_little_is_answered_here(forecaster, two, monkeypatch):
    monkeypatch.setattr(devices, "_run", None)  # which cannot be called
    monkeypatch.setattr(devices, "LEAST", 128)
    pd.testing.assert_frame_equal(two.predict(HISTORY), forecaster.predict(HISTORY))


class Own(HiPerformer):
    """Of a script: no other process knows it."""


def test_a_model_of_the_script_is_asked_here(forecaster, two, monkeypatch):
    monkeypatch.setattr(devices, "_run", None)
    monkeypatch.setattr(Own, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Own", Own, raising=False)
    model = tiny(Own(8, 1, 2, patch=4), batch_size=2).fit(FRAME)
    expected = model.predict(HISTORY)
    model.set_params(trainer={**QUIET, "devices": 2})
    pd.testing.assert_frame_equal(model.predict(HISTORY), expected)


def fail(forecasts: Any) -> None:
    raise DataError("column 'x' is wrong")


def die(forecasts: Any) -> None:
    os._exit(9)


@pytest.mark.slow
@pytest.mark.parametrize(("ask", "words"), [(fail, "'x' is wrong"), (die, "without an answer")])
def test_what_goes_wrong_in_a_process_is_an_error_here(two, ask, words):
    forecasts = two._ahead(HISTORY, None, None)
    with pytest.raises(DataError, match=words):
        devices.shared_out(forecasts, ask)


@pytest.mark.parametrize(
    ("asked", "cpu", "cuda"),
    [
        (2, ["cpu", "cpu"], ["cuda:0", "cuda:1"]),
        ("2", ["cpu", "cpu"], ["cuda:0", "cuda:1"]),
        ([1, 3], ["cpu", "cpu"], ["cuda:1", "cuda:3"]),
        ("1,3", ["cpu", "cpu"], ["cuda:1", "cuda:3"]),
        (-1, [], ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        (9, ["cpu"] * 9, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ("auto", [], []),
        (None, [], []),
    ],
)
def test_devices_are_said_in_lightnings_words(monkeypatch, asked, cpu, cuda):
    assert list(devices_of({"devices": asked})) == cpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert list(devices_of({"devices": asked})) == cuda
    assert list(devices_of({"devices": asked, "accelerator": "cpu"})) == cpu
    assert devices_of(None) == ()
