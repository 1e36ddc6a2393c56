"""The SA3 block compiled, in bfloat16 and on a GPU."""

from __future__ import annotations

import os
import shutil
import tempfile
from time import perf_counter, process_time
from typing import Any
from unittest import mock

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks._speed_blocks import CASES, HEADS, NBA, WIDTH, Case
from benchmarks.timing import MODES, Arm, interleave
from hierforecast.batch import _map_tensors
from hierforecast.nn.sa3 import SA3Block

BASE = "CPU, float32"
COMPILERS = ("c++", "g++", "gcc", "clang++", "clang", "cl")


class HalfPrecision(nn.Module):
    """A module under autocast to bfloat16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, *rest: object) -> Tensor:
        """As the module, in float32 at both ends."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.module(x, *rest).float()


def variants(device: str) -> dict[str, tuple[str, Any]]:
    """What is compared: by row, the device and how a block is changed."""
    name = device.upper().replace("CUDA", "GPU")
    return {
        f"{name}, float32": (device, lambda block: block),
        f"{name}, bfloat16 by autocast": (device, HalfPrecision),
        f"{name}, float32, torch.compile": (device, torch.compile),
    }


def unable(row: str) -> str | None:
    """Why a row cannot be had on this machine, or None."""
    if row.startswith("GPU") and not torch.cuda.is_available():
        return "no GPU here"
    if row.startswith("CPU") and "compile" in row and not _compiler():
        return "no C++ compiler here"
    return None


def _compiler() -> bool:
    return any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS)))


def finished(arm: Arm, device: str) -> Arm:
    """The arm, over only when the device is done."""
    if device == "cpu":
        return arm

    def run() -> None:
        arm()
        torch.cuda.synchronize()

    return run


def devices(rounds: int, case: Case = CASES[NBA]) -> pd.DataFrame:
    """Time of a block by device and number type, relative to float32 on one thread."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Or compiling would find what an earlier process has compiled.
        fresh = {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
        with mock.patch.dict(os.environ, fresh):
            return _devices(rounds, case)


def _devices(rounds: int, case: Case) -> pd.DataFrame:
    block, x = SA3Block(WIDTH, HEADS), case.tokens()
    every = {k: v for device in ("cpu", "cuda") for k, v in variants(device).items()}
    rows: dict[str, dict[str, str]] = {}
    inputs: dict[str, tuple[Any, ...]] = {}
    for row, (device, change) in every.items():
        reason = unable(row)
        rows[row] = dict.fromkeys((*MODES, "compiling, s"), reason or "-")
        if reason is None:
            module = SA3Block(WIDTH, HEADS).to(device)
            module.load_state_dict(block.state_dict())
            hierarchy = _map_tensors(case.hierarchy, lambda t: t.to(device))  # noqa: B023
            inputs[row] = (device, change(module), x.to(device), hierarchy)
    for mode, make in MODES.items():
        arms = {row: finished(make(*rest), device) for row, (device, *rest) in inputs.items()}
        for row in [row for row in arms if "compile" in row]:
            began = float(rows[row]["compiling, s"].replace("-", "0"))
            rows[row]["compiling, s"] = f"{began + _first(arms[row]):.0f}"
        clock = perf_counter if torch.cuda.is_available() else process_time
        timings = interleave(arms, rounds, clock=clock)
        for row in arms:
            rows[row][mode] = f"{timings.ratio(row, BASE):.3g}"
    return pd.DataFrame(rows).T


def _first(arm: Arm) -> float:
    """Seconds of a first call by the wall clock: nearly all of it compiling."""
    start = perf_counter()
    arm()
    return perf_counter() - start
