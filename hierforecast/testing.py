"""Tools that test symmetries, of this library's modules and of your own.

`equivariance_error` measures, `assert_equivariant` asserts; `randomize_` makes the test hard and
`in_modes` runs it in training and evaluation mode::

    module = randomize_(MyLayer().double())
    perm = random_permutation(teams)
    assert_equivariant(module, x, lambda rows: rows[perm], lambda rows: rows[perm])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

__all__ = ["assert_equivariant", "equivariance_error", "in_modes", "randomize_"]

Action: TypeAlias = Callable[[Tensor], Tensor]
ActionIn: TypeAlias = Action | Sequence[Callable[[Any], Any] | None]
Module = TypeVar("Module", bound=nn.Module)

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def equivariance_error(
    module: Callable[..., Any],
    inputs: Any,
    act_in: ActionIn,
    act_out: Action | None,
    *,
    relative: bool = False,
) -> float:
    """Measure how far ``module(act_in(inputs))`` is from ``act_out(module(inputs))``.

    Args:
        module: a module or function. It may return a tensor, a distribution (its mean and variance
            are compared), or tuples, lists and dicts of these.
        inputs: its argument, or a tuple of its positional arguments.
        act_in: moves the inputs: one action for all their tensors, or a sequence with one function
            for each argument, which is given to it whole (None: leave it alone).
        act_out: moves every tensor of the output; None if the output should stay the same.
        relative: divide by the largest magnitude of the output, where that is above one.

    Returns:
        The largest error of any element, ``inf`` where a value is NaN.

    Raises:
        ValueError: if `act_in` moves nothing, or the two outputs differ in structure or shape.
    """
    return _worst_difference(module, inputs, act_in, act_out).error(relative)


def assert_equivariant(
    module: Callable[..., Any],
    inputs: Any,
    act_in: ActionIn,
    act_out: Action | None,
    *,
    tolerance: float | None = None,
) -> None:
    """Assert that ``module(act_in(inputs))`` equals ``act_out(module(inputs))``.

    A module is tested in evaluation and in training mode (set dropout to zero: it is random, not
    equivariant) and left as it was; for the arguments see `equivariance_error`.

    Args:
        module: the module or function under test.
        inputs: its argument, or a tuple of its positional arguments.
        act_in: moves the inputs.
        act_out: moves the output.
        tolerance: the largest error that is let through, absolute up to outputs of magnitude one
            and relative above; by default chosen by the dtype of the output
            (float64 1e-10, float32 1e-4).

    Raises:
        AssertionError: naming the mode, the worst element and its two values.
        ValueError: as `equivariance_error`.
    """
    failures = []
    for mode in in_modes(module) if isinstance(module, nn.Module) else ["called"]:
        worst = _worst_difference(module, inputs, act_in, act_out)
        allowed = worst.tolerance if tolerance is None else tolerance
        if not worst.error(relative=True) <= allowed:
            failures.append(f"{mode}: {worst}, allowed {allowed:g}")
    if failures:
        raise AssertionError("not equivariant\n  " + "\n  ".join(failures))


def in_modes(module: nn.Module) -> Iterator[str]:
    """Iterate over "eval" and "train", with `module` put into that mode.

    When the loop ends, by an exception too, every sub-module is back in its own mode and the
    buffers (running statistics) hold what they held.
    """
    modes = {sub: sub.training for sub in module.modules()}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        for mode in ("eval", "train"):
            module.train(mode == "train")
            yield mode
    finally:
        for sub, training in modes.items():
            sub.training = training
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(buffers[name])


def randomize_(module: Module, scale: float = 2.0, seed: int = 0) -> Module:
    """Give every parameter a large random value, in place, so that no term hides near zero.

    Freshly built modules pass symmetry tests too easily: biases and last layers start at zero and
    norms at one. Matrices are drawn with standard deviation ``scale / sqrt(fan_in)``, everything
    else (biases, norm weights, single vectors) with `scale`; running statistics move too.

    Returns:
        The module itself. The same seed gives the same values on every device.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(like: Tensor, deviation: float) -> Tensor:
        noise = torch.randn(like.shape, generator=generator, dtype=torch.float64)
        return (deviation * noise).to(like)

    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            parameter.copy_(draw(parameter, scale / max(fan_in, 1) ** 0.5))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(draw(buffer, scale))
            elif name.endswith("running_var"):
                buffer.copy_(draw(buffer, 1.0).exp())
    return module


