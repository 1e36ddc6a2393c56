"""Calling ``hierforecast ssl`` as a user does."""

from __future__ import annotations

import warnings

from typer.testing import CliRunner

from hierforecast.cli import app

SMALL = "--images 24 --steps 2 --batch-size 8 --width 4 --head-width 8"
FEW = SMALL.split()
PLAIN = ["--arm", "plain", *FEW]


def call(*arguments, code=0):
    """Run a command; a traceback or an unexpected exit code fails the test."""
    result = CliRunner().invoke(app, ["ssl", *map(str, arguments)])
    unexpected = result.exception if not isinstance(result.exception, SystemExit) else None
    assert unexpected is None and result.exit_code == code, (result.output, result.exception)
    return result


def evaluated(task, *arguments):
    """Run ``ssl evaluate`` of a task."""
    return call("evaluate", *arguments, "--task", task)


def refused(task, *arguments):
    """The one line that it ends with when it fails."""
    return complaint("evaluate", *arguments, "--task", task)


def complaint(*arguments):
    """The one line that a command ends with when it fails."""
    result = call(*arguments, code=2)
    assert "Traceback" not in result.output
    *news, last = result.stderr.strip().splitlines()
    assert last.startswith("error: ") and not any("error" in line for line in news)
    return last


def warned(*arguments):
    """What a command that succeeds says, warnings too: to a user they are no errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        return call(*arguments).stderr
