"""`Forecaster`: fit, backtest, evaluate, save, load; the verbs that ask it are in `answers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hierforecast import storage
from hierforecast._options import number
from hierforecast.answers import Answers
from hierforecast.engines.door import anywhere
from hierforecast.errors import DataError
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.evaluation.influence import Influential
from hierforecast.evaluation.measuring import evaluate_windows, frame_like
from hierforecast.evaluation.surprise import Surprising
from hierforecast.frame import Columns
from hierforecast.metrics import Metric
from hierforecast.models import Model
from hierforecast.shards.pools import opened
from hierforecast.training.fitting import learn


class Forecaster(Answers, Surprising, Influential):
    """Fits a model to frames and forecasts frames.

    Args:
        model: `HiPerformer`, a baseline, or one of your own, a subclass of `Model`; it is a plan
            that `fit` builds for the data, and is itself left as it is.
        context_length: observed steps given to the model.
        prediction_length: steps forecast.
        columns: which column plays which role.
        learning_rate: peak of the learning rate.
        batch_size: windows in a training step, of each process if there are several. None: up to
            64, fewer of wide scenes, so that a step learns from about 700 rows, and four at least.
        max_steps: training steps at most; training stops early when held-out windows say so.
        series_dropout: mean share of series hidden in training, between 0 and 0.5.
        min_context: least steps of a scene before the cutoff of a training window; below
            `context_length`, scenes are learned from their beginning on: more windows, which
            make up half of a batch at most. None: whole contexts, and shorter ones only where a
            scene has no more.
        max_rows: series of a very wide scene that a training window has at most: whole groups at
            random, and random members of large ones. Forecasts are of all series. None: all.
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
        model: Model,
        *,
        context_length: int,
        prediction_length: int,
        columns: Columns = Columns(),  # noqa: B008 (immutable)
        learning_rate: float = 1e-3,
        batch_size: int | None = None,
        max_steps: int = 1000,
        series_dropout: float = 0.1,
        min_context: int | None = None,
        max_rows: int | None = 5_000,
        seed: int = 0,
        trainer: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.context_length, self.prediction_length = context_length, prediction_length
        self.columns = columns
        self.learning_rate, self.batch_size, self.max_steps = learning_rate, batch_size, max_steps
        self.series_dropout, self.min_context = series_dropout, min_context
        self.max_rows = max_rows
        self.seed, self.trainer = seed, trainer

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
                Or what need not fit in memory: `Shards`, the path of a folder of Parquet files in
                which scenes lie whole, a polars LazyFrame or a DuckDB relation (which `shard` cuts
                into a temporary folder first).
            val: frame for early stopping; None holds out a tenth of the scenes, or the last tenth
                of the time if there are few.
            resume: go on with an interrupted fit of the same frames and options, from the
                checkpoint in ``trainer["default_root_dir"]``; it ends where the uninterrupted fit
                would have ended, on a CPU bit for bit.
            warm_start: start from the weights and units that are learned already, with the same
                categories and the same step of time, on other data. A model without weights is
                fitted anew.

        Returns:
            The forecaster itself. `history_` is a pandas frame of ``step``, ``loss``, ``val_loss``
            (NaN between validations), `report_` says what answers, the trained model or a simpler
            one that held-out windows prefer, and how often intervals cover them.

        Raises:
            DataError: if the frame cannot be used; the message names the column and the remedy. If
                the checkpoint is damaged, or of other data or options.
            NotFittedError: for a warm start with nothing learned.
        """
        return self._learn_from(frame, val, resume, self._last_fit() if warm_start else None)

    def pretrain(
        self, frame: Any, val: Any = None, *, hidden: float = 0.5, resume: bool = False
    ) -> Forecaster:
        """Learn from a frame by what is hidden of it, for a fit on other data to start from.

        Pieces of series are hidden and asked for, as in TimeDRL's timestamp task (arXiv 2312.04142)
        without its augmentations; horizons are not. Then ``fit(few, warm_start=True)`` goes on with
        the units, the linear start and the weights. Until then forecasts are the linear start's,
        which nothing was held against. `max_steps` and `learning_rate` are those of a fit;
        `series_dropout` has no part in it.

        Args:
            frame: as in `fit`, and of the same columns and step of time as what follows.
            val: frame for early stopping; None holds out as `fit` does.
            hidden: mean share of series that lose a piece of their context, up to 0.5: a window
                draws one between 0 and twice as much.
            resume: go on with an interrupted pretraining, as in `fit`.

        Returns:
            The forecaster itself. `history_` has the distances of what was filled in.

        Raises:
            DataError: if the frame cannot be used, nothing of it can be hidden, or the model learns
                no values (baselines, ``scale="returns"``).
        """
        hidden = number("hidden", hidden, 0, 0.5)
        if not hidden:
            raise DataError("hidden=0 leaves nothing to fill in: give a share up to 0.5")
        return self._learn_from(frame, val, resume, hidden=hidden)

    def _learn_from(self, frame: Any, val: Any, resume: bool, *rest: Any, **how: Any) -> Forecaster:
        """Keep what a fit or a pretraining learns."""
        plan, bar = self._plan(), (self.trainer or {}).get("enable_progress_bar", True)
        with opened(frame, plan.columns, bar) as train, opened(val, plan.columns, bar) as held_out:
            fitted, stopped = learn(plan, train, held_out, resume, *rest, **how)
        self._learned(fitted)
        if stopped is not None:
            raise stopped
        return self

    # --- measuring -------------------------------------------------------------------------------

    @anywhere
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

    @anywhere
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

    # --- saving ----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write weights (safetensors) and options (JSON) into a folder, all or nothing."""
        fitted = self._fitted()
        storage.save(self._plan(), fitted, Path(path))

    @classmethod
    def load(cls, path: str | Path, model: Model | type[Model] | None = None) -> Forecaster:
        """Read what `save` wrote; no code from the files is run.

        Args:
            path: the folder.
            model: for a model of your own its class, which is then made of the saved options, or an
                instance, which is taken as it is.
        """
        plan, fitted = storage.load(Path(path), model)
        forecaster = cls(**vars(plan))
        forecaster._learned(fitted)
        return forecaster
