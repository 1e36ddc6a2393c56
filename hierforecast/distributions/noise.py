"""Errors of a row that no latent explains: independent over rows and targets, normal along time.

A `RowNoise` says how the errors of one row's steps depend on one another. What the latents of a
`LowRankNormal` add goes through the same dependence: a shock to a step carries on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from hierforecast._waiting import at_hand
from hierforecast.distributions.roots import cholesky, solve
from hierforecast.distributions.sums import Sums


class RowNoise(ABC):
    """Normal errors of rows: x = T (u + S e), e ~ N(0, I) for each cell, u what latents add.

    T is unit lower triangular along the steps of a row and target, S a positive diagonal. Loads of
    latents are given where u stands ("shocks"), values where x stands ("errors").

    Attributes:
        scale: (P, H, D), > 0, the diagonal of S.
        known: (P, H, D) bool, cells that are certain, None if none is: they have no density, and
            their errors are zero.
    """

    scale: Tensor
    known: Tensor | None = None

    def uncertain(self, seen: Tensor) -> Tensor:
        """Of cells (P, H, D) those that are not certain, which have a density."""
        return seen if self.known is None else seen & ~self.known

    @abstractmethod
    def carry(self, shocks: Tensor) -> Tensor:
        """Shocks (P, H, D, C) to errors: T u."""

    @abstractmethod
    def draw(self, shocks: Tensor, white: Tensor) -> Tensor:
        """Errors (*s, P, H, D) of what latents add and of standard normal numbers, both so."""

    @abstractmethod
    def whiten(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Columns in which the seen errors of noise alone are independent and standard normal.

        Args:
            shocks: (P, H, D, R), loads of latents.
            errors: (P, H, D, S), where seen.
            seen: (P, H, D) bool.

        Returns:
            (P, H, D, R + S), zero in cells that are not seen, and the log determinant (P,) of what
            they were divided by.
        """

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """(P, H, D), of the noise alone."""

    @property
    @abstractmethod
    def dense(self) -> Tensor:
        """(P, H * D, H * D), the covariance of all cells of a row, of the noise alone."""

    @abstractmethod
    def change(self, parameter: Callable[[Tensor], Tensor]) -> RowNoise:
        """The same with every tensor changed, whose first axes are (P, H, D): cast or indexed."""

    @abstractmethod
    def times(self, factor: Tensor) -> RowNoise:
        """That of errors times a factor (P, H, D), not zero."""

    @abstractmethod
    def total(self, sums: Sums) -> RowNoise:
        """That of weighted sums of rows."""

    @abstractmethod
    def given(self, known: Tensor) -> tuple[RowNoise, Callable[[Tensor], Tensor]]:
        """The noise that is left once some errors are known, and their regression.

        Args:
            known: (P, H, D) bool.

        Returns:
            The noise of the others, and a function of errors (P, H, D, C) that predicts all cells
            from the known ones; those that are known it hands back.
        """


class TargetNoise(RowNoise):
    """Noise whose targets are independent: T is of each target by itself.

    Attributes:
        root: (P, D, H, H), lower triangular root of the covariance of the noise alone.
    """

    root: Tensor

    @property
    def covariance(self) -> Tensor:
        """(P, D, H, H), of the noise alone."""
        return self.root @ self.root.mT

    @property
    def dense(self) -> Tensor:
        """See `RowNoise`."""
        covariance = self.covariance
        eye = torch.eye(covariance.shape[1], dtype=covariance.dtype, device=covariance.device)
        return torch.einsum("pdij,de->pidje", covariance, eye).flatten(3).flatten(1, 2)

    def back(self, weights: Tensor) -> Tensor:
        """The transpose of the root of the noise alone, times weights (P, H, D, C)."""
        return torch.einsum("pdhs,phdc->psdc", self.root, weights)

    def total(self, sums: Sums) -> RowNoise:
        """See `RowNoise`."""
        covariance = sums.add(self.covariance, power=2)
        free = covariance.diagonal(dim1=-2, dim2=-1) > 0
        root = torch.where(free[..., None], _root(covariance, free), 0)
        return DenseNoise(root, None if self.known is None else ~free.movedim(1, 2))

    def given(self, known: Tensor) -> tuple[RowNoise, Callable[[Tensor], Tensor]]:
        """See `RowNoise`.

        What is known of a row without gaps before it says which its first shocks were, and the
        others are as they were; of other rows the covariances are inverted.
        """
        every = known if self.known is None else known | self.known
        cells = (known if self.known is None else known & ~self.known).movedim(1, 2)  # (P, D, H)
        free = ~every.movedim(1, 2)
        root = self.root
        later = (free.cumsum(-1).bool() & cells).flatten(1).any(1)
        if not at_hand(known) or bool(later.all()):
            gain, rest = _regression(self.covariance, cells, free)
        else:
            first = _among(cells, root)
            gain = torch.linalg.solve_triangular(
                first, torch.where(cells[..., None, :], root, 0), upper=False, left=False
            )
            rest = torch.where(free[..., None] & free[..., None, :], root, 0)
            if bool(later.any()):
                some = root[later] @ root[later].mT, cells[later], free[later]
                gain, rest = (
                    x.index_put((later,), y)
                    for x, y in zip((gain, rest), _regression(*some), strict=True)
                )

        def predict(errors: Tensor) -> Tensor:
            columns = torch.where(known[..., None], errors, 0).movedim(1, 2)  # (P, D, H, C)
            return torch.where(known[..., None], errors, (gain @ columns).movedim(2, 1))

        return DenseNoise(rest, every), predict


