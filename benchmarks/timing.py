"""Interleaved timings on one thread, and the peak of memory.

Absolute times say little on a machine that others use. Arms are therefore run in turn, round after
round, and compared within a round; the median over rounds is the answer. The clock counts the
processor's seconds of this process with all its threads: nothing measured here waits for anything
else, so on an idle machine it shows the same ratios as a wall clock.
"""

from __future__ import annotations

import ctypes
import gc
import math
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

Arm = Callable[[], object]

# glibc's numbers for options of mallopt.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# The side of the square matrices whose product is the measured peak.
PEAK_SIDE = 1024


@dataclass(frozen=True)
class Timings:
    """Seconds of each arm, round after round."""

    seconds: dict[str, list[float]]

    def median(self, arm: str) -> float:
        """Seconds of an arm; of use for rough orientation only."""
        return median(self.seconds[arm])

    def ratio(self, arm: str, other: str) -> float:
        """How many times as long as another an arm takes: the median over rounds."""
        pairs = zip(self.seconds[arm], self.seconds[other], strict=True)
        return median(one / two for one, two in pairs)


def steady() -> None:
    """One thread, and freed memory is kept: a fresh page costs as much as filling it.

    Under glibc, large outputs are otherwise fresh from the kernel each time, which halves the speed
    of large matrix products and makes time grow faster than the arithmetic.
    """
    torch.set_num_threads(1)
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def interleave(
    arms: Mapping[str, Arm],
    rounds: int,
    patience: float = math.inf,
    clock: Callable[[], float] = process_time,
) -> Timings:
    """Run the arms in turn, after one round that does not count.

    Args:
        arms: what to time.
        rounds: that count.
        patience: seconds after which no further round begins; if the first took as long, it counts.
        clock: seconds since some moment.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    begun = clock()
    for _ in range(rounds + 1):
        for name, arm in arms.items():
            start = clock()
            arm()
            seconds[name].append(clock() - start)
        if clock() - begun > patience:
            break
    return Timings({name: laps[1:] or laps for name, laps in seconds.items()})


def forward(module: Callable[..., Tensor], *inputs: object) -> Arm:
    """An arm: the forward pass, without a graph."""

    def arm() -> None:
        with torch.no_grad():
            module(*inputs)

    return arm


def training(module: nn.Module, x: Tensor, *rest: object) -> Arm:
    """An arm: the forward and backward pass, down to the input x and every weight."""

    def arm() -> None:
        module.zero_grad()
        module(x.detach().requires_grad_(), *rest).square().mean().backward()

    return arm


MODES: dict[str, Callable[..., Arm]] = {"forward": forward, "forward + backward": training}


def peak() -> tuple[Arm, float]:
    """An arm that multiplies two large matrices, and its floating point operations."""
    one, two, product = torch.randn(3, PEAK_SIDE, PEAK_SIDE)
    return (lambda: torch.mm(one, two, out=product)), 2.0 * PEAK_SIDE**3


def peak_growth(work: Callable[[], Any]) -> tuple[Any, int | None]:
    """What some work gives, and by how many bytes it raised the peak of resident memory.

    Of use in a fresh process; where Linux's /proc is missing it is None.
    """
    gc.collect()
    if sys.platform != "linux":
        return work(), None
    ctypes.CDLL(None).malloc_trim(0)  # so that freed memory is not reused unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _resident("VmRSS")
    found = work()
    return found, _resident("VmHWM") - before


def _resident(field: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def alone(work: Callable[..., Any], *arguments: object) -> Any:
    """What some work gives in a fresh process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def training_step(model: nn.Module, window: Sequence[Any], optimizer: torch.optim.Optimizer) -> Arm:
    """An arm: a step of training on one and the same window."""
    learner: Any = model

    def arm() -> None:
        optimizer.zero_grad()
        learner.loss(*window).backward()
        optimizer.step()

    return arm
