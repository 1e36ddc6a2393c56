"""A mixture of whole distributions, scene by scene, of whatever family these are."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast._random import scenes_of
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.checks import check_finite
from hierforecast.distributions.conditionals import mixed
from hierforecast.distributions.sums import Sums

# Halvings of the bracket around a quantile: what is left is a rounding error.
_HALVINGS = 50


class SceneMixture(SceneDistribution):
    """Each scene is a mixture of distributions of one family, as many as the scene needs.

    p(Y) = sum_v weight_v p_v(Y) over the views v of a scene, with Y the values of all its rows: a
    draw takes one view for the whole scene. A scene of one view has that view's distribution.

    Args:
        base: the views: each a scene of `base`, its rows those of the scene that it is a view of.
        scene_of: (V,) int64, the scene of each view; every scene has one at least.
        row_of: (rows of `base`,) int64, the row of the mixture that each row of `base` is.
        logits: (V,) log weights, up to a constant of the scene.
        scene: (P,) int64, the scene of each row.
        n_scenes: B.
        validate_args: check values (not only shapes); None: as `SceneDistribution`.

    Raises:
        ValueError: if the shapes do not fit.
    """

    def __init__(
        self,
        base: SceneDistribution,
        scene_of: Tensor,
        row_of: Tensor,
        logits: Tensor,
        scene: Tensor,
        n_scenes: int,
        validate_args: bool | None = None,
    ) -> None:
        rows, steps, targets = base.event_shape
        super().__init__(scene, n_scenes, steps, targets, validate_args)
        if not scene_of.shape == logits.shape == (base.n_scenes,) or row_of.shape != (rows,):
            raise ValueError(
                f"{base} needs scene_of and logits of shape ({base.n_scenes},) and row_of of shape "
                f"({rows},), got {tuple(scene_of.shape)}, {tuple(logits.shape)} and "
                f"{tuple(row_of.shape)}"
            )
        if self._validate_args:
            check_finite("logits", logits)
        self.base, self.scene_of, self.row_of, self.logits = base, scene_of, row_of, logits
        self.has_conditionals = base.has_conditionals
        # The views of a scene side by side: (B, most views of a scene), of weight zero beyond.
        order = scene_of.argsort(stable=True)
        count = torch.bincount(scene_of, minlength=self.n_scenes)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        place = place - (count.cumsum(0) - count)[scene_of]
        most = int(count.max()) if len(count) else 0
        work = torch.float32 if logits.is_mps else torch.float64  # mps has no float64
        beside = logits.new_full((self.n_scenes, most), -torch.inf, dtype=work)
        beside[scene_of, place] = logits.to(work)
        self.log_weights = beside.log_softmax(1)
        self._views = torch.zeros_like(beside, dtype=torch.int64)
        self._views[scene_of, place] = torch.arange(len(scene_of), device=order.device)
        at = place[base.scene]
        self._rows = torch.zeros(len(scene), most, dtype=torch.int64, device=order.device)
        self._rows[row_of[at == 0]] = (at == 0).nonzero()  # and beyond, the first view's
        self._rows[row_of, at] = torch.arange(rows, device=order.device)

    @property
    def likeliest(self) -> SceneDistribution:
        """Of each scene the view of the largest weight, in the family of the views."""
        best = self.log_weights.argmax(1)[self.scene]
        return self.base.rows(self._rows.gather(1, best[:, None])[:, 0])

    @property
    def _weights(self) -> Tensor:
        """(most views, P, 1, 1), of a row's scene."""
        return self.log_weights.exp().to(self.base.mean).mT[:, self.scene, None, None]

    def _each(self, x: Tensor) -> Tensor:
        """What the rows of `base` have (*s, rows, ...) -> (*s, most views, P, H, D)."""
        return x[..., self._rows.mT, :, :]

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        # From the first, so that a cell on which all agree is what they say, to the bit.
        each = self._each(self.base.mean)
        return each[0] + (self._weights * (each - each[0])).sum(0)

    @property
    def variance(self) -> Tensor:
        """(P, H, D): of the views, and between them."""
        between = (self._each(self.base.mean) - self.mean).square()
        return (self._weights * (self._each(self.base.variance) + between)).sum(0)

    def _draw(self, shape: torch.Size) -> Tensor:
        """A view for each scene and draw."""
        edges = self.log_weights.exp().cumsum(1)
        dart = self._darts(shape, edges)
        last = (self.log_weights > -torch.inf).sum(1) - 1
        chosen = torch.minimum((dart > edges).sum(-1), last)[..., self.scene]
        rows = self._rows.expand(*shape, *self._rows.shape).gather(-1, chosen[..., None])
        with scenes_of(self.scene_of):
            drawn = self.base._draw(shape)
        return drawn.gather(-3, rows[..., None].expand(*shape, *self.event_shape))

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        joint = self._joint(value, seen)
        each = joint[..., self._views] + torch.where(self.log_weights > -torch.inf, 0, -torch.inf)
        # The weights sum to one but for rounding; of nothing observed, the density is one.
        observed = self._sum_by_scene(seen.any(-1).any(-1).to(each)) > 0
        return torch.where(observed, each.logsumexp(-1), 0).to(joint)

    def _joint(self, value: Tensor, seen: Tensor) -> Tensor:
        """Log density (*s, V) of a view and of the seen values (*s, P, H, D)."""
        found = self.base._log_prob(value[..., self.row_of, :, :], seen[self.row_of])
        weights = torch.empty_like(self.logits, dtype=self.log_weights.dtype)
        real = self.log_weights > -torch.inf
        weights[self._views[real]] = self.log_weights[real]
        return found + weights.to(found)

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        each = self.base._conditional_log_prob(value[self.row_of], seen[self.row_of])
        joint = self._joint(value, seen)[self._views]
        joint = torch.where(self.log_weights > -torch.inf, joint, -torch.inf)
        return mixed(joint[self.scene].mT, each[self._rows.mT])

    def _condition(self, value: Tensor, seen: Tensor) -> SceneMixture:
        base = self.base._condition(value[self.row_of], seen[self.row_of])
        return self._with(base, self._joint(value, seen))

    def _affine(self, loc: Tensor, scale: Tensor) -> SceneMixture:
        loc, scale = (x.expand(self.event_shape)[self.row_of] for x in (loc, scale))
        return self._with(self.base._affine(loc, scale), self.logits)

    def _with(self, base: SceneDistribution, logits: Tensor) -> SceneMixture:
        place = self.scene_of, self.row_of, logits, self.scene, self.n_scenes
        return SceneMixture(base, *place, self._validate_args)

    def rows(self, index: Tensor) -> SceneMixture:
        """As `SceneDistribution.rows`."""
        chosen = torch.arange(len(self.scene), device=self.scene.device)[index]
        number, view = self._real(self.scene[chosen])
        base = self.base.rows(self._rows[chosen[number], view])
        scenes = self.logits, self.scene[chosen], self.n_scenes
        return SceneMixture(base, self.scene_of, number, *scenes, self._validate_args)

    def _real(self, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Of things in scenes (n,): number and view, for each view of the scene of each."""
        number, view = (self.log_weights > -torch.inf)[scene].nonzero(as_tuple=True)
        return number, view

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        """Those of the views."""
        scene = sums.scenes(self.scene)
        total, view = self._real(scene)
        number = torch.zeros(sums.count, self._rows.shape[1], dtype=torch.int64, device=view.device)
        number[total, view] = torch.arange(len(total), device=view.device)
        entry, view = self._real(self.scene[sums.row])
        each = Sums(
            number[sums.total[entry], view],
            self._rows[sums.row[entry], view],
            sums.weight[entry],
            len(total),
        )
        base = self.base._aggregate(each)
        scenes = self.logits, scene, self.n_scenes
        return SceneMixture(base, self.scene_of, total, *scenes, self._validate_args)

    @torch.no_grad()
    def _quantile(self, level: Tensor) -> Tensor:
        """By bisection: the quantile lies between the views' lowest and highest."""
        each = self._each(self.base._quantile(level))
        low, high = each.amin(-4), each.amax(-4)
        several = (self.log_weights > -torch.inf).sum(1)[self.scene] > 1
        if not several.any():
            return low
        part, below, out = self.rows(several), level.to(low), low.clone()
        low, high = low[..., several, :, :], high[..., several, :, :]
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            short = part._cdf(middle) < below
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        out[..., several, :, :] = 0.5 * (low + high)
        return out

    def _cdf(self, value: Tensor) -> Tensor:
        each = self._each(self.base._cdf(value[..., self.row_of, :, :]))
        return (self._weights * each).sum(-4)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`."""
        mine = self._rows_of(scene_index)
        out = self.mean.new_zeros(())
        for weight, view, rows in self._parts(scene_index):
            size = len(mine), *self.event_shape[1:]
            inside = self.base.covariance(view).view(*size, *size)
            at = torch.searchsorted(self.base._rows_of(view), rows)
            apart = (self.base.mean[rows] - self.mean[mine]).flatten()
            cells = apart.numel()
            inside = inside[at][:, :, :, at].reshape(cells, cells)
            out = out + weight * (inside + apart[:, None] * apart)
        return out

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`, without the dense covariance."""
        mine = self._rows_of(scene_index)
        across = self.mean.new_zeros(())
        for weight, view, rows in self._parts(scene_index):
            at = torch.searchsorted(self.base._rows_of(view), rows)
            inside = self.base.series_correlation(view)[at][:, at]
            size = self.base.variance[rows].flatten(1).sum(1).sqrt()
            apart = (self.base.mean[rows] - self.mean[mine]).flatten(1)
            across = across + weight * (inside * size[:, None] * size + apart @ apart.mT)
        own = self.variance[mine].flatten(1).sum(1).sqrt()
        return across / (own[:, None] * own)

    def _parts(self, scene_index: int) -> list[tuple[Tensor, int, Tensor]]:
        """Weight, number and rows of each view of a scene; rows as `_rows_of` has them."""
        mine = self._rows_of(scene_index)
        real = (self.log_weights[scene_index] > -torch.inf).nonzero()[:, 0]
        return [
            (
                self.log_weights[scene_index, i].exp().to(self.base.mean),
                int(self._views[scene_index, i]),
                self._rows[mine, i],
            )
            for i in real
        ]