class DiagonalNoise(TargetNoise):
    """Independent errors.

    Args:
        scale: (P, H, D), > 0.
        known: see `RowNoise`.
    """

    def __init__(self, scale: Tensor, known: Tensor | None = None) -> None:
        self.scale, self.known = scale, known

    def carry(self, shocks: Tensor) -> Tensor:
        """See `RowNoise`: they stay where they are."""
        return shocks

    def draw(self, shocks: Tensor, white: Tensor) -> Tensor:
        """See `RowNoise`."""
        noise = self.scale * white
        return shocks + (noise if self.known is None else torch.where(self.known, 0, noise))

    def whiten(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowNoise`."""
        return divide(torch.cat([shocks, errors], -1), self.scale, seen)

    @property
    def variance(self) -> Tensor:
        """See `RowNoise`."""
        square = self.scale.square()
        return square if self.known is None else torch.where(self.known, 0, square)

    @property
    def root(self) -> Tensor:  # type: ignore[override]
        """See `TargetNoise`."""
        return self.variance.sqrt().movedim(1, 2).diag_embed()

    def change(self, parameter: Callable[[Tensor], Tensor]) -> DiagonalNoise:
        """See `RowNoise`."""
        return DiagonalNoise(parameter(self.scale), _changed(self.known, parameter))

    def times(self, factor: Tensor) -> DiagonalNoise:
        """See `RowNoise`."""
        return DiagonalNoise(factor.abs() * self.scale, self.known)

    def total(self, sums: Sums) -> DiagonalNoise:
        """See `RowNoise`."""
        scale = sums.add(self.variance, power=2).sqrt()
        return DiagonalNoise(scale, None if self.known is None else scale == 0)

    def given(self, known: Tensor) -> tuple[RowNoise, Callable[[Tensor], Tensor]]:
        """See `RowNoise`: nothing is learned of the others."""
        both = known if self.known is None else known | self.known
        return DiagonalNoise(self.scale, both), lambda x: torch.where(known[..., None], x, 0)


class DenseNoise(TargetNoise):
    """Errors of any covariance along the steps of a row: what is left of others once some is known.

    Args:
        root: (P, D, H, H), lower triangular root of the covariance.
        known: see `RowNoise`.
    """

    def __init__(self, root: Tensor, known: Tensor | None = None) -> None:
        self.root, self.known = root, known

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """See `RowNoise`."""
        return self.root.diagonal(dim1=-2, dim2=-1).movedim(1, 2)

    def carry(self, shocks: Tensor) -> Tensor:
        """See `RowNoise`: loads are given as errors already."""
        return shocks

    def draw(self, shocks: Tensor, white: Tensor) -> Tensor:
        """See `RowNoise`."""
        return shocks + torch.einsum("pdhk,...pkd->...phd", self.root, white)

    def whiten(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowNoise`."""
        return whiten_cells(self.covariance, torch.cat([shocks, errors], -1), seen)

    @property
    def variance(self) -> Tensor:
        """See `RowNoise`."""
        return self.root.square().sum(-1).movedim(1, 2)

    def change(self, parameter: Callable[[Tensor], Tensor]) -> DenseNoise:
        """See `RowNoise`."""
        root = parameter(self.root.movedim(1, 2)).movedim(1, 2)
        return DenseNoise(root, _changed(self.known, parameter))

    def times(self, factor: Tensor) -> DenseNoise:
        """See `RowNoise`."""
        factor = factor.expand(len(self.root), -1, self.root.shape[1])
        root = factor.movedim(1, 2)[..., None] * self.root
        return DenseNoise(root * root.diagonal(dim1=-2, dim2=-1).sign()[..., None, :], self.known)


def to_dtype(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A cast that leaves masks as they are."""
    return lambda x: x if x.dtype == torch.bool else x.to(dtype)


def divide(columns: Tensor, scale: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Columns (P, H, D, C) over a scale, zero where nothing is seen, and its log volume (P,)."""
    weight = torch.where(seen, 1 / scale, 0)[..., None]
    return columns * weight, torch.where(seen, scale.log(), 0).sum((1, 2))


def whiten_cells(covariance: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Errors (P, H, D, C) of a covariance (P, D, H, H), as `RowNoise.whiten` gives them."""
    root = _root(covariance, seen.movedim(1, 2))
    columns = torch.where(seen[..., None], errors, 0).movedim(1, 2)
    white = torch.linalg.solve_triangular(root, columns, upper=False).movedim(2, 1)
    return white, root.diagonal(dim1=-2, dim2=-1).log().sum((1, 2))


def _root(covariance: Tensor, cells: Tensor) -> Tensor:
    """Cholesky factor of a covariance (..., H, H) of some cells (..., H), one for the others."""
    return cholesky(_among(cells, covariance))


def _among(cells: Tensor, matrix: Tensor) -> Tensor:
    """A matrix (..., H, H) of some cells (..., H), and one on the diagonal of the others."""
    eye = torch.eye(cells.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return torch.where(cells[..., None] & cells[..., None, :], matrix, eye)


def _regression(covariance: Tensor, known: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """By what known cells (..., H) predict all, and the root of what is left of the free ones."""
    across = torch.where(known[..., None, :], covariance, 0)  # of all with the known
    gain = solve(across.mT, _root(covariance, known)).mT
    rest = _root(covariance - gain @ across.mT, free)
    return gain, torch.where(free[..., None], rest, 0)


def _changed(known: Tensor | None, parameter: Callable[[Tensor], Tensor]) -> Tensor | None:
    return None if known is None else parameter(known)
