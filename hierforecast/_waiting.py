"""Which numbers may be looked at without waiting for a device.

A GPU works through a queue. Python that asks for a number, to choose a branch or a size, waits
until the queue is empty, and then the GPU waits for Python. So nothing is asked in a training step
there: sizes are known where a batch is made (`Hierarchy`), and what is faster for some values only
goes the way that is right for all. `tests/test_waiting.py` proves it on torch's meta device.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Types of devices whose numbers are there at once.
HOSTS = {"cpu"}


def at_hand(x: Tensor) -> bool:
    """Whether a number of x costs nothing to look at."""
    return is_host(x.device)


def is_host(device: torch.device) -> bool:
    """Whether numbers of a device cost nothing to look at."""
    return device.type in HOSTS


def sent(x: Tensor, device: torch.device) -> Tensor:
    """X on a device; to a GPU from pinned memory, so that the copy is not waited for."""
    if device.type == "cuda" and x.is_cpu:
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)
