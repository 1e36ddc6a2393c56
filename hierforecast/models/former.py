"""Names of earlier versions, in saved folders and in calls: the one place that knows them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

from hierforecast._options import warn_former
from hierforecast.nn.heads import former_head

T = TypeVar("T")

OPTIONS = {"waves": "n_frequencies"}
# Heads that a better one has replaced: they work, and folders saved with them load.
HEADS = {"steps": "returns"}
WEIGHTS = {
    "reach": "horizon_scale",
    "spread": "error_scale",
    "linear.spread": "linear.error_scale",
    "scaler.centre": "scaler.center",
    "scaler.spread": "scaler.scale",
    "embedding.place.waves": "embedding.place.frequencies",
    **{
        f"embedding.{role}.{old}": f"embedding.{role}.{new}"
        for role in ("past", "known", "static")
        for old, new in (("centre", "center"), ("spread", "scale"))
    },
}


def current_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Saved options of a model by their names of today, and with the defaults of then."""
    kept = {name: value for name, value in options.items() if name not in OPTIONS}
    kept |= {OPTIONS[name]: value for name, value in options.items() if name in OPTIONS}
    if "head" in kept:
        kept["head"] = former_head(kept["head"])
    if {"head", "patch", "n_frequencies"} <= kept.keys():  # HiPerformer's, when it had one block
        kept.setdefault("block", "sa3")
    return kept


def warn_replaced(head: Any) -> None:
    """Warn who calls a model's constructor of a head that is named and has been replaced."""
    if isinstance(head, str) and head in HEADS:
        text = f"head={head!r} is replaced by head={HEADS[head]!r}, which forecasts better"
        warnings.warn(text, DeprecationWarning, stacklevel=4)


def current_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same for what is given to `set_params`: ``model__waves``."""
    former = {f"model__{old}": f"model__{new}" for old, new in OPTIONS.items()}
    for old in former.keys() & params.keys():
        warn_former(old, former[old])
    return {former.get(name, name): value for name, value in params.items()}


def current_weights(weights: Mapping[str, T]) -> dict[str, T]:
    """Saved weights of a model by their names of today."""
    return {WEIGHTS.get(name, name): weight for name, weight in weights.items()}
