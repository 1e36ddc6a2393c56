"""Where the numbers of training lay, so that float32 can hold what a model needs of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hierforecast.frame.columns import Covariate, Vocabulary
    from hierforecast.frame.panel import Panel

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


def learn_units(panel: Panel, end: np.ndarray) -> Vocabulary:
    """The vocabulary of a panel, with the units of its numbers.

    Args:
        panel: the training frame.
        end: (S,) only the first so many steps of each scene are looked at.
    """
    stop = np.minimum(end, panel.length)[panel.row_scene]
    edge = np.zeros(len(panel.present) + 1, dtype=np.int8)
    np.add.at(edge, panel.cell_offset, 1)
    np.add.at(edge, panel.cell_offset + stop, -1)
    cells = edge[:-1].cumsum(dtype=np.int8).astype(bool)
    places = {"past": cells, "known": cells, "static": stop > 0}
    counted: dict[str, int] = {}

    def with_units(covariate: Covariate) -> Covariate:
        role = covariate.role
        column = counted[role] = counted.get(role, -1) + 1
        if covariate.categories is not None:
            return covariate
        numbers = getattr(panel, role)[places[role], column]
        return replace(covariate, units=Units.of(numbers[~np.isnan(numbers)]))

    observed = panel.values[cells & panel.present]
    return replace(
        panel.vocabulary,
        covariates=tuple(map(with_units, panel.vocabulary.covariates)),
        targets=tuple(map(Units.of, observed.T)),
    )
