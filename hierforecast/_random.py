"""Random numbers from generators that are passed on; torch's global one is left alone.

What draws takes a `torch.Generator`, or has an attribute `generator`. For code that does neither
(torch's own initialisation of weights, `torch.distributions`, a user's model) there is `drawing`:
inside it, whatever this thread draws comes from the generator given.

Draws of several scenes at once come from a generator each, where there are several: what is drawn
by `by_scene` is for a scene then what it would be for that scene alone.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import signature
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

# One for all scenes, or one for each; None: torch's global one.
Generators: TypeAlias = torch.Generator | Sequence[torch.Generator] | None


def mixed(*keys: int) -> int:
    """One seed made of several numbers, e.g. seed, step and rank: like keys, like seeds."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0])


def seeded(*keys: int) -> torch.Generator:
    """A generator on the CPU with the seed that the keys make; a single key is the seed itself."""
    return torch.Generator().manual_seed(keys[0] if len(keys) == 1 else mixed(*keys))


def drawing(generator: Generators) -> AbstractContextManager[object]:
    """Let everything that this thread draws come from a generator; None: from torch's global one.

    Of a generator for each scene, it is that of a draw's own scene where `by_scene` draws, and the
    first one elsewhere.

    Numbers for another device are drawn on the generator's device and moved, so that a seed means
    the same on every device. It slows each operation down by some microseconds, drawn or not.
    """
    if isinstance(generator, torch.Generator):
        return _Drawing(generator)
    return _Drawing(generator[0], generator) if generator else nullcontext()


def by_scene(draw: Callable[[Tensor], Tensor], scene: Tensor, axis: int) -> Tensor:
    """What a function draws for some units, such as rows: those of each scene by themselves.

    Args:
        draw: draws for units (n,), given by their numbers.
        scene: (m,) int64, the scene of each unit; -1 of one that belongs to none.
        axis: that of the units in what is drawn, from the end.
    """
    mode = _Drawing.inner()
    if mode is None or mode.each is None or not len(scene):
        return draw(torch.arange(len(scene)))
    order, sizes, each = mode.shared_out(scene)
    parts = []
    with mode.having(None):
        for at, mode.generator in zip(order.split(sizes), each, strict=True):
            parts.append(draw(at))
    drawn = parts[0] if len(parts) == 1 else torch.cat(parts, axis)
    return drawn.index_select(axis, order.argsort().to(drawn.device))


def filled(
    fill: Callable[..., Tensor], like: Tensor, shape: Sequence[int], scene: Tensor, axis: int
) -> Tensor:
    """The same of numbers that a method of tensors draws in place: `by_scene`, but faster.

    Args:
        fill: ``Tensor.normal_`` or the like.
        like: has their type and device.
        shape: theirs.
        scene, axis: as in `by_scene`.
    """
    mode = _Drawing.inner()
    if mode is None or mode.each is None or not math.prod(shape):
        return fill(like.new_empty(shape))
    with mode.paused():
        order, sizes, each = mode.shared_out(scene)
        others = list(shape)
        drawn = torch.empty(others.pop(axis), *others, dtype=like.dtype, device=each[0].device)
        for part, generator in zip(drawn.split(sizes), each, strict=True):
            fill(part, generator=generator)
        return drawn[order.argsort().to(drawn.device)].movedim(0, axis).to(like.device)


@contextmanager
def scenes_of(scene: Tensor) -> Iterator[None]:
    """Within it, generators are those of scenes (n,), -1 for none: of views or parts, by scene."""
    mode = _Drawing.inner()
    if mode is None or mode.each is None:
        yield
        return
    each, none = mode.each, seeded(0)
    with mode.having([each[at] if at >= 0 else none for at in scene.tolist()]):
        yield


def hand_down(module: nn.Module, generator: torch.Generator | None) -> None:
    """Give a generator to all parts of a module that have an attribute for one."""
    for part in module.modules():
        if hasattr(part, "generator"):
            vars(part)["generator"] = generator


def with_generator(draw: Callable[..., Any]) -> Callable[..., Any]:
    """What draws, made to take a `generator`: handed on if it is asked for, else see `drawing`."""
    if "generator" in signature(draw).parameters:
        return draw

    def drawn(*args: Any, generator: torch.Generator | None = None) -> Any:
        with drawing(generator):
            return draw(*args)

    return drawn


def draws_by_itself(module: nn.Module) -> bool:
    """Whether a part may draw without a generator handed down: torch's that do, and users' own."""
    for part in module.modules():
        home = type(part).__module__
        if home.startswith("torch.nn.") and isinstance(part, _DRAW):
            return True
        if not home.startswith(("hierforecast.", "torch.nn.")):
            return True
    return False


