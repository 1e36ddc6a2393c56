"""`Report`: what a fit says of itself, measured on windows that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from hierforecast.inference import Forecast, Forecasts

# Nominal coverage of the intervals that are measured, in percent.
LEVELS = (50, 80, 90, 95)
_COLUMNS = {"part": object, "nominal": float, "covered": float, "cells": "int64"}
RUNG_COLUMNS = {"rung": object, "distance": float, "nll": float, "chosen": bool}


def _empty(columns: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in columns.items()})


@dataclass(frozen=True, eq=False)
class Report:
    """What held-out windows say of a fit: how well its intervals cover, and which rung answers.

    Attributes:
        coverage: a row for each part (``"all"``, then each group type) and level: ``part``,
            ``nominal`` and ``covered``, shares in 0..1, and ``cells``, how many numbers (a series
            at a step, one target) were looked at. It is empty where nothing was held out.
        rungs: a row for each model that was compared after the training, from the simplest up:
            ``rung``, its ``distance`` from what came (NaN where a model tells none) and ``nll``,
            its negative log-likelihood, both in the model's own units, and whether it was
            ``chosen``. It is empty where nothing was trained or nothing held out.
    """

    coverage: pd.DataFrame = field(default_factory=partial(_empty, _COLUMNS))
    rungs: pd.DataFrame = field(default_factory=partial(_empty, RUNG_COLUMNS))

    def __str__(self) -> str:
        """Which rung answers, then a line for each part, under the nominal levels."""
        return "\n".join(filter(None, [self._answers(), self._covers()]))

    @property
    def rung(self) -> str | None:
        """Name of the rung that answers; None where there was nothing to choose."""
        return None if self.rungs.empty else str(self.rungs.rung[self.rungs.chosen].iloc[0])

    def _answers(self) -> str:
        """Which rung answers, against the trained model or, if it is that, the best other one."""
        if self.rungs.empty:
            return ""
        one = self.rungs[self.rungs.chosen].iloc[0]
        others = self.rungs[~self.rungs.chosen]
        if others.empty:
            return f"answers: {one.rung}"
        other = others.iloc[-1]
        if self.rungs.chosen.iloc[-1]:
            other = others.loc[others.distance.fillna(others.nll).fillna(np.inf).idxmin()]
        share = other.distance / one.distance - 1 if one.distance else np.nan
        if np.isnan(share) or not share:
            return f"answers: {one.rung} (nll {one.nll:.3f}, {other.rung} {other.nll:.3f})"
        # A model that was refused for too small a gain is not sure to be better.
        how = "worse" if share > 0 else "better, which may be chance"
        return f"answers: {one.rung} ({other.rung} {100 * abs(share):.2f} % {how})"

    def _covers(self) -> str:
        if self.coverage.empty:
            return "no held-out windows: coverage is not known"
        table = self.coverage.pivot(index=["part", "cells"], columns="nominal", values="covered")
        head = [f"{100 * nominal:.4g} %" for nominal in table.columns]
        rows = [
            (f"{part} ({cells:,} cells)", *(f"{100 * share:.1f} %" for share in shares))
            for (part, cells), shares in zip(table.index, table.to_numpy(), strict=True)
        ]
        lines = [("held-out coverage of", *head), *rows]
        first = max(len(line[0]) for line in lines)
        return "\n".join(
            line[0].ljust(first) + "".join(cell.rjust(9) for cell in line[1:]) for line in lines
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        rungs = self.rungs.astype(object).where(self.rungs.notna(), None)
        return {"coverage": self.coverage.to_dict("list"), "rungs": rungs.to_dict("list")}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Report:
        """The inverse of `to_dict`.

        Raises:
            ValueError: for what is no such table.
        """
        table = _table(given, "coverage", _COLUMNS)
        shares = table[["nominal", "covered"]].to_numpy()
        if not (((shares >= 0) & (shares <= 1)).all() and (table["cells"] > 0).all()):
            raise ValueError("coverage has shares out of 0..1, or cells below one")
        if "rungs" not in given:  # saved by an earlier version
            return cls(table)
        rungs = _table(given, "rungs", RUNG_COLUMNS)
        if len(rungs) and not (rungs.chosen.sum() == 1 and not (rungs.distance < 0).any()):
            raise ValueError("rungs has not one that is chosen, or distances below zero")
        return cls(table, rungs)


def _table(given: Mapping[str, Any], name: str, dtypes: Mapping[str, Any]) -> pd.DataFrame:
    """A table of a saved report.

    Raises:
        ValueError: for what is no such table.
    """
    columns = given[name]
    if list(columns) != list(dtypes) or not all(isinstance(x, list) for x in columns.values()):
        raise ValueError(f"{name} must have the lists {', '.join(dtypes)}")
    for column, kind in {"part": str, "rung": str, "chosen": bool}.items():
        if not all(isinstance(x, kind) for x in columns.get(column, ())):
            raise ValueError(f"{name} has a {column} that is no {kind.__name__}")
    return pd.DataFrame(columns).astype(dict(dtypes))


def report_on(forecasts: Forecasts) -> Report:
    """How often the truth lies in the marginal intervals: over all cells, and by group type.

    Args:
        forecasts: of windows with an outcome. A family of distributions without quantiles gives
            an empty report.
    """
    names = ["all", *map(str, forecasts.windows.panel.vocabulary.types)]
    inside, cells = np.zeros((len(names), len(LEVELS)), int), np.zeros(len(names), int)
    types = torch.from_numpy(forecasts.windows.panel.types)
    try:
        for forecast in forecasts:
            found = _inside(forecasts, forecast)
            kinds = types[forecast.future.rows]
            every = torch.ones_like(kinds, dtype=torch.bool)
            parts = [every, *(kinds == code for code in range(len(names) - 1))]
            for part, chosen in enumerate(parts):
                inside[part] += found[:, chosen].sum((1, 2, 3)).numpy()
                cells[part] += int(forecast.future.present[chosen].sum()) * found.shape[-1]
    except NotImplementedError:
        return Report()
    rows = [
        (name, level / 100, hits / count, count)
        for name, each, count in zip(names, inside, cells, strict=True)
        for level, hits in zip(LEVELS, each, strict=True)
        if count
    ]
    return Report(pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS))


def _inside(forecasts: Forecasts, forecast: Forecast) -> torch.Tensor:
    """Whether the truth lies in the intervals: (levels, P, H, D), False where it is missing."""
    half = torch.tensor(LEVELS, dtype=torch.float64) / 200
    low, high = (
        forecast.numbers(forecast.raw.quantile(0.5 + side * half)).cpu() for side in (-1, 1)
    )
    truth = forecasts.truth(forecast.future)  # missing: NaN, which lies nowhere
    return (low <= truth) & (truth <= high)
