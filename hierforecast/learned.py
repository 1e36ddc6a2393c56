"""What a `Forecaster` has learned, and the windows of a frame that it can therefore forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hierforecast._options import show, whole
from hierforecast._waiting import is_host
from hierforecast.errors import DataError, NotFittedError
from hierforecast.frame import Columns, Panel, Vocabulary, read_frame
from hierforecast.frame.given import read_given
from hierforecast.frame.known import announce
from hierforecast.frame.totals import Totals
from hierforecast.inference.devices import devices_of
from hierforecast.inference.draws import Draws
from hierforecast.inference.forecasts import Forecasts, device_of, place, point_columns
from hierforecast.inference.gap_widths import GapWidths
from hierforecast.inference.imputing import Imputation
from hierforecast.inference.newcomers import Newcomers
from hierforecast.inference.scores import HeldOutScores
from hierforecast.models import Model
from hierforecast.training.plan import Fitted, Params, Plan
from hierforecast.training.report import Report
from hierforecast.windows import WindowDataset
from hierforecast.windows.cutoffs import last_cutoffs

# What the weights, units and categories of a fit belong to.
OF_FIT = ("context_length", "prediction_length", "columns")


class Learned(Params):
    """The options of a forecaster, see there, and once it is fitted what it has learned."""

    context_length: int
    prediction_length: int
    columns: Columns
    batch_size: int | None
    seed: int
    trainer: Mapping[str, Any] | None
    model_: Model
    vocabulary_: Vocabulary
    step_: str
    history_: pd.DataFrame
    report_: Report
    scores_: HeldOutScores | None
    gap_widths_: GapWidths | None
    newcomers_: Newcomers | None
    _of_fit: dict[str, Any]

    def _learned(self, fitted: Fitted) -> None:
        """Keep what a fit has learned; the only place where a forecaster becomes a fitted one."""
        self.model_, self.vocabulary_, self.step_ = fitted.model, fitted.vocabulary, fitted.step
        self.history_, self.report_, self.scores_ = fitted.history, fitted.report, fitted.scores
        self.gap_widths_, self.newcomers_ = fitted.gaps, fitted.newcomers
        self._of_fit = {name: getattr(self, name) for name in OF_FIT}

    def _fitted(self) -> Fitted:
        """What answers a verb, or is saved.

        Raises:
            NotFittedError: if nothing does, or an option that it depends on has been changed.
        """
        fitted = self._last_fit()
        for name, then in self._of_fit.items():
            now = getattr(self, name)
            if now != then:
                words = f"{name}={show(then)}, now {show(now)}"
                if isinstance(then, Columns) and isinstance(now, Columns):
                    own, new = then.to_dict(), now.to_dict()
                    role = next(role for role in own if own[role] != new[role])
                    words = f"columns.{role}={show(own[role])}, now {show(new[role])}"
                raise NotFittedError(
                    f"this Forecaster was fitted with {words}: fit again, or set {name} back"
                )
        return fitted

    def _last_fit(self) -> Fitted:
        if not hasattr(self, "model_"):
            raise NotFittedError(
                "this Forecaster is not fitted: call fit(frame), or load a saved one"
            )
        learned = self.model_, self.vocabulary_, self.step_, self.history_, self.report_
        return Fitted(*learned, self.scores_, self.gap_widths_, self.newcomers_)

    def _plan(self) -> Plan:
        """The options, checked."""
        return Plan(**self.get_params(deep=False))

    def _ahead(
        self,
        frame: Any,
        known: Any,
        given: Any,
        totals: Totals | None = None,
        newcomers: bool = False,
    ) -> Forecasts:
        """Forecasts of the steps after a frame, see `Forecaster.predict`."""
        met = self._newcomers(given, totals) if newcomers else None
        if newcomers:
            frame = announce(frame, known, self.columns)
        panel = self._read(frame, known=known, horizon=self.prediction_length)
        if given is not None:
            given = read_given(panel, given, self.prediction_length, self.context_length)
        forecasts = self._forecasts(panel, last_cutoffs(panel, self.context_length, newcomers))
        return replace(forecasts, given=given, totals=totals, newcomers=met)

    def _newcomers(self, given: Any, totals: Totals | None) -> Newcomers:
        """What is known of them.

        Raises:
            DataError: if that is nothing, or more is asked than is known.
        """
        if given is not None or totals is not None:
            raise DataError(
                "newcomers=True forecasts single series, each by itself: leave given= and by= out"
            )
        found = self._fitted().newcomers
        if found is None:
            raise DataError(
                "newcomers=True needs held-out windows with two series of a scene or more, in "
                "which the fit hides some, and this one kept nothing of such: fit again, with val="
            )
        return found

    def _read(self, frame: Any, **options: Any) -> Panel:
        fitted = self._fitted()
        options |= {"vocabulary": fitted.vocabulary, "step": fitted.step, "dtype": fitted.dtype}
        return read_frame(frame, self.columns, context=self.context_length, **options)

    def _forecasts(self, panel: Panel, cutoffs: np.ndarray) -> Forecasts:
        lengths = self.context_length, self.prediction_length
        how: dict[str, Any] = {"origin": self.model_.origin, "calendar": self.model_.uses_calendar}
        windows = WindowDataset(panel, cutoffs, *lengths, **how)
        model = place(self.model_, (self.trainer or {}).get("accelerator", "auto"))
        devices, most = devices_of(self.trainer), self._plan().batch
        if self.batch_size is None and not is_host(device_of(model)):  # it has memory, and waits
            most = -(-len(windows) // max(1, len(devices)))
        size = windows.at_once(most)
        return Forecasts(model, windows, size, Draws(self.seed), devices=devices)

    def _imputation(self, frame: Any, seed: int | None) -> Imputation:
        """What is missing in a frame, see `Forecaster.impute`."""
        panel, model = self._read(frame), self.model_
        dated = model.uses_calendar and bool(panel.vocabulary.calendar)
        return Imputation(
            panel,
            self.context_length,
            self.prediction_length,
            self._forecasts,
            point_columns(model, panel.columns.targets),
            turns=not dated and model.origin != "history",
            random=self._draws(seed),
            widths=self.gap_widths_,
            bar=(self.trainer or {}).get("enable_progress_bar", True),
        )

    def _draws(self, seed: int | None) -> Draws:
        """Of one call; None: by the forecaster's seed."""
        return Draws(self.seed if seed is None else whole("seed", seed, 0, 2**63 - 1))
