"""Joint distributions of cells that are a monotone function of those of another one."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from hierforecast._random import seeded
from hierforecast.distributions.atoms import Atoms
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.checks import check_finite
from hierforecast.distributions.precision import promote
from hierforecast.distributions.quadrature import components, normal_nodes, parts, precise
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.totals import Totals
from hierforecast.distributions.warps import Warp

# Terms of Mehler's series.
_TERMS = 48
# Cells up to which the variance of a total is that of the dense covariance; draws beyond.
_DENSE, _DRAWS = 4_096, 2_000


class Warped(SceneDistribution):
    """The joint distribution of y, where z = warp(y) of each cell has that of the base.

    Density, margins, quantiles and conditioning are those of the base in closed form. Totals are
    those of joint draws, so that all levels are coherent.

    Where several z give one y (zeros of `Log` and `Root`, counts), y has a probability of its own
    instead of a density: ``cdf`` and quantiles are exact, and so is ``log_prob`` of a scene with
    one such cell. With several, ``log_prob`` is that of the z that `Atoms.place` chooses: its exp
    has the joint probability as its mean over uniform places, its mean is below the log of that.
    All places are .5 unless `placed` draws them. A joint density is still that of some cells times
    that of the others given these, at the same places.

    Args:
        base: of z, any family; the mean and covariance have closed forms if its cells are normal
            or mixtures of normals of several scales; the mean and variance are found by quadrature
            otherwise.
        warp: its parameters can be broadcast to (P, H, D).
        validate_args: check values (not only shapes); None: as `SceneDistribution`.
        known: (P, H, D) values of cells that are certain, NaN for the others; None for none.
        atoms: what atoms stand for; by the base's own margins if None.

    Raises:
        ValueError: if a parameter of the warp is not finite or cannot be broadcast.
    """

    def __init__(
        self,
        base: SceneDistribution,
        warp: Warp,
        validate_args: bool | None = None,
        known: Tensor | None = None,
        atoms: Atoms | None = None,
    ) -> None:
        self.base, self.known = base, known
        self.warp = warp.change(lambda x: promote(x)[0])
        _, steps, targets = base.event_shape
        super().__init__(base.scene, base.n_scenes, steps, targets, validate_args)
        self.has_rsample = base.has_rsample and not warp.has_atoms
        self.has_conditionals = base.has_conditionals
        self.warp.change(self._checked)
        if atoms is None and warp.has_atoms:
            atoms = Atoms(base.mean, base.stddev, torch.full_like(base.mean, 0.5))
        self.atoms = atoms

    def _checked(self, parameter: Tensor) -> Tensor:
        try:
            parameter.expand(self.event_shape)
        except RuntimeError:
            raise ValueError(
                f"parameters of the warp must broadcast to (P, H, D) = {tuple(self.event_shape)}, "
                f"got {tuple(parameter.shape)}"
            ) from None
        if self._validate_args:
            check_finite("a parameter of the warp", parameter)
        return parameter

    def _with(self, base: SceneDistribution, warp: Warp, known: Tensor | None) -> Warped:
        return Warped(base, warp, self._validate_args, known, self.atoms)

    def placed(self, generator: torch.Generator | None = None) -> Warped:
        """The same with places of atoms drawn anew, for an unbiased `log_prob`; see `Atoms`."""
        if self.atoms is None:
            return self
        place = torch.rand(self.event_shape, generator=generator, dtype=torch.float64)
        atoms = Atoms(self.atoms.center, self.atoms.width, place.to(self.atoms.center))
        return Warped(self.base, self.warp, self._validate_args, self.known, atoms)

    @property
    def mean(self) -> Tensor:
        """(P, H, D); see `Warp.moments`."""
        return self._overlaid(self._moments[0])

    @property
    def variance(self) -> Tensor:
        """(P, H, D)."""
        variance = self._moments[1]
        return variance if self.known is None else torch.where(self.known.isnan(), variance, 0)

    @property
    def _moments(self) -> tuple[Tensor, Tensor]:
        return self.warp.moments(self.base) if torch.is_grad_enabled() else self._once

    @cached_property  # without gradients only
    def _once(self) -> tuple[Tensor, Tensor]:
        return self.warp.moments(self.base)

    def _overlaid(self, x: Tensor) -> Tensor:
        """(*s, P, H, D) with the values of certain cells put in."""
        return x if self.known is None else torch.where(self.known.isnan(), x, self.known.to(x))

    def _turned(self) -> Tensor:
        """Where y falls as z rises: bool, broadcastable to (P, H, D)."""
        return torch.as_tensor(self.warp.unit) < 0

    def _draw(self, shape: torch.Size) -> Tensor:
        return self._overlaid(self.warp.from_base(self.base._draw(shape)))

    def _latent(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Z of the seen cells, and their log slopes; 0 of the others."""
        warp = self.warp
        # Of cells that are not seen any value will do that has a finite slope.
        value = torch.where(seen, value, warp.at + warp.unit)
        z, slope = warp.to_base(value), warp.log_slope(value)
        if self.atoms is not None:
            here = warp.atom(value)
            # Of other cells any interval will do; one of the reference has finite gradients.
            middle = self.atoms.center.detach()
            low = torch.where(here, warp.lower(value), middle - 1)
            high = torch.where(here, warp.upper(value), middle)
            within, log_share = self.atoms.change(precise).latent(precise(low), precise(high))
            z = torch.where(here, within.to(z), z)
            slope = torch.where(here, log_share.to(z), slope)
        outside = slope == -torch.inf
        z = torch.where(seen & ~outside, z, 0)
        return z, torch.where(seen, slope, 0)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        seen = seen if self.known is None else seen & self.known.isnan()
        z, slope = self._latent(value, seen)
        volume = self._sum_by_scene(slope.sum((-2, -1)).movedim(-1, 0)).movedim(0, -1)
        return self.base._log_prob(z, seen) + volume

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        seen = seen if self.known is None else seen & self.known.isnan()
        z, slope = self._latent(value, seen)
        return self.base._conditional_log_prob(z, seen) + slope.sum(-1)

    def _condition(self, value: Tensor, seen: Tensor) -> Warped:
        fresh = seen if self.known is None else seen & self.known.isnan()
        z, _ = self._latent(value, fresh)
        known = torch.where(seen, value, torch.nan if self.known is None else self.known)
        return self._with(self.base._condition(z, fresh), self.warp, known)

    def _quantile(self, level: Tensor) -> Tensor:
        z, turned = self.base._quantile(level), self._turned()
        if bool(turned.any()):
            z = torch.where(turned, self.base._quantile(1 - level), z)
        return self._overlaid(self.warp.from_base(z))

    def _cdf(self, value: Tensor) -> Tensor:
        below, turned = self.base._cdf(self.warp.upper(value)), self._turned()
        if bool(turned.any()):
            below = torch.where(turned, 1 - self.base._cdf(self.warp.lower(value)), below)
        if self.known is None:
            return below
        return torch.where(self.known.isnan(), below, (value >= self.known).to(below))

    def _affine(self, loc: Tensor, scale: Tensor) -> Warped:
        known = None if self.known is None else loc + scale * self.known
        return self._with(self.base, self.warp.affine(loc, scale), known)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        return Totals(self, sums)

    def _total_variance(self, sums: Sums) -> Tensor:
        """From the dense covariance, where that has a size for it; else that of seeded draws."""
        cells = self.event_shape[1:].numel()
        if components(self.base) is None or int(sums.total.bincount().max()) * cells > _DENSE:
            return sums.add(self.sample((_DRAWS,), generator=seeded(0)), axis=-3).var(0)
        total = self.variance.new_zeros(sums.count, *self.event_shape[1:])
        for which in range(sums.count):
            own = sums.total == which
            rows, weight = sums.row[own], sums.weight[own].to(total)
            part = self.rows(rows)
            blocks = part.covariance(int(self.scene[rows[0]]))
            like = blocks.view(len(rows), total[0].numel(), len(rows), -1).diagonal(0, 1, 3)
            total[which] = torch.einsum("i,ijc,j->c", weight, like, weight).view(total[0].shape)
        return total

    def rows(self, index: Tensor) -> Warped:
        """As `SceneDistribution.rows`."""
        known = None if self.known is None else self.known[index]
        atoms = None if self.atoms is None else self.atoms.change(lambda x: x[index])
        parts = self.base.rows(index), self.warp.rows(index)
        return Warped(*parts, self._validate_args, known, atoms)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`, of normals and of scale mixtures: by Mehler's series.

        cov(f(z), g(z')) = sum_k f_k g_k rho^k, f_k the coefficients in orthonormal Hermite
        polynomials: to 1e-10 of the variances for smooth maps, to 5e-6 for `LimitedSinh`,
        `Damped` and `Ceiling`, to .005 with zeros or counts.
        """
        normals = components(self.base)
        if normals is None:
            raise NotImplementedError(
                f"Warped has no covariance over a {type(self.base).__name__}: use draws"
            )
        rows = self._rows_of(scene_index)
        std = precise(self.base.stddev[rows].flatten())
        rho = precise(self.base.covariance(scene_index)) / self._positive(std[:, None] * std)
        part, mean = parts(self.base)[rows].flatten(), self.mean[rows]
        own = self.variance[rows].flatten().to(std)
        each = torch.stack(
            [
                self._coefficients(
                    rows, mean, *(precise(x.expand(self.event_shape)[rows]) for x in one)
                )
                for one in normals
            ],
            1,
        )
        # Two cells have a component in common only if they are of one part.
        power, total = (part[:, None] == part).to(rho), torch.zeros_like(rho)
        for coefficient in each:
            total = total + power * (coefficient.mT @ coefficient)
            power = power * rho
        free = own > 0
        total = torch.where(free[:, None] & free, total, 0)
        return (total - total.diag().diag() + own.diag()).to(self.base.mean)

    def _coefficients(
        self, rows: Tensor, mean: Tensor, weight: Tensor, loc: Tensor, square: Tensor
    ) -> Tensor:
        """Hermite coefficients (K, n * H * D) of y, less its mean, in a component (n, H, D) of z.

        Times the root of its weight.
        """
        x, measure = (a.to(loc) for a in normal_nodes())
        z = (loc + square.sqrt() * x[:, None, None, None]).to(self.base.mean)
        value = (self.warp.rows(rows).from_base(z) - mean).flatten(1).to(loc)
        basis = [torch.zeros_like(x), torch.ones_like(x)]
        for k in range(_TERMS - 1):
            basis.append((x * basis[-1] - k**0.5 * basis[-2]) / (k + 1) ** 0.5)
        return (torch.stack(basis[1:]) * measure) @ value * weight.flatten().sqrt()

    @staticmethod
    def _positive(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 1)

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`, from the dense covariance."""
        rows = self._rows_of(scene_index)
        cells = self.event_shape[1:].numel()
        blocks = self.covariance(scene_index).view(len(rows), cells, len(rows), cells)
        like = blocks.diagonal(0, 1, 3).sum(-1)
        return like / (like.diag()[:, None] * like.diag()).sqrt()
