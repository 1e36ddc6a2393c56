"""`Plan`: the options of a `Forecaster`, checked; `Fitted`: what a fit of it has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch

from hierforecast._options import number, share, show, whole
from hierforecast.errors import DataError
from hierforecast.frame import Columns, Vocabulary
from hierforecast.inference.gap_widths import GapWidths
from hierforecast.inference.newcomers import Newcomers
from hierforecast.inference.scores import HeldOutScores
from hierforecast.models import Model
from hierforecast.models.former import current_params
from hierforecast.training.report import Report
from hierforecast.windows import WindowDataset

# What Lightning knows.
PRECISIONS = (
    "32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed", "transformer-engine",
    "transformer-engine-float16", "32", "64", "16", "bf16",
)  # fmt: skip
# A batch, unless it is given in windows: about as many rows as 64 scenes of basketball have.
BATCH_ROWS, FEWEST_WINDOWS, MOST_WINDOWS = 704, 4, 64
# Validations in a training run.
VALIDATIONS = 20
# A row for each training step; of a model that is not trained by steps, none.
NO_STEPS = pd.DataFrame(columns=["step", "loss", "val_loss"], dtype=float).astype({"step": int})


@dataclass(frozen=True)
class Plan:
    """Which model to fit, and how; the arguments are those of `Forecaster`.

    Raises:
        DataError, TypeError, ValueError: for what would fail later in a less obvious place.
    """

    model: Model
    context_length: int
    prediction_length: int
    columns: Columns
    learning_rate: float
    batch_size: int | None
    max_steps: int
    series_dropout: float
    seed: int
    trainer: Mapping[str, Any] | None
    min_context: int | None = None
    max_rows: int | None = 5_000

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            name: whole(name, getattr(self, name))
            for name in ("context_length", "prediction_length", "max_steps")
        }
        for name in ("batch_size", "min_context", "max_rows"):
            if getattr(self, name) is not None:
                checked[name] = whole(name, getattr(self, name))
        checked["seed"] = whole("seed", self.seed, 0, 2**63 - 1)
        if checked.get("min_context", 0) > checked["context_length"]:
            raise DataError(
                f"min_context={self.min_context} is more than context_length={self.context_length}"
                ": it is the least part of a context that is learned from; give a smaller one, or "
                "None"
            )
        checked["learning_rate"] = number("learning_rate", self.learning_rate, 0, ends=False)
        checked["series_dropout"] = share("series_dropout", self.series_dropout, 0, 0.5)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if not isinstance(self.columns, Columns):
            raise TypeError(
                f"columns={self.columns!r} must be Columns(...), e.g. Columns(target='y')"
            )
        if not isinstance(self.model, Model):
            raise TypeError(
                f"model={show(self.model)} must be an instance of a model: HiPerformer(), or one "
                "of a subclass of hierforecast.models.Model"
            )
        _check_trainer(self.trainer)

    @property
    def batch(self) -> int:
        """Windows at a time."""
        return MOST_WINDOWS if self.batch_size is None else self.batch_size

    def sized(self, rows: float) -> Plan:
        """The same with a batch size, for windows of about so many rows each."""
        if self.batch_size is not None:
            return self
        return replace(self, batch_size=_windows(min(rows, self.max_rows or rows)))

    def looked_at(self, windows: WindowDataset) -> int:
        """How many windows are forecast at a time where nothing is learned by steps.

        As many as in a step, but no fewer than a step has by default, however few the user gives.
        """
        return windows.at_once(max(self.batch, _windows(float(windows.sizes.mean()))))

    @property
    def between_validations(self) -> int:
        """Training steps from one validation to the next."""
        return max(1, self.max_steps // VALIDATIONS)

    @property
    def lengths(self) -> tuple[int, int]:
        """Steps of the context, and steps forecast."""
        return self.context_length, self.prediction_length

    @property
    def dtype(self) -> type:
        """The type of the numbers that a fit learns from."""
        precision = str((self.trainer or {}).get("precision", ""))
        return np.float64 if precision in ("64", "64-true") else np.float32

    @property
    def options(self) -> dict[str, Any]:
        """All but model, columns and trainer: plain numbers."""
        parts = ("model", "columns", "trainer")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in parts}


class Params:
    """The options of a `Plan` as attributes, as scikit-learn's tools expect them."""

    model: Model

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in self.get_params(deep=False).items())
        return f"{type(self).__name__}({options})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Options of the constructor; with `deep`, those of the model too (``model__width``)."""
        params = {option.name: getattr(self, option.name) for option in fields(Plan)}
        if deep and isinstance(self.model, Model):
            params |= {f"model__{k}": v for k, v in self.model.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set options in place; ``model__width=64`` sets one of the model's."""
        params = current_params(params)
        of_model = {k.removeprefix("model__"): v for k, v in params.items() if "model__" in k}
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{name!r} is no option; options are {sorted(known)}")
            if not name.startswith("model__"):
                setattr(self, name, value)
        if of_model:
            self.model = type(self.model)(**{**self.model.get_params(), **of_model})
        return self


class Fitted(NamedTuple):
    """What a fit has learned.

    Attributes:
        model: in evaluation mode.
        vocabulary, step: of the training frame, for those that follow.
        history: losses by step.
        report: what it is worth on held-out windows.
        scores: how surprising these were; None where nothing was held out.
        gaps: how much wider paths through gaps are than the model says; None where not known.
        newcomers: how series that are not observed differ from others; None where not known.
    """

    model: Model
    vocabulary: Vocabulary
    step: str
    history: pd.DataFrame
    report: Report
    scores: HeldOutScores | None = None
    gaps: GapWidths | None = None
    newcomers: Newcomers | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the model's weights, or of its buffers if it has none."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        floats = (tensor.dtype for tensor in tensors if tensor.is_floating_point())
        return torch.zeros(0, dtype=next(floats, torch.float32)).numpy().dtype


def _windows(rows: float) -> int:
    """How many windows of so many rows make a batch, unless the user says it."""
    return int(np.clip(BATCH_ROWS / max(1, rows), FEWEST_WINDOWS, MOST_WINDOWS))


def _check_trainer(trainer: Any) -> None:
    if not isinstance(trainer, Mapping | None):
        raise TypeError(
            f"trainer={show(trainer)} must be a dict of options of Lightning's Trainer, "
            "e.g. {'accelerator': 'cpu'}"
        )
    precision = (trainer or {}).get("precision")
    if precision is not None and str(precision) not in PRECISIONS:
        raise ValueError(f"precision={precision!r} must be one of {', '.join(PRECISIONS)}")
    ours = {"max_steps", "max_epochs", "enable_checkpointing"} & set(trainer or {})
    if ours:
        raise ValueError(
            f"trainer={{{ours.pop()!r}: ...}} is the Forecaster's own affair: use its options "
            "(max_steps), or leave it out"
        )
