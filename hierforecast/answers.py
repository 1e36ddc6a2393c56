"""`Answers`: what a fitted forecaster says of a frame: what follows, and what was missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hierforecast import _options
from hierforecast._options import levels, whole
from hierforecast.distributions import SceneDistribution
from hierforecast.engines.door import anywhere
from hierforecast.errors import DataError
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.frame.totals import Totals
from hierforecast.inference.conformal import Conformal, check_conformal
from hierforecast.learned import Learned


class Answers(Learned):
    """The verbs of `Forecaster` that ask its distribution about a frame.

    All but `distribution` take frames of Ray, Spark and Dask as well, see "Several machines".
    """

    @anywhere
    def predict(
        self,
        frame: Any,
        level: Sequence[float] | float | None = None,
        known: Any = None,
        *,
        quantiles: Sequence[float] | float | None = None,
        given: Any = None,
        by: str | Sequence[str] | None = None,
        how: str = "sum",
        weights: str | None = None,
        conformal: Any = None,
        newcomers: bool = False,
    ) -> Any:
        """Forecast the steps after each scene's last observed time.

        Rows after it, in which no series has a target, are no history: they may tell the known
        covariates in advance. A history shorter than the context is one whose first steps are
        missing.

        Args:
            frame: history; a series may be missing at any step, at the end too. Or a table of an
                engine, a folder of Parquet or a lazy frame, for which every verb also takes
                ``out=``, a new folder to write the answer to.
            level: coverages in percent of intervals to add, e.g. ``[80, 95]``.
            known: frame with the future values of the known covariates; what it does not tell is
                taken from `frame`.
            quantiles: probabilities of quantiles to add, e.g. ``[0.1, 0.5]``.
            given: what-if: a frame in the shape of the answer (scene, id, time, targets; NaN where
                nothing is assumed) of any series, steps and targets. The forecast is the exact
                conditional distribution of all others; what is given comes back as it is.
            by: totals instead of series: a group column, several, or ``()`` for whole scenes. All
                are linear maps of one joint distribution: levels add up, draws of one seed too.
            how: ``"sum"`` or ``"mean"``, over the series that are forecast.
            weights: column of a number for each series, by which it is multiplied first.
            conformal: held-out frame with outcomes, whose errors say how wide the intervals of
                single numbers are, by group type and step, see `Conformal`.
            newcomers: whether series of the frame that are not observed within the context, their
                targets NaN, are forecast too: by what is forecast of their group and by how their
                covariates differ from its. Nothing changes for the others.
            out: new folder that the answer is written to as Parquet, if `frame` is a folder of
                Parquet, a lazy frame, or one of an engine; the other verbs take it too.

        Returns:
            A frame of the library that was given, one row per series and future step:
            ``[scene,] unique_id, ds, HiPerformer[, HiPerformer-lo-90, HiPerformer-hi-90][,
            HiPerformer-q-10]``; with several targets ``HiPerformer_x``, ``HiPerformer_y`` and so
            on. Times have the frame's type, or a wider one where it cannot hold what follows
            (``int8`` after 127). (utilsforecast takes ``-q-`` columns for models: tell it
            ``models=["HiPerformer"]``.) Of totals ``[scene,] *by, ds`` and the same columns.

        Warns:
            SeriesDroppedWarning: for series without a forecast, because they are not observed
                within the context.
        """
        totals = Totals.read(frame, self.columns, by, how, weights)
        forecasts = self._ahead(frame, known, given, totals, newcomers)
        if conformal is not None:
            check_conformal(level, given, totals, newcomers)
            if not isinstance(conformal, Conformal):  # which a job on an engine takes along
                conformal = Conformal.of(forecasts_of(self, conformal, Rolling()))
            forecasts = replace(forecasts, interval=conformal)
        return forecasts.to_frame(level, quantiles)

    @anywhere
    def sample(
        self,
        frame: Any,
        n: int,
        seed: int | None = None,
        known: Any = None,
        *,
        given: Any = None,
        by: str | Sequence[str] | None = None,
        how: str = "sum",
        weights: str | None = None,
        newcomers: bool = False,
    ) -> Any:
        """Draw `n` joint futures: the rows of `predict`, once per draw, with a ``sample_id``.

        The draws of a scene follow from the seed, its label and its last time: they are the same
        whatever scenes are beside it. Newcomers (see `predict`) are drawn each by itself.
        """
        random = self._draws(seed)
        totals = Totals.read(frame, self.columns, by, how, weights)
        forecasts = replace(self._ahead(frame, known, given, totals, newcomers), random=random)
        return forecasts.draws_to_frame(n)

    @anywhere
    def futures(
        self,
        frame: Any,
        n: int,
        seed: int | None = None,
        known: Any = None,
        *,
        given: Any = None,
        n_samples: int = 300,
        joint: bool = True,
    ) -> Any:
        """`n` representative joint futures of each scene, and how probable each is.

        They are centroids of k-means over joint draws, all series of a scene together: futures to
        look at and to plan for, for which n draws would be too noisy. A mean of draws is too
        smooth and n means are too narrow for intervals and scores: `sample` is for those.

        Args:
            frame, known, given: as in `predict`.
            n: futures; a scene has fewer if its draws differ less.
            seed: of the draws; None: that of the forecaster.
            n_samples: joint draws that are clustered.
            joint: False gives the futures of each series by itself: what one may do is met more
                closely, and those of different series do not belong together.

        Returns:
            The rows of `predict` once per future, with ``future_id`` (0 is the most probable) and
            ``share`` (of the draws, 1 in all futures of a scene, or series, together).
        """
        random = self._draws(seed)
        forecasts = replace(self._ahead(frame, known, given), random=random)
        return forecasts.futures_to_frame(n, n_samples, joint)

    @anywhere
    def impute(
        self,
        frame: Any,
        level: Sequence[float] | float | None = None,
        n: int | None = None,
        seed: int | None = None,
        *,
        quantiles: Sequence[float] | float | None = None,
    ) -> Any:
        """Where series were while they were not observed, from a scene's first time to its last.

        A window of `prediction_length` steps begins where a series vanishes; its joint distribution
        is conditioned on all that is observed in it, the series itself once it reappears and the
        others. So paths leave and arrive where the series was, draws included, and what is missing
        at one time is joint. A gap that does not fit in a window is filled in pieces, and only the
        last of them knows where it ends: fit with a `prediction_length` above the gaps. Before a
        series is first observed in its scene, time runs backward, unless the model uses a calendar
        or smoothing.

        Args:
            frame: scenes; a step is observed where all targets are. Nothing observed is changed.
            level, quantiles: as in `predict`. In the later pieces of a long gap they take the
                earlier ones as known; draws do not.
            n: joint draws instead, with a ``sample_id``; each is one course of the whole scene.
            seed: of the draws; None: that of the forecaster.

        Returns:
            The rows of `predict` for each series of a scene and step at which it is missing.

        Warns:
            SeriesDroppedWarning: for series of which some steps stay missing.
            UserWarning: for gaps that do not fit in a window.
        """
        imputation = self._imputation(frame, seed)
        if n is None:
            return imputation.to_frame(levels(level), _options.quantiles(quantiles))
        if level is not None or quantiles is not None:
            raise DataError("n= gives draws, level= and quantiles= intervals: give one of them")
        return imputation.draws_to_frame(whole("n", n))

    def distribution(
        self, frame: Any, known: Any = None, *, given: Any = None
    ) -> tuple[SceneDistribution, Any]:
        """The joint distribution itself, and a frame that says which series each of its rows is.

        Returns:
            distribution: values (P, H, D), `log_prob` one number a scene.
            index: P rows ``[scene,] unique_id, ds``, where ``ds`` is the first step forecast.
        """
        return self._ahead(frame, known, given).joint()
