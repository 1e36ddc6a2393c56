"""`Forecaster`: fit, predict, sample, backtest, evaluate, save and load, frame to frame."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from hierforecast._options import number, share, show, whole
from hierforecast._random import seeded
from hierforecast.backtesting import Rolling, forecasts_of
from hierforecast.cutoffs import last_cutoffs
from hierforecast.distributions import SceneDistribution
from hierforecast.errors import NotFittedError
from hierforecast.fitting import learn
from hierforecast.frame import Columns, Panel, Vocabulary, read_frame
from hierforecast.inference import Forecasts
from hierforecast.measuring import evaluate_windows, frame_like
from hierforecast.metrics import Metric
from hierforecast.windows import WindowDataset

# What Lightning knows.
PRECISIONS = (
    "32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed", "transformer-engine",
    "transformer-engine-float16", "32", "64", "16", "bf16",
)  # fmt: skip
_MOVING = threading.Lock()


class Forecaster:
    """Fits a model to frames and forecasts frames.

    Args:
        model: `HiPerformer`, a baseline, or a module of their interface; it is a plan that `fit`
            builds for the data, and is itself left as it is.
        context_length: observed steps given to the model.
        prediction_length: steps forecast.
        columns: which column plays which role.
        learning_rate: peak of the learning rate.
        batch_size: windows in a training step.
        max_steps: training steps at most; training stops early when held-out windows say so.
        series_dropout: mean share of series hidden in training, between 0 and 0.5.
        seed: of everything random.
        trainer: options of Lightning's `Trainer`: accelerator, devices, strategy, precision,
            callbacks, logger (it gets ``loss`` and ``val_loss``), default_root_dir (keep a
            checkpoint there, so that a killed fit can be resumed).

    Example:
        >>> forecaster = Forecaster(HiPerformer(), context_length=40, prediction_length=10)
        >>> forecast = forecaster.fit(train).predict(history, level=[90])  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        *,
        context_length: int,
        prediction_length: int,
        columns: Columns = Columns(),  # noqa: B008 (immutable)
        learning_rate: float = 1e-3,
        batch_size: int = 64,
        max_steps: int = 1000,
        series_dropout: float = 0.1,
        seed: int = 0,
        trainer: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.context_length, self.prediction_length = context_length, prediction_length
        self.columns = columns
        self.learning_rate, self.batch_size, self.max_steps = learning_rate, batch_size, max_steps
        self.series_dropout, self.seed, self.trainer = series_dropout, seed, trainer

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in self.get_params(deep=False).items())
        return f"Forecaster({options})"

    # --- options, as scikit-learn's tools expect them -------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Options of the constructor; with `deep`, those of the model too (``model__width``)."""
        names = (
            "model context_length prediction_length columns learning_rate batch_size max_steps "
            "series_dropout seed trainer"
        )
        params = {name: getattr(self, name) for name in names.split()}
        if deep and hasattr(self.model, "get_params"):
            params |= {f"model__{k}": v for k, v in self.model.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Forecaster:
        """Set options in place; ``model__width=64`` sets one of the model's."""
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

    # --- fitting ---------------------------------------------------------------------------------

    def fit(
        self, frame: Any, val: Any = None, *, resume: bool = False, warm_start: bool = False
    ) -> Forecaster:
        """Learn from a frame.

        What was learned before stays until this fit has succeeded; if it is interrupted (Ctrl-C,
        SIGTERM) after a step, the best weights so far are kept.

        Args:
            frame: long frame of training scenes; it is not changed. A scene lasts from its first
                observed time to its last; one shorter than context and horizon gives one window.
            val: frame for early stopping; None holds out a tenth of the scenes, or the last tenth
                of the time if there are few.
            resume: go on with an interrupted fit of the same frames and options, from the
                checkpoint in ``trainer["default_root_dir"]``; it ends where the uninterrupted fit
                would have ended, on a CPU bit for bit.
            warm_start: start from the weights and units that are learned already, with the same
                categories and the same step of time, on other data. A model without weights is
                fitted anew.

        Returns:
            The forecaster itself. Its `history_` is a pandas frame with a row for each step:
            ``step``, ``loss``, ``val_loss`` (NaN between validations).

        Raises:
            DataError: if the frame cannot be used; the message names the column and the remedy. If
                the checkpoint is damaged, or of other data or options.
            NotFittedError: for a warm start with nothing learned.
        """
        self._check_options()
        if warm_start:
            self._check_fitted()
        learned = learn(self, frame, val, resume, warm_start)
        self._learned(learned.model, learned.vocabulary, learned.step, learned.history)
        if learned.stopped is not None:
            raise learned.stopped
        return self

    def _learned(
        self, model: nn.Module, vocabulary: Vocabulary, step: str, history: pd.DataFrame
    ) -> None:
        """Keep what a fit has learned; the only place where a forecaster becomes a fitted one."""
        self.model_, self.vocabulary_, self.step_ = model, vocabulary, step
        self.history_ = history

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError(
                "this Forecaster is not fitted: call fit(frame), or load a saved one"
            )

    def _check_options(self) -> None:
        """Refuse what would fail later in a less obvious place."""
        for name in ("context_length", "prediction_length", "batch_size", "max_steps"):
            setattr(self, name, whole(name, getattr(self, name)))
        self.seed = whole("seed", self.seed, 0, 2**63 - 1)
        self.learning_rate = number("learning_rate", self.learning_rate, 0, ends=False)
        self.series_dropout = share("series_dropout", self.series_dropout, 0, 0.5)
        if not isinstance(self.columns, Columns):
            raise TypeError(
                f"columns={self.columns!r} must be Columns(...), e.g. Columns(target='y')"
            )
        if not hasattr(self.model, "for_task") or isinstance(self.model, type):
            raise TypeError(f"model={self.model!r} must be an instance of a model: HiPerformer()")
        self._check_trainer()

    def _check_trainer(self) -> None:
        if not isinstance(self.trainer, Mapping | None):
            raise TypeError(
                f"trainer={show(self.trainer)} must be a dict of options of Lightning's Trainer, "
                "e.g. {'accelerator': 'cpu'}"
            )
        precision = (self.trainer or {}).get("precision")
        if precision is not None and str(precision) not in PRECISIONS:
            raise ValueError(f"precision={precision!r} must be one of {', '.join(PRECISIONS)}")
        ours = {"max_steps", "max_epochs", "enable_checkpointing"} & set(self.trainer or {})
        if ours:
            raise ValueError(
                f"trainer={{{ours.pop()!r}: ...}} is the Forecaster's own affair: use its options "
                "(max_steps), or leave it out"
            )

    def _dtype(self) -> type:
        precision = str((self.trainer or {}).get("precision", ""))
        return np.float64 if precision in ("64", "64-true") else np.float32

    # --- forecasting -----------------------------------------------------------------------------

    def predict(
        self,
        frame: Any,
        level: Sequence[float] | float | None = None,
        known: Any = None,
        *,
        quantiles: Sequence[float] | float | None = None,
    ) -> Any:
        """Forecast the steps after each scene's last observed time.

        Rows after it, in which no series has a target, are no history: they may tell the known
        covariates in advance. A history shorter than the context is one whose first steps are
        missing.

        Args:
            frame: history; a series may be missing at any step, at the end too.
            level: coverages in percent of intervals to add, e.g. ``[80, 95]``.
            known: frame with the future values of the known covariates; what it does not tell is
                taken from `frame`.
            quantiles: probabilities of quantiles to add, e.g. ``[0.1, 0.5]``.

        Returns:
            A frame of the library that was given, one row per series and future step:
            ``[scene,] unique_id, ds, HiPerformer[, HiPerformer-lo-90, HiPerformer-hi-90][,
            HiPerformer-q-10]``; with several targets ``HiPerformer_x``, ``HiPerformer_y`` and so
            on. Times have the frame's type, or a wider one where it cannot hold what follows
            (``int8`` after 127). (utilsforecast takes ``-q-`` columns for models: tell it
            ``models=["HiPerformer"]``.)

        Warns:
            SeriesDroppedWarning: for series without a forecast, because they are not observed
                within the context.
        """
        panel, cutoffs = self._history(frame, known)
        return self._forecasts(panel, cutoffs).to_frame(level, quantiles)

    def sample(self, frame: Any, n: int, seed: int | None = None, known: Any = None) -> Any:
        """Draw `n` joint futures: the rows of `predict`, once per draw, with a ``sample_id``."""
        seed = None if seed is None else whole("seed", seed, 0, 2**63 - 1)
        panel, cutoffs = self._history(frame, known)
        return self._forecasts(panel, cutoffs, seed=seed).draws_to_frame(n)

    def distribution(self, frame: Any, known: Any = None) -> tuple[SceneDistribution, Any]:
        """The joint law itself, and a frame that says which series each of its rows is.

        Returns:
            law: values (P, H, D), `log_prob` one number a scene.
            index: P rows ``[scene,] unique_id, ds``, where ``ds`` is the first step forecast.
        """
        panel, cutoffs = self._history(frame, known)
        return self._forecasts(panel, cutoffs, batch_size=max(len(cutoffs), 1)).joint()

    def backtest(
        self,
        frame: Any,
        n_windows: int | None = None,
        start: Any = None,
        stride: int | None = None,
        refit: bool | int = False,
        level: Sequence[float] | float | None = None,
        quantiles: Sequence[float] | float | None = None,
    ) -> Any:
        """Forecast from many cutoffs of a frame, truth and forecast side by side.

        Args:
            frame: scenes with their outcome.
            n_windows: the last so many cutoffs of each scene (with `start` the first so many).
                None: all that have a whole context before and a whole horizon after them.
            start: first time that may be forecast, e.g. ``"2024-06-01"`` or a step; cutoffs then
                count forward from there, else back from each scene's end.
            stride: steps between cutoffs; None: `prediction_length`, so that no step is counted
                twice.
            refit: True fits a copy anew at every cutoff, on what was observed up to it, a number at
                every so many cutoffs; this forecaster need not be fitted then, and stays as it is.
            level, quantiles: as in `predict`.

        Returns:
            ``[scene,] unique_id, ds, cutoff``, the targets (NaN where missing), the forecasts;
            ``cutoff`` is the last time that a forecast could see.
        """
        rolling = Rolling(n_windows, start, stride, refit)
        return forecasts_of(self, frame, rolling).to_frame(level, quantiles, truth=True)

    def evaluate(
        self,
        frame: Any,
        metrics: str | Metric | Sequence[str | Metric] | None = None,
        *,
        n_windows: int | None = None,
        start: Any = None,
        stride: int | None = None,
        refit: bool | int = False,
        n_samples: int = 20,
        level: float = 90,
    ) -> Any:
        """Measure forecasts from many cutoffs of a frame; `compare` measures several forecasters.

        Args:
            frame: scenes with their outcome.
            metrics: names of `hierforecast.metrics.METRICS`, or metrics; None: a set that fits.
            n_windows, start, stride, refit: as in `backtest`.
            n_samples: joint draws for the metrics that need them.
            level: coverage in percent of the interval that coverage and width look at.

        Returns:
            A tidy frame: model, part (all series, and each group type), metric, value.
        """
        forecasts = forecasts_of(self, frame, Rolling(n_windows, start, stride, refit))
        return frame_like(frame, evaluate_windows(forecasts, metrics, n_samples, level))

    def _history(self, frame: Any, known: Any) -> tuple[Panel, np.ndarray]:
        panel = self._read(frame, known=known, horizon=self.prediction_length)
        return panel, last_cutoffs(panel, self.context_length)

    def _read(self, frame: Any, **options: Any) -> Panel:
        self._check_fitted()
        dtype = torch.zeros(0, dtype=_dtype_of(self.model_)).numpy().dtype
        return read_frame(
            frame,
            self.columns,
            vocabulary=self.vocabulary_,
            step=self.step_,
            context=self.context_length,
            dtype=dtype,
            **options,
        )

    def _forecasts(
        self,
        panel: Panel,
        cutoffs: np.ndarray,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> Forecasts:
        windows = self._windows(panel, cutoffs)
        accelerator = (self.trainer or {}).get("accelerator", "auto")
        device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
        with _MOVING:  # the first of several threads; to the others it is there already
            model = self.model_.to(device).eval()
        draws = seeded(self.seed if seed is None else seed)
        return Forecasts(model, windows, batch_size or self.batch_size, draws)

    def _windows(self, panel: Panel, cutoffs: np.ndarray) -> WindowDataset:
        """What the fitted model is given."""
        lengths = self.context_length, self.prediction_length
        origin = getattr(self.model_, "origin", None)
        return WindowDataset(panel, cutoffs, *lengths, origin=origin)

    # --- saving ----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write weights (safetensors) and options (JSON) into a folder, all or nothing."""
        from hierforecast.storage import save

        if not hasattr(self, "model_"):
            raise NotFittedError("nothing to save yet: call fit(frame) first")
        save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, model: nn.Module | None = None) -> Forecaster:
        """Read what `save` wrote; no code from the files is run.

        Args:
            path: the folder.
            model: needed for a model class of your own: any instance of it.
        """
        from hierforecast.storage import load

        return load(cls, Path(path), model)


def _dtype_of(model: nn.Module) -> torch.dtype:
    """The dtype of a model's weights, or of its buffers if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32
