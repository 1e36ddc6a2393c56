"""Half precision is for what networks multiply; everything else has float32 at least."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available

Networks: TypeAlias = Callable[[], AbstractContextManager[object]]


def promote(*tensors: Tensor) -> list[Tensor]:
    """Bring tensors to their common dtype, float32 at least: bfloat16 cannot hold a likelihood."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def no_autocast(like: Tensor) -> AbstractContextManager[object]:
    """Autocast would send the matrix products of the likelihood back to half precision."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if is_autocast_available(device) else nullcontext()


@contextmanager
def full_precision(like: Tensor) -> Iterator[Networks]:
    """Autocast is off within it, but where the function that it gives is entered: as it was."""
    device, networks = like.device.type, nullcontext
    if is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        networks = partial(torch.autocast, device, dtype=dtype)  # type: ignore[assignment]
    with no_autocast(like):
        yield networks
