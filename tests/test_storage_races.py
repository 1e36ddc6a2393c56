"""Saves that are killed, and saves and loads of several processes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from hierforecast import Forecaster, HiPerformer
from hierforecast.storage import OPTIONS
from tests.helpers import make_frame, tiny

REPOSITORY = Path(__file__).parents[1]
KILLS = int(os.environ.get("HIERFORECAST_KILLS", 2))
LOADS = int(os.environ.get("HIERFORECAST_LOADS", 30))
BEGIN = """
    import os, sys
    from hierforecast import Forecaster
    first, second = Forecaster.load("a"), Forecaster.load("b")
    print("ready", flush=True)
"""
SAVE = f"""{BEGIN}
    for _ in range(int(sys.argv[2])):
        first.save(sys.argv[1])
        second.save(sys.argv[1])
"""
# A child for each line of the input, which saves until it is killed; then how it ended.
SAVE_AND_DIE = f"""{BEGIN}
    for _ in sys.stdin:
        child = os.fork()
        while not child:
            first.save(sys.argv[1])
            second.save(sys.argv[1])
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) * -1, flush=True)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two forecasters of one architecture, told apart by weights and by options."""
    root = tmp_path_factory.mktemp("saved")
    for name, seed in (("a", 0), ("b", 1)):
        forecaster = tiny(HiPerformer(24, 1, 2), max_steps=1, seed=seed)
        forecaster.fit(make_frame(n_scenes=2)).save(root / name)
    return root


def which(folder: Path, root: Path) -> int:
    """The seed of the save that a folder holds; its weights must be of the same save."""
    found = Forecaster.load(folder)
    expected = Forecaster.load(root / "ab"[found.seed]).model_.state_dict()
    for name, value in found.model_.state_dict().items():
        assert torch.equal(value, expected[name]), f"options of {found.seed}, other {name}"
    return found.seed


@contextmanager
def running(
    script: str, *arguments: str, root: Path, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Another process that has loaded both."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("temporary", ["here", "another file system"])
def test_a_killed_save_loses_nothing_and_leaves_nothing_half(temporary, root, tmp_path):
    if temporary != "here" and not Path("/dev/shm").is_dir():
        pytest.skip("there is no second file system")
    place = "/dev/shm" if temporary != "here" else str(tmp_path)
    rng, target = np.random.default_rng(0), tmp_path / "model"
    Forecaster.load(root / "a").save(target)
    with running(SAVE_AND_DIE, str(target), root=root, TMPDIR=place) as process:
        for _ in range(KILLS):
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.2))
            os.kill(child, signal.SIGKILL)
            assert process.stdout.readline() == f"{signal.SIGKILL.value}\n"
            assert which(target, root) in (0, 1)
    Forecaster.load(root / "b").save(target)
    assert which(target, root) == 1
    assert len(os.listdir(target)) == 2 and os.listdir(tmp_path) == ["model"]


def test_loads_beside_saves_are_never_mixed_and_never_fail(root, tmp_path):
    Forecaster.load(root / "a").save(tmp_path / "model")
    seen = []
    with running(SAVE, str(tmp_path / "model"), str(LOADS), root=root) as process:
        while len(seen) < LOADS or process.poll() is None:
            seen.append(which(tmp_path / "model", root))
        assert process.returncode == 0
    assert set(seen) == {0, 1}


def test_saves_at_once_are_each_whole_and_the_last_one_stays(root, tmp_path):
    call = (SAVE, str(tmp_path / "model"), "20")
    with running(*call, root=root) as one, running(*call, root=root) as other:
        assert one.wait() == other.wait() == 0
    assert which(tmp_path / "model", root) == 1
    assert len(os.listdir(tmp_path / "model")) == 2
    forecasters = [Forecaster.load(root / name) for name in "ab"]
    errors: list[BaseException] = []

    def save(forecaster: Forecaster) -> None:
        try:
            for _ in range(10):
                forecaster.save(tmp_path / "model")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=[forecaster]) for forecaster in forecasters * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and which(tmp_path / "model", root) in (0, 1)


@pytest.mark.parametrize("before", [True, False], ids=["a save before", "the first save"])
def test_what_killed_saves_left_behind_is_cleaned_up(before, root, tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    if before:
        Forecaster.load(root / "a").save(target)
    left = (f".{OPTIONS}.0123456789abcdef.part", f"weights-{'0' * 16}.safetensors")
    for name in (*left, f".weights-{'0' * 16}.safetensors.0123456789abcdef.part"):
        (target / name).write_bytes(b"half")
    if before:
        assert which(target, root) == 0
    else:
        with pytest.raises(FileNotFoundError, match=f"holds no {OPTIONS}"):
            Forecaster.load(target)
    Forecaster.load(root / "b").save(target)
    assert which(target, root) == 1 and len(os.listdir(target)) == 2
