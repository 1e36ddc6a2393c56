"""What is learned from the values of the training frame, and used again at prediction.

A category keeps its code, and a number its unit, so that float32 can hold what a model needs of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hierforecast.smoothing import Usual, n_settings

# Units from the offset beyond which a number is refused.
FARTHEST = 1e15
# Numbers of which the median is taken, about.
SAMPLE = 100_000


@dataclass(frozen=True)
class Units:
    """An offset and a unit of one column: a model is given ``(x - offset) / unit``.

    It is worked out in float64 and changes no forecast but for what float32 would have lost: the
    unit is a power of two.

    Args:
        offset: a number in the middle of the column.
        unit: more than the largest distance from it.
    """

    offset: float = 0.0
    unit: float = 1.0

    @classmethod
    def of(cls, numbers: np.ndarray) -> Units:
        """Learn them from numbers (n,), none of them NaN.

        The offset is one of the numbers, the lower median of some: add a constant to all, and it
        moves exactly as they do.
        """
        if not len(numbers):
            return cls()
        some = numbers[:: max(1, len(numbers) // SAMPLE)]
        middle = (len(some) - 1) // 2
        offset = float(np.partition(some, middle)[middle])
        far = float(max(numbers.max() - offset, offset - numbers.min()))
        far = far or abs(offset) or 0.5  # a column that never varies
        return cls(offset, 2.0 ** max(math.frexp(far)[1], -1000))

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Numbers in these units, in float64."""
        return (x - self.offset) / self.unit

    def beyond(self, x: np.ndarray) -> float | None:
        """The number of x (n,) that lies farthest off, if that is too far for float32."""
        low, high = float(np.fmin.reduce(x)), float(np.fmax.reduce(x))
        far = high if high - self.offset > self.offset - low else low
        return far if abs(far - self.offset) > FARTHEST * self.unit else None


AS_THEY_ARE = Units()


@dataclass(frozen=True)
class Covariate:
    """One covariate column.

    Args:
        name: the column.
        role: ``"past"``, ``"known"`` or ``"static"``.
        categories: the known labels, sorted; category i has code i + 1, anything else code 0.
            None for a numeric column.
        units: of a numeric column.
        gaps: whether rows of training lack a number; True where that was not looked at.
    """

    name: str
    role: str
    categories: tuple[Any, ...] | None = None
    units: Units = AS_THEY_ARE
    gaps: bool = True

    @property
    def missing(self) -> float:
        """What stands where there is no value: NaN, or the code 0."""
        return np.nan if self.categories is None else 0.0

    def lacks(self, values: np.ndarray) -> np.ndarray:
        """Where coded values (n,) are missing, or of an unknown category."""
        return np.isnan(values) if self.categories is None else values == 0


@dataclass(frozen=True)
class Smoothing:
    """How series are smoothed before a model sees them; see `hierforecast.windows.history`.

    Args:
        seasons: steps of each season.
        shifts: of each target, in its own units: demand above it grows by factors, below it by
            amounts. Empty where a target is below zero: they are smoothed as they are.
        steps: of each target, the usual change from step to step, as it is smoothed.
        growth: of each target, usual errors of the H steps forecast, in such changes.
        scores: of each target, how settings usually do, see `Usual`; empty: all alike.
    """

    seasons: tuple[int, ...] = ()
    shifts: tuple[float, ...] = ()
    steps: tuple[float, ...] = ()
    growth: tuple[tuple[float, ...], ...] = ()
    scores: tuple[tuple[float, ...], ...] = ()

    def check(self, n_targets: int) -> None:
        """Refuse what was not learned from a frame of so many targets.

        Raises:
            ValueError: naming it.
        """
        steps = self.steps
        counts = {"steps": steps, "growth": self.growth, "shifts": self.shifts or steps}
        for name, values in {**counts, "scores": self.scores or steps}.items():
            if len(values) != n_targets:
                raise ValueError(f"smoothing has {name} of {len(values)} targets, not {n_targets}")
        if len(horizons := {len(each) for each in self.growth}) != 1:
            raise ValueError(f"smoothing has growth of horizons {sorted(horizons)}")
        sizes = (*self.shifts, *self.steps, *(x for each in self.growth for x in each))
        if not all(x > 0 for x in sizes) or not all(season > 1 for season in self.seasons):
            raise ValueError("smoothing has sizes that are not above zero, or seasons below 2")
        if not {len(each) for each in self.scores} <= {n_settings(self.seasons)}:
            raise ValueError("smoothing has scores of other settings than there are")
        if not all(math.isfinite(x) for each in self.scores for x in each):
            raise ValueError("smoothing has scores that are no numbers")

    def usual(self, target: int) -> Usual:
        """What series of a target usually do."""
        usual = Usual(self.steps[target], np.array(self.growth[target]))
        return usual._replace(scores=np.array(self.scores[target])) if self.scores else usual

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Smoothing:
        """Inverse of `dataclasses.asdict`, from JSON."""
        plain = {name: tuple(given[name]) for name in ("seasons", "shifts", "steps")}
        growth, scores = (tuple(map(tuple, given.get(name, ()))) for name in ("growth", "scores"))
        return cls(**plain, growth=growth, scores=scores)


@dataclass(frozen=True)
class Vocabulary:
    """What was learned from the training frame: covariates, categories, types, units, calendar.

    Args:
        covariates: in the order past, known, static, and within a role as in `Columns`.
        types: labels of `Columns.group_type`, sorted; empty without that column.
        targets: units of each target; empty (they are taken as they are) before version 0.3.
        calendar: names of features of the calendar, see `learn_calendar`.
        smoothing: for models that ask for it.
    """

    covariates: tuple[Covariate, ...] = ()
    types: tuple[Any, ...] = ()
    targets: tuple[Units, ...] = ()
    calendar: tuple[str, ...] = ()
    smoothing: Smoothing | None = None

    def of(self, role: str) -> tuple[Covariate, ...]:
        """The covariates of one role: ``"past"``, ``"known"`` or ``"static"``."""
        return tuple(c for c in self.covariates if c.role == role)

    def sizes(self) -> dict[str, Any]:
        """What a network must be built for: categories of each covariate, and group types."""
        sizes: dict[str, Any] = {"n_types": max(1, len(self.types))}
        for role in ("past", "known", "static"):
            categories = (c.categories for c in self.of(role))
            sizes[role] = tuple(None if known is None else len(known) for known in categories)
        return sizes

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, ready for JSON."""
        covariates = [
            {**asdict(c), "categories": None if c.categories is None else list(c.categories)}
            for c in self.covariates
        ]
        for covariate in covariates:
            if covariate["gaps"]:  # as of earlier versions, which did not look
                del covariate["gaps"]
        targets = [asdict(units) for units in self.targets]
        plain = {"covariates": covariates, "types": list(self.types), "targets": targets}
        if self.calendar:
            plain["calendar"] = list(self.calendar)
        return plain if self.smoothing is None else {**plain, "smoothing": asdict(self.smoothing)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Vocabulary:
        """Inverse of `to_dict`."""
        covariates = tuple(
            Covariate(
                c["name"],
                c["role"],
                None if (k := c["categories"]) is None else tuple(k),
                Units(**c.get("units", {})),
                bool(c.get("gaps", True)),
            )
            for c in given["covariates"]
        )
        targets = tuple(Units(**units) for units in given.get("targets", ()))
        calendar = tuple(given.get("calendar", ()))
        smoothing = given.get("smoothing")
        if smoothing is not None:
            smoothing = Smoothing.from_dict(smoothing)
        return cls(covariates, tuple(given["types"]), targets, calendar, smoothing)