class Passes:
    """Endless passes over some things, each in a new order, cut into batches.

    A batch follows from the seed and its number alone, so whoever goes on needs to know no more.

    Args:
        count: of things.
        batch_size: things in a batch; a batch may reach into the next pass.
        seed: of the orders.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, number: int) -> np.ndarray:
        """Which things are in a batch: (batch_size,) int64."""
        at = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        passes, places = np.divmod(at, self.count)
        needed = np.unique(passes).tolist()
        self._orders = {one: self._order(one) for one in needed}
        return np.concatenate([self._orders[one][places[passes == one]] for one in needed])

    def _order(self, number: int) -> np.ndarray:
        if number in self._orders:
            return self._orders[number]
        return np.random.default_rng((self.seed, number)).permutation(self.count)


class _Drawing(TorchDispatchMode):
    _within = threading.local()

    def __init__(
        self, generator: torch.Generator, each: Sequence[torch.Generator] | None = None
    ) -> None:
        super().__init__()
        self.generator, self.each = generator, each

    @classmethod
    def inner(cls) -> _Drawing | None:
        """The innermost one of this thread."""
        modes = getattr(cls._within, "modes", None)
        return modes[-1] if modes else None

    def shared_out(self, scene: Tensor) -> tuple[Tensor, list[int], list[torch.Generator]]:
        """Units of scenes (m,) in the order of these; how many each has, and its generator."""
        assert self.each is not None
        whose, order = scene.cpu().sort(stable=True)
        numbers, sizes = whose.unique_consecutive(return_counts=True)
        none = seeded(0)
        each = [self.each[one] if one >= 0 else none for one in numbers.tolist()]
        return order, sizes.tolist(), each

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is looked at for a while, which would slow down many small operations."""
        super().__exit__(None, None, None)
        try:
            yield
        finally:
            super().__enter__()

    @contextmanager
    def having(self, each: Sequence[torch.Generator] | None) -> Iterator[None]:
        """Other generators of scenes for a while."""
        before, self.each = self.each, each
        try:
            yield
        finally:
            self.each = before

    def __enter__(self) -> Any:
        vars(self._within).setdefault("modes", []).append(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._within.modes.pop()
        super().__exit__(*error)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """To hide it from torch's compiler would import all of that: seconds, for one draw."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if not draws or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        return _draw(func, args, kwargs, self.generator)


def _draw(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], own: torch.Generator) -> Any:
    """Call a function that draws, on the generator's device, and bring the result to its own."""
    device = next((x.device for x in args if isinstance(x, Tensor)), kwargs.get("device"))
    if device is None or torch.device(device) == own.device:
        return _drawn(func, args, kwargs, own)
    there = tree_map_only(Tensor, lambda x: x.to(own.device), args)
    options = {**kwargs, "device": own.device} if "device" in kwargs else kwargs
    found = _drawn(func, there, options, own)
    if func._schema.is_mutable:
        return args[0].copy_(found)
    return tree_map_only(Tensor, lambda x: x.to(device), found)


def _drawn(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], own: torch.Generator) -> Any:
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func(*args, **{**kwargs, "generator": own})
    name = func.overloadpacket.__name__
    if name in _WITHOUT:
        return _WITHOUT[name](own, *args, **kwargs)
    overload = "generator" if func._overloadname == "default" else f"{func._overloadname}_generator"
    with_generator = getattr(func.overloadpacket, overload, None)
    if with_generator is None:  # fused attention with dropout: nothing takes a generator there
        return func(*args, **kwargs)
    return with_generator(*args, **{**kwargs, "generator": own})


def _native_dropout(own: torch.Generator, x: Tensor, p: float, train: bool | None) -> Any:
    """What CUDA's `dropout` is made of: the result, and the mask for the way back."""
    if train is False or p == 0:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    kept = torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - p, generator=own)
    return x * kept * (0.0 if p == 1 else 1 / (1 - p)), kept


def _like(x: Tensor, options: dict[str, Any]) -> Tensor:
    return torch.empty_like(x, **options)


_WITHOUT: dict[str, Callable[..., Any]] = {
    "native_dropout": _native_dropout,
    "rand_like": lambda own, x, **o: _like(x, o).uniform_(generator=own),
    "randn_like": lambda own, x, **o: _like(x, o).normal_(generator=own),
    "randint_like": lambda own, x, *bounds, **o: _like(x, o).random_(
        *(bounds if len(bounds) == 2 else (0, *bounds)), generator=own
    ),
}
_DRAW = (nn.modules.dropout._DropoutNd, nn.RNNBase, nn.MultiheadAttention, nn.RReLU)
