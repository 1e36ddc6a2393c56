"""What a GPU would be waited for, found without one: on torch's meta device, without numbers.

Reading a number there raises by itself. What would be waited for all the same, `unwaited` refuses:
operations whose kernels look at their results, and copies from the host, which come first in a
queue that has to be empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
# Those whose CUDA kernels bring a number to the host: sizes of results, or whether it went well.
LOOKS = {
    "_linalg_check_errors", "_linalg_eigh", "_linalg_eigvals", "_linalg_solve_ex", "_linalg_svd",
    "_local_scalar_dense", "_unique2", "bincount", "equal", "histc", "is_nonzero", "linalg_eig",
    "linalg_lstsq", "linalg_qr", "masked_select", "multinomial", "nonzero", "unique_consecutive",
    "unique_dim",
}  # fmt: skip
INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Waited(AssertionError):
    """A GPU would have been waited for."""


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        found, name = func(*args, **(kwargs or {})), func._schema.name.removeprefix("aten::")
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = [x.device == META for x in given]
        here = [x for x in given if x.device != META]
        if name in LOOKS and any(there):
            raise Waited(f"{name} looks at a result")
        if name == "repeat_interleave" and (kwargs or {}).get("output_size") is None:
            raise Waited("repeat_interleave adds up sizes: give output_size")
        copied = name in {"_to_copy", "copy_"} and here
        if copied and META in {x.device for x in tree_leaves(found) if isinstance(x, Tensor)}:
            raise Waited(f"{name} from the host, of shape {tuple(here[0].shape)}")
        if any(there) and any(x.ndim or name in INDEXES for x in here):
            raise Waited(f"{name} of tensors here and there")
        masked = name in INDEXES and any(x is not None and x.dtype == torch.bool for x in args[1])
        if masked and (name == "index" or args[2].numel() > 1):
            raise Waited(f"{name} by a mask")
        return found


class _Lists(TorchFunctionMode):
    """Numbers of Python that become a tensor are a copy too, of which dispatch knows nothing."""

    made = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in self.made and found.device == META and not isinstance(args[-1], Tensor):
            raise Waited(f"{func.__name__} copies numbers from the host")
        if func in (Tensor.__getitem__, Tensor.__setitem__) and args[0].device == META:
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list | range | np.ndarray) for part in parts):
                raise Waited("an index of numbers of the host")
        return found


@contextmanager
def unwaited() -> Iterator[None]:
    """Within it, whatever would wait for the meta device if it were a GPU raises.

    Raises:
        Waited: or what torch raises where a number of the meta device is asked for.
    """
    with _Lists(), _Operations():
        yield


class Reads(TorchDispatchMode):
    """Counts the numbers that are read of tensors on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.counts = 0, True

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += self.counts and func._schema.name == "aten::_local_scalar_dense"
        return func(*args, **(kwargs or {}))

    def unseen(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A function that may read."""

        def quiet(*args: Any, **kwargs: Any) -> Any:
            before, self.counts = self.counts, False
            try:
                return call(*args, **kwargs)
            finally:
                self.counts = before

        return quiet
