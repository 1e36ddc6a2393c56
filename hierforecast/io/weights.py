"""Weights from a file into a network that a file describes, neither of them trusted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hierforecast.errors import DataError
from hierforecast.io.limits import MIB, read_file

LARGEST_WEIGHTS = 2**16 * MIB
DTYPES = {"float16", "bfloat16", "float32", "float64"}
# Beyond the weights, for tables that are made while building and are not kept.
SPARE_ELEMENTS, SPARE_TENSORS = 1_000_000, 1_000
SIZED = {"empty", "zeros", "ones", "full", "rand", "randn"}  # by their shape
RANGES = {"arange", "linspace", "logspace", "eye", "randperm"}  # by whole numbers
DRAWS = {"uniform_", "normal_", "random_", "bernoulli_", "exponential_"}


def read_weights(
    file: Path, remedy: str, listed: dict[str, Any] | None = None
) -> dict[str, Tensor]:
    """The tensors in a safetensors file.

    Args:
        file: its path.
        remedy: for messages.
        listed: its ``size`` and ``sha256``, where they are known.

    Raises:
        FileNotFoundError: if it is not there.
        DataError: if it is damaged.
    """
    packed = read_file(file, LARGEST_WEIGHTS)
    try:
        if listed is not None:
            _check_content(packed, listed)
        return load(packed)
    except MemoryError:
        raise
    except Exception as error:  # safetensors raises many kinds
        raise DataError(f"'{file}' is damaged ({error}): {remedy}") from error


def _check_content(packed: bytes, listed: dict[str, Any]) -> None:
    size, digest = listed.get("size"), listed.get("sha256")
    if len(packed) != size:
        raise DataError(f"it has {len(packed):,} bytes and was saved with {size}")
    if hashlib.sha256(packed).hexdigest() != digest:
        raise DataError(f"its SHA-256 is not {digest}")


def read_dtype(name: Any) -> torch.dtype:
    """A dtype by the name that was saved.

    Raises:
        ValueError: for another name.
    """
    if name not in DTYPES:
        raise ValueError(f"{name!r} is none of {', '.join(sorted(DTYPES))}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def fill(
    build: Callable[[], nn.Module],
    weights: dict[str, Tensor],
    error: Callable[[str], DataError],
    keys: str = "its options",
    *,
    ours: bool = True,
) -> Any:
    """A module that `build` makes, with these weights in it, all of them and no others.

    Args:
        build: makes the module.
        weights: by name.
        error: makes an error of a problem.
        keys: what says how it is built, for messages.
        ours: whether a file decides how large it gets; then it gets no larger than the weights, and
            no random numbers are drawn.

    Raises:
        DataError: if it cannot be built, or the weights are those of another.
    """
    try:
        with Budget(weights.values()) if ours else nullcontext():
            module = build()
        weights = {**_added(module), **weights}
        found, wanted = (
            {k: f"{v.dtype} {tuple(v.shape)}".removeprefix("torch.") for k, v in some.items()}
            for some in (weights, module.state_dict())
        )
        odd = next((k for k in {**wanted, **found} if wanted.get(k) != found.get(k)), None)
        if odd is None:
            module.load_state_dict(weights)
            return module.eval()
    except Exception as reason:
        raise error(f"cannot be built by {keys} ({reason})") from reason
    raise error(
        f"has other weights than {keys} would build: {odd!r} is "
        f"{found.get(odd, 'missing')} there and should be {wanted.get(odd, 'missing')}"
    )


def _added(module: nn.Module) -> dict[str, Tensor]:
    """What a part lists as ``added``, as it is when fresh: earlier versions saved none of it."""
    return {
        f"{path}.{name}": fresh
        for path, part in module.named_modules()
        for name in getattr(part, "added", ())
        if (fresh := getattr(part, name)) is not None
    }


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
