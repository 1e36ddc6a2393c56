"""A mixture of several joint futures, with one distribution of the errors around each."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.checks import check_finite
from hierforecast.distributions.conditionals import mixed
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.precision import promote
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.totals import coherent

# Halvings of the bracket around a quantile: what is left is a rounding error.
_HALVINGS = 50


class ModeMixture(SceneDistribution):
    """Mixture of K joint Gaussians that differ in their loc only.

    For the values Y of a scene, all of its rows together,

        p(Y) = sum_k pi_k N(Y; mode_k, Sigma),    log pi = log_softmax(logits of the scene),

    with one covariance Sigma for all modes: that of `noise`. A mode is one future of everybody, so
    rows depend on one another through the mode that comes and through Sigma. The likelihood takes
    one factorisation of Sigma, whatever K is.

    Args:
        locs: (K, P, H, D), the modes, in any order.
        logits: (B, K), log weights of the modes of each scene, up to a constant.
        noise: the distribution of the errors around a mode; its own loc is added to every mode.
        validate_args: check values (not only shapes); None: as `SceneDistribution`.

    Raises:
        ValueError: if shapes do not fit, or a parameter is not finite.
    """

    def __init__(
        self,
        locs: Tensor,
        logits: Tensor,
        noise: LowRankNormal,
        validate_args: bool | None = None,
    ) -> None:
        steps, targets = noise.event_shape[1:]
        super().__init__(noise.scene, noise.n_scenes, steps, targets, validate_args)
        self.locs, self.logits, _ = promote(locs, logits, noise.loc)
        self.noise = noise
        count = len(locs) if locs.ndim == 4 else 0
        if not count or locs.shape[1:] != self.event_shape:
            raise ValueError(
                f"locs must be (K, P, H, D) = (K, {', '.join(map(str, self.event_shape))}) "
                f"with a mode at least, got {tuple(locs.shape)}"
            )
        if logits.shape != (self.n_scenes, count):
            raise ValueError(
                f"logits must be (B, K) = {(self.n_scenes, count)}, got {tuple(logits.shape)}"
            )
        if self._validate_args:
            check_finite("locs", self.locs)
            check_finite("logits", self.logits)

    @property
    def modes(self) -> Tensor:
        """(K, P, H, D): the K joint futures, each scene's most probable one first."""
        order = self.logits.argsort(dim=-1, descending=True, stable=True).mT[:, self.scene]
        return self._centers.gather(0, order[..., None, None].expand_as(self.locs))

    @property
    def mode_weights(self) -> Tensor:
        """(B, K), the probabilities of `modes`: falling along K, of sum 1."""
        return self.logits.softmax(-1).sort(dim=-1, descending=True, stable=True).values

    @property
    def mean(self) -> Tensor:
        """(P, H, D): the modes, weighed by their probabilities."""
        return self._certain((self._row_weights * self._centers).sum(0))

    @property
    def variance(self) -> Tensor:
        """(P, H, D): around the modes, and between them."""
        between = (self._row_weights * (self._centers - self.mean).square()).sum(0)
        known = self.noise.noise.known
        return self.noise.variance + (between if known is None else torch.where(known, 0, between))

    def _certain(self, x: Tensor) -> Tensor:
        """Values (*s, P, H, D), those of cells that are certain put in: there all modes agree."""
        known = self.noise.noise.known
        return x if known is None else torch.where(known, self._centers[0].to(x), x)

    @property
    def _centers(self) -> Tensor:
        """(K, P, H, D): where the modes lie, the loc of the noise included."""
        return self.locs + self.noise.loc

    @property
    def _row_weights(self) -> Tensor:
        """(K, P, 1, 1): the weights of its scene for each row."""
        return self.logits.softmax(-1).mT[:, self.scene, None, None]

    def _draw(self, shape: torch.Size) -> Tensor:
        """A mode for each scene and draw, and errors around it."""
        edges = self.logits.softmax(-1).cumsum(-1)
        dart = self._darts(shape, edges)
        chosen = (dart > edges).sum(-1).clamp(max=len(self.locs) - 1)
        rows = torch.arange(len(self.scene), device=self.scene.device)
        return self.locs[chosen[..., self.scene], rows] + self.noise._draw(shape)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        work = torch.float32 if value.is_mps else torch.float64  # mps has no float64
        residual = value.to(work).unsqueeze(-4) - self.locs.to(work)
        each = self._joint(residual, seen)
        # The weights sum to one but for rounding; of nothing observed, the density is one.
        observed = self._sum_by_scene(seen.any(-1).any(-1).to(work)) > 0
        out = torch.promote_types(value.dtype, self.locs.dtype)
        return torch.where(observed, each.logsumexp(-2), 0).to(out)

    def _joint(self, residual: Tensor, seen: Tensor) -> Tensor:
        """Log density (*s, K, B) of a mode and of what is left of the values (*s, K, P, H, D)."""
        each = self.noise._log_prob(residual, seen)
        return each + self.logits.to(residual).log_softmax(-1).mT

    has_conditionals = True

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        residual, seen = value - self.locs, self.noise.noise.uncertain(seen)
        steps = self.noise.given_others(residual, seen).steps(seen)
        return mixed(self._joint(residual, seen)[:, self.scene].to(steps), steps)

    def _condition(self, value: Tensor, seen: Tensor) -> ModeMixture:
        residual = value - self.locs
        moved, left = self.noise._given(residual, seen)
        logits = self._joint(residual, seen).mT.to(self.logits)
        # What the noise's own loc adds comes off where the value is known.
        locs = torch.where(seen, value, self.locs + moved)
        noise = self.noise._with(torch.where(seen, 0, self.noise.loc), *left)
        return ModeMixture(locs, logits, noise, self._validate_args)

    def entangled(self, sums: Sums) -> bool:
        """As `SceneDistribution.entangled`."""
        return self.noise.entangled(sums)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        noise = self.noise.totals(sums)
        modes = sums.add(self.locs, axis=1)
        return coherent(self, sums, ModeMixture(modes, self.logits, noise, self._validate_args))

    @torch.no_grad()
    def _quantile(self, level: Tensor) -> Tensor:
        """By bisection: the quantile lies between those of the lowest and the highest mode."""
        work = torch.float32 if self.locs.is_mps else torch.float64
        at, weights = self._centers.to(work), self._row_weights.to(work)
        stddev = self.noise.stddev.to(work)
        level = level.to(at)
        away = stddev * torch.special.ndtri(level)
        low, high = at.amin(0) + away, at.amax(0) + away
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            short = _below(middle, at, weights, stddev) < level
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        return self._certain(0.5 * (low + high)).to(self.locs)

    def _cdf(self, value: Tensor) -> Tensor:
        return _below(value, self._centers, self._row_weights, self.noise.stddev)

    def _affine(self, loc: Tensor, scale: Tensor) -> ModeMixture:
        noise = self.noise._affine(torch.zeros_like(loc), scale)
        moved = loc + scale * self.locs
        return ModeMixture(moved, self.logits, noise, self._validate_args)

    def rows(self, index: Tensor) -> ModeMixture:
        """As `SceneDistribution.rows`."""
        kept = self.locs[:, index]
        return ModeMixture(kept, self.logits, self.noise.rows(index), self._validate_args)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`."""
        apart = self._apart(scene_index).flatten(1)
        return self.noise.covariance(scene_index) + apart.mT @ apart

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`, without the dense covariance."""
        rows, apart = self._rows_of(scene_index), self._apart(scene_index).flatten(2)
        own = self.variance[rows].flatten(1).sum(1)
        across = self.noise.common(rows) + torch.einsum("kic,kjc->ij", apart, apart)
        across = across / (own[:, None] * own).sqrt()
        return across - across.diag().diag() + torch.ones_like(own).diag()

    def _apart(self, scene_index: int) -> Tensor:
        """(K, n, H, D): the modes of a scene less their mean, times the roots of their weights."""
        rows = self._rows_of(scene_index)
        weights = self._row_weights[:, rows]
        modes = self._centers[:, rows]
        return weights.sqrt() * (modes - (weights * modes).sum(0))


def _below(value: Tensor, modes: Tensor, weights: Tensor, stddev: Tensor) -> Tensor:
    """The distribution function of normals about modes (K, P, H, D) of weights (K, P, 1, 1)."""
    each = zip(modes, weights, strict=True)
    below: Tensor = sum(
        (weight * torch.special.ndtr((value - mode) / stddev) for mode, weight in each),
        start=torch.zeros_like(value),
    )
    return below
