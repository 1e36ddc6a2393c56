"""`compare`: several forecasters on the same windows of one frame, in one tidy table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hierforecast.errors import DataError
from hierforecast.evaluation.backtesting import Rolling, forecasts_of
from hierforecast.evaluation.measuring import evaluate_windows, frame_like
from hierforecast.metrics import Metric

if TYPE_CHECKING:
    from hierforecast.forecaster import Forecaster


def compare(
    forecasters: Forecaster | Sequence[Forecaster] | Mapping[str, Forecaster],
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
    """Measure several forecasters on the same forecasts: same cutoffs, same series, same steps.

    Their contexts may differ in length: a cutoff must have the longest one before it, and a series
    counts if it was observed in the shortest one. One that is not fitted takes part as a copy that
    is fitted once, on what was observed up to the first cutoff (or at each `refit`).

    Args:
        forecasters: a list, or names and forecasters; all forecast as many steps, of the same
            targets, from the same columns of scene, id and time. They are not changed.
        frame: scenes with their outcome.
        metrics, n_windows, start, stride, refit, n_samples, level: as in `Forecaster.evaluate`.

    Returns:
        A tidy frame of the library that was given: forecaster, model, part (all series, and each
        group type), metric, value. Without names of their own, forecasters are called as their
        models are: ``Ridge``, ``Ridge-2``.

    Raises:
        DataError: if they cannot be compared.

    Example:
        >>> models = [forecaster, Forecaster(LastValue(), **options)]  # doctest: +SKIP
        >>> compare(models, frame, ["mae", "mase"], n_windows=4)  # doctest: +SKIP
    """
    named = _named(forecasters)
    contexts = [forecaster.context_length for forecaster in named.values()]
    fitted = {name: hasattr(forecaster, "model_") for name, forecaster in named.items()}
    rolling = Rolling(n_windows, start, stride, refit)
    rows: list[dict[str, Any]] = []
    for name, forecaster in named.items():
        forecasts = forecasts_of(
            forecaster,
            frame,
            rolling if rolling.refit or fitted[name] else rolling.fit_once(),
            context=max(contexts),
            fits=not all(fitted.values()),
        )
        own = evaluate_windows(forecasts, metrics, n_samples, level, min(contexts))
        rows += [{"forecaster": name, **row} for row in own]
    return frame_like(frame, rows)


def _named(forecasters: Any) -> dict[str, Forecaster]:
    """Forecasters by unique names, checked to be comparable."""
    if hasattr(forecasters, "prediction_length"):
        forecasters = [forecasters]
    if isinstance(forecasters, Mapping):
        named = {str(name): forecaster for name, forecaster in forecasters.items()}
    else:
        named, seen = {}, Counter[str]()
        for forecaster in forecasters:
            name = type(forecaster.model).__name__
            seen[name] += 1
            named[name if seen[name] == 1 else f"{name}-{seen[name]}"] = forecaster
    if not named:
        raise DataError("there is nothing to compare: give one forecaster or more")
    (first, one), *others = named.items()
    mine = _compared(one)
    for name, other in others:
        for what, theirs in _compared(other).items():
            if mine[what] != theirs:
                raise DataError(
                    f"{first!r} and {name!r} cannot be compared: {what} is {mine[what]!r} and "
                    f"{theirs!r}; give forecasters of the same"
                )
    return named


def _compared(forecaster: Forecaster) -> dict[str, Any]:
    """What forecasters of one comparison have in common."""
    columns = forecaster.columns
    return {
        "prediction_length": forecaster.prediction_length,
        "Columns(target=...)": columns.targets,
        **{f"Columns({role}=...)": getattr(columns, role) for role in ("scene", "id", "time")},
    }