@dataclass(frozen=True)
class _Difference:
    """The element where two outputs differ most, and the scale to compare it with."""

    absolute: float
    scale: float
    tolerance: float
    where: str
    expected: float
    found: float

    def error(self, relative: bool) -> float:
        return self.absolute / max(1.0, self.scale) if relative else self.absolute

    def badness(self) -> tuple[bool, float]:
        """Compares outputs of different dtypes: first those that are wrong, then by error."""
        error = self.error(relative=True)
        return error > self.tolerance, error

    def __str__(self) -> str:
        return (
            f"{self.where} should be {self.expected:.12g} and is {self.found:.12g}, "
            f"error {self.error(relative=True):.3g} (outputs up to {self.scale:.3g})"
        )


def _worst_difference(
    module: Callable[..., Any],
    inputs: Any,
    act_in: ActionIn,
    act_out: Action | None,
) -> _Difference:
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    moved = _move(arguments, act_in)
    with torch.no_grad():
        expected = dict(_leaves(module(*arguments)))
        found = dict(_leaves(module(*moved)))
    if expected.keys() != found.keys():
        raise ValueError(f"outputs differ in structure: {sorted(expected)} and {sorted(found)}")
    if not expected:
        raise ValueError("the module returned no tensor to compare")
    differences = [
        _compare(name, leaf if act_out is None else act_out(leaf), found[name])
        for name, leaf in expected.items()
    ]
    return max(differences, key=_Difference.badness)


def _move(arguments: tuple[Any, ...], act_in: ActionIn) -> tuple[Any, ...]:
    if callable(act_in):
        moved = _map(act_in, arguments)
    elif len(act_in) != len(arguments):
        raise ValueError(f"{len(act_in)} actions for {len(arguments)} arguments: give one each")
    else:
        moved = tuple(
            argument if action is None else action(argument)
            for action, argument in zip(act_in, arguments, strict=True)
        )
    before, after = dict(_leaves(arguments)), dict(_leaves(moved))
    if before and all(torch.equal(leaf, after[name]) for name, leaf in before.items()):
        raise ValueError("act_in moves nothing: a test with the identity says nothing")
    return moved


def _map(action: Action, tree: Any) -> Any:
    """Apply an action to every tensor of nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        return action(tree)
    if isinstance(tree, Mapping):
        return {key: _map(action, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_map(action, value) for value in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(_map(action, value) for value in tree)
    return tree


def _leaves(tree: Any, name: str = "output") -> Iterator[tuple[str, Tensor]]:
    """Name every tensor of nested tuples, lists, dicts and distributions."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, Distribution):
        yield f"{name}.mean", tree.mean
        yield f"{name}.variance", tree.variance
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, f"{name}[{key!r}]")
    elif isinstance(tree, (tuple, list)):
        for position, value in enumerate(tree):
            yield from _leaves(value, f"{name}[{position}]")


def _compare(name: str, expected: Tensor, found: Tensor) -> _Difference:
    if expected.shape != found.shape:
        raise ValueError(
            f"{name}: act_out gives shape {tuple(expected.shape)}, the module {tuple(found.shape)}"
        )
    tolerance = TOLERANCE.get(found.dtype, 0.0)  # whole numbers and booleans must be equal
    if not found.numel():
        return _Difference(0.0, 0.0, tolerance, name, 0.0, 0.0)
    expected, found = expected.to(torch.float64), found.to(torch.float64)
    error = torch.where(expected == found, 0.0, (expected - found).abs())  # equal infinities: 0
    error = error.nan_to_num(nan=torch.inf, posinf=torch.inf)
    worst = int(error.argmax())
    index = [int(i) for i in torch.unravel_index(torch.tensor(worst), error.shape)]
    finite = expected[expected.isfinite()].abs()
    return _Difference(
        absolute=float(error.flatten()[worst]),
        scale=float(finite.max()) if finite.numel() else 0.0,
        tolerance=tolerance,
        where=f"{name}{index}",
        expected=float(expected.flatten()[worst]),
        found=float(found.flatten()[worst]),
    )
