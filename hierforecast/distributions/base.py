"""The interface of every forecast distribution: shapes, checks, and what may be asked of it.

To add a family, subclass `SceneDistribution` and fill in the methods that raise here; the families
are in the files beside this one.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from hierforecast._random import Generators, drawing, filled
from hierforecast._waiting import at_hand
from hierforecast.distributions.checks import check_finite, everything, is_finite
from hierforecast.distributions.conditionals import Conditional
from hierforecast.distributions.precision import no_autocast, promote
from hierforecast.distributions.sums import Sums

Shape = torch.Size | list[int] | tuple[int, ...]


class SceneDistribution(Conditional, Distribution):
    """A distribution over packed rows: batch_shape (B,), values (*sample_shape, P, H, D).

    `event_shape` is (P, H, D), the rows of all scenes together: rows are ragged over scenes, so a
    value has no batch axis, while `log_prob` gives one number a scene.

    Args:
        scene: (P,) int64, the scene of each row, 0..n_scenes-1, in any order.
        n_scenes: B; a scene may be without rows, its log_prob is then 0.
        steps: H.
        targets: D.
        validate_args: check values (not only shapes); None: torch's default, on a CPU only.

    Raises:
        ValueError: if `scene` is not (P,) integers within 0..n_scenes-1.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}  # checked by hand
    support = constraints.real

    def __init__(
        self,
        scene: Tensor,
        n_scenes: int,
        steps: int,
        targets: int,
        validate_args: bool | None = None,
    ) -> None:
        if scene.ndim != 1 or scene.dtype != torch.int64:
            raise ValueError(f"scene must be (P,) int64, got {tuple(scene.shape)} {scene.dtype}")
        self.scene, self.n_scenes = scene, int(n_scenes)
        shape = torch.Size((len(scene), steps, targets))
        # False: the subclasses check by themselves, with errors that carry the remedy.
        super().__init__(torch.Size((self.n_scenes,)), shape, validate_args=False)
        usual = Distribution._validate_args and at_hand(scene)
        self._validate_args = usual if validate_args is None else validate_args
        if self._validate_args and bool(((scene < 0) | (scene >= self.n_scenes)).any()):
            raise ValueError(
                f"scene must lie in 0..{self.n_scenes - 1}: raise n_scenes or renumber"
            )

    def __repr__(self) -> str:
        rows, steps, targets = self.event_shape
        return (
            f"{type(self).__name__}(rows={rows}, steps={steps}, targets={targets}, "
            f"scenes={self.n_scenes})"
        )

    def _extended_shape(self, sample_shape: Shape = ()) -> torch.Size:
        return torch.Size(sample_shape) + self.event_shape

    def sample(self, sample_shape: Shape = (), generator: Generators = None) -> Tensor:
        """Joint draws (*sample_shape, P, H, D), without gradients.

        Args:
            sample_shape: how many.
            generator: where they are drawn, on any device: one seed on the CPU gives the same
                draws everywhere. B of them: one a scene. torch's global one if None.
        """
        with torch.no_grad(), drawing(generator):
            return self._draw(torch.Size(sample_shape))

    def rsample(self, sample_shape: Shape = (), generator: Generators = None) -> Tensor:
        """The same with gradients to the parameters, where the family has them."""
        if not self.has_rsample:
            raise NotImplementedError(
                f"{type(self).__name__} has no gradients of draws: use sample"
            )
        with drawing(generator):
            return self._draw(torch.Size(sample_shape))

    def _draw(self, shape: torch.Size) -> Tensor:
        """The unchecked implementation of `sample`, by torch's functions: (*shape, P, H, D)."""
        raise NotImplementedError

    def _darts(self, shape: torch.Size, like: Tensor, count: int = 1) -> Tensor:
        """Uniform numbers (*shape, B, count) for each draw and scene, by which it chooses."""
        sizes = (*shape, self.n_scenes, count)
        return filled(Tensor.uniform_, like, sizes, torch.arange(self.n_scenes), -2)

    def log_prob(self, value: Tensor, observed: Tensor | None = None) -> Tensor:
        """Exact log density of the observed cells, the others integrated out.

        Args:
            value: (*s, P, H, D); cells that are not observed may hold anything, NaN too.
            observed: (P, H) bool, True where a row was seen at a step, or (P, H, D) a cell; None:
                everywhere.

        Returns:
            (*s, B): one joint log density a scene, 0 for a scene with nothing observed.

        Raises:
            ValueError: if a shape does not fit, or an observed cell is not finite.
        """
        value, seen = self._seen(value, observed)
        with no_autocast(value):
            return self._log_prob(value, seen)

    def _seen(self, value: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values, and which of their cells are observed: (P, H, D) bool; checked both."""
        if value.shape[-3:] != self.event_shape:
            raise ValueError(
                f"value must end in (P, H, D) = {tuple(self.event_shape)}, got {tuple(value.shape)}"
            )
        if observed is None:
            observed = everything(value, self.event_shape)
        fits = observed.shape in (self.event_shape[:2], self.event_shape)
        if not fits or observed.dtype != torch.bool:
            raise ValueError(
                f"observed must be bool (P, H) = {tuple(self.event_shape[:2])} or (P, H, D), "
                f"got {observed.dtype} {tuple(observed.shape)}"
            )
        (value,) = promote(value)
        seen = observed if observed.ndim == 3 else observed[..., None].expand(self.event_shape)
        odd = self._validate_args and not is_finite(value)
        if odd and not bool((torch.isfinite(value) | ~seen).all()):
            raise ValueError(
                "value holds NaN or infinity in observed cells: mark them False in `observed`"
            )
        return value, seen

    def condition(self, value: Tensor, observed: Tensor) -> SceneDistribution:
        """The exact distribution of all cells once some are known, in the same family.

        A known cell comes back as it was given, by mean, quantiles and draws alike, and has no
        part in `log_prob`: ``p(all) = p(known) * p(others given known)``.

        Args:
            value: (P, H, D); cells that are not observed may hold anything, NaN too.
            observed: (P, H) or (P, H, D) bool, the cells that are known.

        Raises:
            ValueError: as `log_prob`, and if `value` has axes more.
        """
        if value.ndim != 3:
            raise ValueError(f"value must be (P, H, D), one future, got {tuple(value.shape)}")
        value, seen = self._seen(value, observed)
        with no_autocast(value):
            return self._condition(value, seen)

    def _condition(self, value: Tensor, seen: Tensor) -> SceneDistribution:
        """The unchecked implementation of `condition`: value (P, H, D), seen (P, H, D) bool."""
        raise NotImplementedError(f"{type(self).__name__} cannot be conditioned")

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        """The unchecked implementation: value (*s, P, H, D), seen (P, H, D) bool -> (*s, B)."""
        raise NotImplementedError

    def quantile(self, q: float | Tensor) -> Tensor:
        """Marginal quantiles of every cell: q of any shape in [0, 1] -> (*q.shape, P, H, D)."""
        level = torch.as_tensor(q, dtype=torch.float64, device="cpu")
        if bool(((level < 0) | (level > 1)).any()):
            raise ValueError(f"quantile levels must lie in [0, 1], got {q}: write 5 % as 0.05")
        return self._quantile(level[..., None, None, None])

    def _quantile(self, level: Tensor) -> Tensor:
        """The unchecked implementation: level (*q, 1, 1, 1) float64 on the CPU -> (*q, P, H, D)."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """Marginal probabilities of at most a value (*s, P, H, D), each cell by itself."""
        return self._cdf(promote(value)[0])

    def _cdf(self, value: Tensor) -> Tensor:
        """The unchecked implementation of `cdf`."""
        raise NotImplementedError(f"{type(self).__name__} has no cdf: use quantile")

    def icdf(self, value: float | Tensor) -> Tensor:
        """The same as `quantile`, by torch's name."""
        return self.quantile(value)

    @property
    def median(self) -> Tensor:
        """(P, H, D), marginal medians."""
        return self.quantile(0.5)

    def affine(self, loc: Tensor | float, scale: Tensor | float) -> SceneDistribution:
        """The exact distribution of loc + scale * Y, in the same family: forecasts get their units.

        Args:
            loc: broadcastable to (P, H, D).
            scale: the same, nonzero; for example (P, 1, 1) a row or (D,) a target.

        Raises:
            ValueError: if a scale is zero or not finite, or loc is not finite.
        """
        # A Python number as float64: exact, and without dimensions it promotes nothing.
        loc, scale = (
            x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64)
            for x in (loc, scale)
        )
        if self._validate_args:
            check_finite("loc of affine", loc)
            check_finite("scale of affine", scale)
            if bool((scale == 0).any()):
                raise ValueError("scale of affine holds zeros: give constant series a scale of 1")
        return self._affine(loc, scale)

    def _affine(self, loc: Tensor, scale: Tensor) -> SceneDistribution:
        """The unchecked implementation of `affine`."""
        raise NotImplementedError

    def aggregate(self, matrix: Tensor) -> SceneDistribution:
        """The exact distribution of weighted sums of rows, such as totals of groups.

        It is of the same family where that is closed under sums, no row goes into several totals
        and no group with latents of its own into one of several groups and another one; otherwise
        a `Totals`, without a density.

        Args:
            matrix: (G, P) weights, dense or sparse; the rows of a total belong to one scene.

        Raises:
            ValueError: if the shape does not fit, or a total is empty or spans scenes.
        """
        if matrix.ndim != 2 or matrix.shape[1] != len(self.scene):
            raise ValueError(f"matrix must be (G, {len(self.scene)}), got {tuple(matrix.shape)}")
        with no_autocast(matrix):
            return self._aggregate(Sums.of(matrix))

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        """The unchecked implementation of `aggregate`."""
        raise NotImplementedError(f"{type(self).__name__} cannot be added up")

    def _total_variance(self, sums: Sums) -> Tensor:
        """(G, H, D) of weighted sums of rows, here of rows that are independent."""
        return sums.add(self.variance, power=2)

    def entangled(self, sums: Sums) -> bool:
        """Whether totals depend on one another in ways that their family has no room for."""
        return sums.overlap

    def rows(self, index: Tensor) -> SceneDistribution:
        """The exact marginal distribution of some rows, in their order; scenes keep their numbers.

        Args:
            index: (p,) int64 row numbers, or (P,) bool.
        """
        raise NotImplementedError

    def covariance(self, scene_index: int) -> Tensor:
        """Dense (n*H*D, n*H*D) covariance of one scene, its n rows in packed order: small ones."""
        raise NotImplementedError

    def series_correlation(self, scene_index: int) -> Tensor:
        """Correlation between the n series of one scene, rows in packed order -> (n, n).

        corr(i, j) = E<e_i, e_j> / sqrt(E|e_i|^2 E|e_j|^2), where e_i = y_i - E[y_i] is flattened
        over steps and targets: covariances of like cells summed over H and D, then normalised. It
        lies in [-1, 1], is positive semi-definite and, for coordinates, unchanged by a rotation of
        the axes. Targets of unequal units weigh in by their variance.
        """
        raise NotImplementedError

    def _rows_of(self, scene_index: int) -> Tensor:
        if not 0 <= scene_index < self.n_scenes:
            raise ValueError(f"scene_index must lie in 0..{self.n_scenes - 1}, got {scene_index}")
        return (self.scene == scene_index).nonzero()[:, 0]

    def _sum_by_scene(self, x: Tensor) -> Tensor:
        """(P, ...) -> (B, ...): sums over the rows of each scene, whatever their order."""
        return x.new_zeros(self.n_scenes, *x.shape[1:]).index_add(0, self.scene, x)
