"""Building a network that a file describes: no larger than the file's weights, nothing drawn."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Beyond the weights, for tables that are made while building and are not kept.
SPARE_ELEMENTS, SPARE_TENSORS = 1_000_000, 1_000
SIZED = {"empty", "zeros", "ones", "full", "rand", "randn"}  # by their shape
RANGES = {"arange", "linspace", "logspace", "eye", "randperm"}  # by whole numbers
DRAWS = {"uniform_", "normal_", "random_", "bernoulli_", "exponential_"}


class Budget(TorchFunctionMode):
    """Within it, tensors are made only as far as these weights can fill them.

    A file of a few kilobytes that asks for a width of 10^9 or a depth of 10^7 gets an error before
    memory is asked for. Weights that are drawn at random are left as they are, since the file's
    will replace them: no generator moves.

    Args:
        weights: of the file.
    """

    def __init__(self, weights: Collection[Tensor]) -> None:
        super().__init__()
        self.elements = 2 * sum(weight.numel() for weight in weights) + SPARE_ELEMENTS
        self.tensors = 20 * len(weights) + SPARE_TENSORS

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Count what is made, and draw nothing."""
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in DRAWS or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        if name in SIZED:
            shape = kwargs.get("size", args[0] if args else ())
            if name != "full" and not isinstance(shape, (list, tuple)):
                shape = [size for size in args if isinstance(size, int)]
            self._spend(math.prod(shape))
            func = torch.zeros if name in ("rand", "randn") else func
        elif name in RANGES:
            self._spend(max((abs(n) for n in args if isinstance(n, int)), default=0))
        return func(*args, **kwargs)

    def _spend(self, elements: int) -> None:
        self.elements -= elements
        self.tensors -= 1
        if min(self.elements, self.tensors) < 0:
            raise ValueError("its options ask for a larger network than its weights are")
