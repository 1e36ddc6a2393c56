"""What ``--engine`` refuses before any engine is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hierforecast.cli import app
from tests.engines.checks import fitted, frame_of


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A saved forecaster, a folder of Parquet, and one that is not empty."""
    place, frame = tmp_path_factory.mktemp("place"), frame_of(2)
    fitted(frame).save(place / "model")
    for name in ("big", "full"):
        (place / name).mkdir()
        frame.to_parquet(place / name / "part.parquet")
    return place


OUT = ["--out", "new"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["predict", "big", "model"], "--engine needs --out"),
        (["predict", "big", "model", "--out", "full"], "there already"),
        (["predict", "big/part.parquet", "model", *OUT], "one folder of .parquet files"),
        (["predict", "nowhere", "model", *OUT], "'nowhere' does not exist"),
        (["predict", "model", "model", *OUT], "one folder of .parquet files"),
        (["predict", "big", "full", "model", *OUT], "one folder of .parquet files"),
        (["predict", "big", "model", "--cutoff", "5", *OUT], "--cutoff is of tables"),
        (["impute", "big", "model", "--sep", ";", *OUT], "--sep is of tables"),
        (["evaluate", "big", "model", "model", "--baseline", "ridge"], "one forecaster"),
        (["evaluate", "big", "model", "--start", "5"], "--start is of tables"),
    ],
)
def test_what_an_engine_cannot_do_is_said_at_once(place, monkeypatch, given: Any, words: str):
    monkeypatch.chdir(place)
    result = CliRunner().invoke(app, [*given, "--engine", "dask"])
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.stderr.split())
