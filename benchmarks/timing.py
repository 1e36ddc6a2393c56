"""Interleaved timings on one thread; by itself it says how fast this machine multiplies matrices.

Absolute times say little on a machine that others use. Arms are therefore run in turn, round after
round, and compared within a round; the median over rounds is the answer. The clock counts the
processor's seconds of this process with all its threads: nothing measured here waits for anything
else, so on an idle machine it shows the same ratios as a wall clock.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def main() -> None:
    steady()
    arm, operations = peak()
    seconds = interleave({"peak": arm}, rounds=15).median("peak")
    print(f"{operations / seconds / 1e9:.1f} GFLOP/s, float32, one thread")


if __name__ == "__main__":
    main()
