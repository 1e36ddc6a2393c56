"""Counting what code does, which is the same on a busy machine; how long it takes is not."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Operations(TorchDispatchMode):
    """Counts tensor operations, backward passes included, in a `with` block.

    Attributes:
        by_name: how often each operation ran, by its name in torch (`"mm"`).
        largest: elements of the largest tensor that one returned.
        elements: those of all of them together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self.largest = self.elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.by_name[func.overloadpacket.__name__] += 1
        sizes = [x.numel() for x in tree_leaves(found) if isinstance(x, Tensor)]
        self.largest, self.elements = max([self.largest, *sizes]), self.elements + sum(sizes)
        return found
