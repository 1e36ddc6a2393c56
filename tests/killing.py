"""Killing a training half-way, as the system would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from hierforecast._lightning import LAST

REPOSITORY = Path(__file__).parents[1]


def kill_after_a_checkpoint(script: str, where: Path) -> None:
    """Run a training in a process of its own and kill it as the system would."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], cwd=where, env=environment
    )
    try:
        for _ in range(72_000):  # an hour: a busy machine is slow, and that is no failure
            if (where / "folder" / LAST).exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        assert process.poll() is None, "the training ended by itself"
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert (where / "folder" / LAST).exists(), "no checkpoint in an hour"
