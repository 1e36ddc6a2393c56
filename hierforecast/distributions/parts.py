"""Scenes that fall into independent parts, rows or steps, each of them joint by itself."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from hierforecast._random import scenes_of
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.noise import RowNoise
from hierforecast.distributions.student import JointStudent
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.totals import coherent


class IndependentParts(SceneDistribution):
    """Scenes of independent parts, each a scene of another distribution: log densities add up.

    Args:
        base: of the parts, event_shape (P * K, H / K, D): its row ``p * K + k`` is the k-th of K
            shares of the steps of row p.
        scene: (P,) int64, the scene of each row; the rows of a part belong to one.
        n_scenes: B.
        validate_args: check values (not only shapes); None: as `SceneDistribution`.

    Raises:
        ValueError: if the shapes of `base` and `scene` do not fit.
    """

    def __init__(
        self,
        base: SceneDistribution,
        scene: Tensor,
        n_scenes: int,
        validate_args: bool | None = None,
    ) -> None:
        rows, steps, targets = base.event_shape
        self.base, self.has_rsample = base, base.has_rsample
        self.has_conditionals = base.has_conditionals
        self.shares = self._count(base, n_scenes)
        if rows != len(scene) * self.shares:
            raise ValueError(
                f"base must have {self.shares} rows for each of the {len(scene)} of `scene`, "
                f"got {base}"
            )
        super().__init__(scene, n_scenes, self.shares * steps, targets, validate_args)

    def _count(self, base: SceneDistribution, n_scenes: int) -> int:
        """K, into how many shares the steps of a row fall."""
        return 1

    def _with(self, base: SceneDistribution, scene: Tensor | None = None) -> Self:
        """The same with other parts."""
        scene = self.scene if scene is None else scene
        return type(self)(base, scene, self.n_scenes, self._validate_args)

    @property
    def part_scene(self) -> Tensor:
        """(n_parts,) int64, the scene of each part; 0 of one without rows, which has no density."""
        return self._scene_of_parts(0)

    def _scene_of_parts(self, nowhere: int) -> Tensor:
        """The same, with another number of parts without rows."""
        parts = self.scene.new_full((self.base.n_scenes,), nowhere)
        return parts.index_put((self.base.scene,), self.scene.repeat_interleave(self.shares))

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        return self.base.mean.reshape(self.event_shape)

    @property
    def variance(self) -> Tensor:
        """(P, H, D)."""
        return self.base.variance.reshape(self.event_shape)

    def _draw(self, shape: torch.Size) -> Tensor:
        with scenes_of(self._scene_of_parts(-1)):
            return self.base._draw(shape).reshape(self._extended_shape(shape))

    def _split(self, x: Tensor) -> Tensor:
        """Cells (*s, P, H, D) as those of the parts."""
        return x.reshape(*x.shape[:-3], *self.base.event_shape)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        each = self.base._log_prob(self._split(value), self._split(seen))
        total = each.new_zeros(*each.shape[:-1], self.n_scenes)
        return total.index_add(-1, self.part_scene, each)

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        each = self.base._conditional_log_prob(self._split(value), self._split(seen))
        return each.reshape(self.event_shape[:2])

    def _condition(self, value: Tensor, seen: Tensor) -> Self:
        return self._with(self.base._condition(self._split(value), self._split(seen)))

    def _quantile(self, level: Tensor) -> Tensor:
        found = self.base._quantile(level)
        return found.reshape(*level.shape[:-3], *self.event_shape)

    def _cdf(self, value: Tensor) -> Tensor:
        return self.base._cdf(self._split(value)).reshape(value.shape)

    def _affine(self, loc: Tensor, scale: Tensor) -> Self:
        moved = (self._split(x.expand(self.event_shape)) for x in (loc, scale))
        return self._with(self.base._affine(*moved))

    def rows(self, index: Tensor) -> Self:
        """As `SceneDistribution.rows`."""
        chosen = torch.arange(len(self.scene), device=self.scene.device)[index]
        return self._with(self.base.rows(split(chosen, self.shares)), self.scene[index])

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`: zero between parts."""
        cells = torch.arange(self.mean.numel(), device=self.scene.device)
        ours = cells.view(self.event_shape)[self._rows_of(scene_index)].flatten()
        out = self.mean.new_zeros(len(ours), len(ours))
        for part in self._parts_of(scene_index):
            own = cells.view(self.base.event_shape)[self.base._rows_of(part)].flatten()
            at = torch.searchsorted(ours, own)
            out[at[:, None], at] = self.base.covariance(part)
        return out

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`."""
        ours, size = self._rows_of(scene_index), self.base.variance.sum((1, 2))
        across = size.new_zeros(len(ours), len(ours))
        for part in self._parts_of(scene_index):
            rows = self.base._rows_of(part)
            at = torch.searchsorted(ours, rows // self.shares)
            root = (size[rows, None] * size[rows]).sqrt()
            across[at[:, None], at] += root * self.base.series_correlation(part)
        total = across.diag()
        return across / (total[:, None] * total).sqrt()

    def _parts_of(self, scene_index: int) -> list[int]:
        rows = split(self._rows_of(scene_index), self.shares)
        found: list[int] = self.base.scene[rows].unique().tolist()
        return found


class IndependentRows(IndependentParts):
    """Rows that are independent, each joint over its own steps and targets: its parts are rows."""

    @classmethod
    def student(
        cls,
        loc: Tensor,
        noise: Tensor | RowNoise,
        factor: Tensor,
        df: Tensor,
        scene: Tensor,
        n_scenes: int,
    ) -> Self:
        """Each row a multivariate Student-t, a `JointStudent` of its own about a `LowRankNormal`.

        A row that is wild is wild at all of its steps: one chi-square latent a row. Tracks of
        players who are swapped or lost do not widen those of the others.

        Args:
            loc: (P, H, D), mean.
            noise: its scale (P, H, D), or a `RowNoise`.
            factor: (P, H, D, Q), of the latents of a row.
            df: (P,) degrees of freedom, above two.
            scene: (P,) scene of each row.
            n_scenes: B.
        """
        parts = torch.arange(len(scene), device=scene.device)
        base = LowRankNormal(loc, noise, factor[..., :0], factor, parts, len(scene))
        return cls(JointStudent(base, df), scene, n_scenes)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        scenes = sums.scenes(self.scene)
        if len(sums.row) > sums.count:  # sums of Student-t rows are of no family
            return coherent(self, sums, None)
        return coherent(self, sums, self._with(self.base._aggregate(sums), scenes))


def split(index: Tensor, shares: int) -> Tensor:
    """Index (P,) of rows or scenes -> (P * K,) of their shares, a row's side by side."""
    return (index[:, None] * shares + torch.arange(shares, device=index.device)).flatten()
