"""Noise of all cells of a row together: what is left of a row once some of its cells are known."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from hierforecast.distributions.noise import DenseNoise, RowNoise
from hierforecast.distributions.sums import Sums


class WholeNoise(RowNoise):
    """Errors of any covariance over all steps and targets of a row.

    The cells of a row are seen as the steps of one target.

    Args:
        flat: noise over (P, H * D, 1).
        targets: D.
    """

    def __init__(self, flat: RowNoise, targets: int) -> None:
        self.flat, self.targets = flat, targets

    @classmethod
    def of(cls, root: Tensor, targets: int) -> WholeNoise:
        """From lower triangular roots (P, H * D, H * D) of the covariance of each row."""
        return cls(DenseNoise(root[:, None]), targets)

    def _apart(self, x: Tensor) -> Tensor:
        """(P, H * D, 1, ...) -> (P, H, D, ...)."""
        return x.squeeze(2).unflatten(1, (-1, self.targets))

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """See `RowNoise`."""
        return self._apart(self.flat.scale)

    @property
    def known(self) -> Tensor | None:  # type: ignore[override]
        """See `RowNoise`."""
        return None if self.flat.known is None else self._apart(self.flat.known)

    def carry(self, shocks: Tensor) -> Tensor:
        """See `RowNoise`: loads are given as errors already."""
        return shocks

    def draw(self, shocks: Tensor, white: Tensor) -> Tensor:
        """See `RowNoise`."""
        drawn = self.flat.draw(*(x.flatten(-2).unsqueeze(-1) for x in (shocks, white)))
        return drawn.reshape(white.shape)

    def whiten(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowNoise`."""
        white, volume = self.flat.whiten(*(_together(x) for x in (shocks, errors, seen)))
        return self._apart(white), volume

    @property
    def variance(self) -> Tensor:
        """See `RowNoise`."""
        return self._apart(self.flat.variance)

    @property
    def dense(self) -> Tensor:
        """See `RowNoise`."""
        return self.flat.dense

    def change(self, parameter: Callable[[Tensor], Tensor]) -> WholeNoise:
        """See `RowNoise`."""
        return WholeNoise(self.flat.change(parameter), self.targets)

    def times(self, factor: Tensor) -> WholeNoise:
        """See `RowNoise`."""
        factor = factor.expand(self.scale.shape)
        return WholeNoise(self.flat.times(_together(factor)), self.targets)

    def total(self, sums: Sums) -> WholeNoise:
        """See `RowNoise`."""
        return WholeNoise(self.flat.total(sums), self.targets)

    def given(self, known: Tensor) -> tuple[RowNoise, Callable[[Tensor], Tensor]]:
        """See `RowNoise`."""
        left, predict = self.flat.given(_together(known))
        return WholeNoise(left, self.targets), lambda x: self._apart(predict(_together(x)))


def _together(x: Tensor) -> Tensor:
    """(P, H, D, ...) -> (P, H * D, 1, ...)."""
    return x.flatten(1, 2).unsqueeze(2)
