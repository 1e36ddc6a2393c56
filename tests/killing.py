"""Killing a training half-way, as the system would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import torch

from hierforecast.io.checkpoints import LAST

REPOSITORY = Path(__file__).parents[1]


def run(
    script: str,
    where: Path,
    at: int | None = None,
    late: float = 0.0,
    how: signal.Signals = signal.SIGKILL,
    **more: str,
) -> int:
    """Run a training in a process of its own, which keeps its checkpoint in ``where / "folder"``.

    Args:
        script: what is run there.
        where: the working folder.
        at: kill it, as the system would, once the checkpoint of this step is there; None: do not.
        late: seconds to wait between the checkpoint and the kill.
        how: the signal.
        more: environment variables.

    Returns:
        Its exit status.
    """
    # A shell starts jobs in the background deaf to Ctrl-C, and children inherit that.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", hears + textwrap.dedent(script)],
        cwd=where,
        env=environment,
    )
    try:
        # An hour: a busy machine is slow, and that is no failure.
        for _ in range(72_000 if at is not None else 0):
            if reached(where / "folder") >= at or process.poll() is not None:
                time.sleep(late)
                break
            time.sleep(0.05)
        if at is not None:
            process.send_signal(how)
        return process.wait(3600)
    finally:
        process.kill()
        process.wait()


def reached(folder: Path) -> int:
    """The step of the checkpoint in a folder, -1 without one; it is whole at any moment."""
    try:
        step: int = torch.load(folder / LAST, weights_only=True)["global_step"]
    except FileNotFoundError:
        return -1
    return step
