"""Parameters of distributions that cannot be, told by their names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_MARK = "everything"


def is_finite(tensor: Tensor) -> bool:
    """Whether there is neither NaN nor infinity; a twentieth of the time of `torch.isfinite`."""
    if not tensor.numel():
        return True
    low, high = tensor.detach().aminmax()  # NaN if there is any
    return bool(low.isfinite() & high.isfinite())


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise a ValueError that names the tensor if it holds NaN or infinity."""
    if not is_finite(tensor):
        raise ValueError(
            f"{name} holds NaN or infinite values: look for them in the model's input, "
            "or lower the learning rate or clip gradients if training diverged"
        )


def everything(like: Tensor, shape: torch.Size) -> Tensor:
    """All cells of a shape as seen, on a tensor's device, marked so that nobody has to look."""
    seen = like.new_ones(shape, dtype=torch.bool)
    vars(seen)[_MARK] = True
    return seen


def is_everything(seen: Tensor) -> bool:
    """Whether a mask is one that `everything` made; any other may be all true as well."""
    return _MARK in vars(seen)


def check_parameters(named: Mapping[str, Tensor], shape: torch.Size, finite: bool) -> None:
    """Raise a ValueError unless parameters are (P, H, D), factors (P, H, D, R), and finite."""
    for name, parameter in named.items():
        if parameter.shape[:3] != shape or parameter.ndim != 3 + ("factor" in name):
            raise ValueError(
                f"{name} has shape {tuple(parameter.shape)}, must start with (P, H, D) = "
                f"{tuple(shape)}; factors have one axis more"
            )
        if finite:
            check_finite(name, parameter)
