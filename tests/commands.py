"""How tests run a command: its result, its one line of complaint, and the sizes of a small fit."""

from __future__ import annotations

from typer.testing import CliRunner

from hierforecast.cli import app

SIZES = ("--context", 6, "--horizon", 3)
SETTINGS = ("--set width=8", "--set depth=1", "--set heads=2", "--steps 3", "--batch-size 8")
SMALL = " ".join(SETTINGS).split()


def call(*arguments, code=0):
    """Run a command; a traceback or an unexpected exit code fails the test."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    unexpected = result.exception if not isinstance(result.exception, SystemExit) else None
    assert unexpected is None and result.exit_code == code, (result.output, result.exception)
    return result


def complaint(*arguments):
    """The one line that a command ends with when it fails."""
    result = call(*arguments, code=2)
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]
