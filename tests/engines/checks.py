"""What every engine is asked, and what it must answer: the local answer, rows in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hierforecast import Forecaster, HiPerformer
from tests.helpers import COLUMNS, make_frame, tiny

KEYS = ["scene", "unique_id", "ds", "cutoff", "sample_id", "future_id"]
KNOWN = replace(COLUMNS, known_covariates="plan")
NOW = 20
# Verb, options, and whether they are asked of the whole frame (else of its history).
ASKED: dict[str, tuple[str, dict[str, Any], bool]] = {
    "predict": ("predict", {"level": [80]}, False),
    "totals": ("predict", {"by": "team", "quantiles": [0.1]}, False),
    "sample": ("sample", {"n": 3}, False),
    "futures": ("futures", {"n": 2, "n_samples": 20}, False),
    "impute": ("impute", {"level": [80]}, True),
    "imputed draws": ("impute", {"n": 2}, True),
    "backtest": ("backtest", {"n_windows": 2, "level": [80]}, True),
}
QUIET_IMPUTING = (
    "ignore:.*steps that are not imputed",
    "ignore:gaps of up to",
)


def frame_of(scenes: int = 5, **options: Any) -> pd.DataFrame:
    frame = make_frame(n_scenes=scenes, **options)
    return frame[["scene", "ds", "unique_id", "team", "kind", "x", "y", "plan"]]


def fitted(frame: pd.DataFrame, **options: Any) -> Forecaster:
    return tiny(HiPerformer(8, 1, 2, patch=4), **{"columns": COLUMNS, **options}).fit(frame)


def ask(forecaster: Any, name: str, frame: pd.DataFrame, carry: Callable[[Any], Any]) -> Any:
    """A verb of a frame, carried to an engine or not."""
    verb, options, whole = ASKED[name]
    return getattr(forecaster, verb)(carry(frame if whole else frame[frame.ds < NOW]), **options)


def assert_same_rows(found: pd.DataFrame, expected: pd.DataFrame, atol: float = 2e-4) -> None:
    """The same columns, rows in any order, types up to their width."""
    assert list(found.columns) == list(expected.columns)
    by = [name for name in [*KEYS, "team"] if name in expected]
    one, other = (
        each.astype({name: str for name in by if each[name].dtype.kind not in "iuMm"})
        .sort_values(by)
        .reset_index(drop=True)
        for each in (found, expected)
    )
    pd.testing.assert_frame_equal(
        one, other, rtol=0, atol=atol, check_dtype=False, check_index_type=False
    )


def with_twice(frame: pd.DataFrame, scene: Any) -> pd.DataFrame:
    """A frame in which a row of a scene stands twice, with other numbers."""
    row = frame[frame.scene == scene].iloc[[0]].assign(x=-1.0)
    return pd.concat([frame, row], ignore_index=True)


def parts_of(frame: pd.DataFrame, sizes: list[int]) -> list[pd.DataFrame]:
    """Whole scenes, so many a part."""
    cuts = np.split(frame.scene.unique(), np.cumsum(sizes))
    return [frame[frame.scene.isin(part)] for part in cuts]
