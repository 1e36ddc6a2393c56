"""`Head`: numbers for each series and step -> a `torch.distributions` distribution over scenes.

A head holds no weights: it says how many numbers it needs besides the loc, and makes a distribution
of them. A new head is a `Head` with `features` and `__call__` of its own, passed to the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast._options import share, show, whole
from hierforecast.batch import Hierarchy, SceneBatch
from hierforecast.distributions import SceneDistribution
from hierforecast.distributions.places import GroupFactor, how_many, side_by_side
from hierforecast.errors import DataError

# Softplus of this is one: a head starts out with the scale it is given.
_ONE = 0.5413
_FLOOR = 1e-3


class Loads(NamedTuple):
    """What the next returns begin with, in the units of what it was made of; of unit variance.

    Attributes:
        size: (P, H, D), of a typical return.
        scene: (P, D, 1 + R), loads of the market and of its principal factors.
        groups: (P, D) for each of `Scenes.owners`.
        noise: (P, D), what is each series' own.
        tail: () log of `Sinh`'s.
        degrees: () log of the degrees of freedom of a step, three less.
    """

    size: Tensor
    scene: Tensor
    groups: tuple[Tensor, ...]
    noise: Tensor
    tail: Tensor
    degrees: Tensor


class Sizes(NamedTuple):
    """How many groups a batch has, known where it was made; a GPU that is asked is waited for.

    Attributes:
        groups: how many there are, for each of `Scenes.owners`.
        most: how many of them the largest scene has.
        rows: of the largest scene.
    """

    groups: tuple[int, ...]
    most: tuple[int, ...]
    rows: int

    @classmethod
    def of(cls, hierarchy: Hierarchy) -> Sizes:
        """Those of a batch with this hierarchy."""
        ways = hierarchy, *(way.hierarchy for way in hierarchy.crossed)
        levels = [level for way in ways for level in way.levels]
        groups = tuple(len(level.parent) for level in levels)
        return cls(groups, tuple(level.most for level in levels), hierarchy.most)


class Scenes(NamedTuple):
    """Which rows belong together.

    Attributes:
        scene: (P,) int64, the scene of each row.
        n_scenes: B.
        groups: (P,) int64 for each level of the hierarchy, fine to coarse: the group of each row,
            numbered over the whole batch; a group lies within one of the next level.
        links: (P, K, N, K), see `CoupledNormal`; None where the head asks for none.
        loads: who moves with whom to begin with; None where the head asks for none.
        shared: (R + levels,) loads of `SharedStart`, those of a scene and one for each of `owners`;
            None where the head asks for none.
        crossed: the same as `groups` for each further way of grouping.
        sizes: how many there are; None: counted where that matters.
        in_view: (P, H, D), see `Unseen.in_view`; None where all series are.
    """

    scene: Tensor
    n_scenes: int
    groups: tuple[Tensor, ...] = ()
    links: Tensor | None = None
    loads: Loads | None = None
    shared: Tensor | None = None
    crossed: tuple[tuple[Tensor, ...], ...] = ()
    sizes: Sizes | None = None
    in_view: Tensor | None = None

    @property
    def counts(self) -> tuple[int, ...]:
        """How many groups there are, for each of `owners`."""
        return tuple(map(how_many, self.owners)) if self.sizes is None else self.sizes.groups

    @property
    def owners(self) -> tuple[Tensor, ...]:
        """The groups of each row, by every level of one way of grouping after the other."""
        return sum(self.crossed, self.groups)

    @classmethod
    def of(cls, batch: SceneBatch) -> Scenes:
        """Those of a batch."""
        own = batch.hierarchy
        return cls(
            batch.scene, batch.n_scenes, own.groups,
            crossed=own.crossed_groups, sizes=Sizes.of(own),
        )  # fmt: skip


class Head:
    """Turns raw features into a distribution.

    What makes a distribution is in units of the series, alike for all steps, what `start` and
    `distance` are given in the network's, those of a typical error of each step. The scale is that
    of the linear forecast's errors: a head says how much wider or narrower the distribution is.
    """

    @property
    def loc_shape(self) -> tuple[int, ...]:
        """The axes of `loc` before (P, H, D): () for one loc a cell, (K,) for K of them."""
        return ()

    @property
    def pooled(self) -> int:
        """How many features, the last ones, are to be the mean over the scene's present rows."""
        return 0

    @property
    def components(self) -> int:
        """How many slow components of the rows' errors are linked: K of `Scenes.links`."""
        return 0

    def market(self, steps: int) -> Any:
        """A `MarketStart` for `Scenes.loads` of so many steps; None where none are wanted."""
        return None

    @property
    def shares(self) -> int:
        """How many latents of a scene `Scenes.shared` has; 0 where the head asks for none."""
        return 0

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """How many numbers the head needs for each series and step, besides the loc.

        Args:
            n_targets: D.
            n_levels: levels of groups, as many as `Scenes.owners` will have.
        """
        raise NotImplementedError

    def start(self, loc: Tensor, scale: Tensor) -> Tensor:
        """Where the locs lie before training: (*loc_shape, P, H, D).

        Args:
            loc: (P, H, D), the linear forecast.
            scale: (P, H, D), that of its errors.
        """
        return loc

    def path(self, moved: Tensor) -> Tensor:
        """What the network adds to the locs, from as many raw numbers (*loc_shape, P, H, D).

        They are taken as they are. A head whose errors carry on along time lets these carry on
        too: numbers that jitter from step to step would make draws rougher than the data.
        """
        return moved

    def distance(self, loc: Tensor, truth: Tensor, present: Tensor, scenes: Scenes) -> Tensor:
        """How far the locs lie from the truth, a mean over present cells.

        Each step is in units of its own, so that all count alike; of a head with several locs late
        ones count more.

        Args:
            loc: (*loc_shape, P, H, D).
            truth: (P, H, D).
            present: (P, H) bool, where the truth is known.
            scenes: which rows belong together.
        """
        return distances(loc, truth, present).sum() / present.sum().clamp(min=1)

    def __call__(
        self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes
    ) -> SceneDistribution:
        """The distribution from its loc (*loc_shape, P, H, D), its scale (P, H, D) and shape.

        The shape (P, H, features) is made of raw numbers, positive and negative ones.
        """
        raise NotImplementedError


def check_options(head: Any) -> None:
    """Keep a head's options as plain numbers: one mode at least, ranks from 0, shares up to 1."""
    for name, value in asdict(head).items():
        if name in ("places", "groups_last"):
            if not isinstance(value, bool):
                raise DataError(f"{name}={show(value)} must be True or False")
            continue
        kept = share(name, value) if name == "joint" else whole(name, value, int(name == "modes"))
        object.__setattr__(head, name, kept)


def distances(loc: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """Distances (*loc_shape, P, H), zero where the truth is unknown."""
    square = (torch.where(present[..., None], truth, loc) - loc).square().sum(-1)
    return (square + 1e-6).sqrt() * present


def widen(scale: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """A scale (P, H, D) times what the first features of the shape say; the features not used."""
    wider, rest = shape.tensor_split((scale.shape[-1],), dim=-1)
    return scale * (F.softplus(wider + _ONE) + _FLOOR), rest


def latents(
    shared: Tensor, of_groups: Sequence[Tensor], scenes: Scenes
) -> tuple[Tensor, Sequence[GroupFactor]]:
    """What the latents of scenes and of groups move, as `LowRankNormal` takes it.

    Latents of nested groups are eliminated level by level. Crossed groups have no such order: one
    way of grouping keeps its levels, the first that has latents; all other latents of a scene join
    the scene's own, and each moves the rows of its group alone. It is the first whatever the batch,
    for draws depend on it.

    Args:
        shared: (P, H, D, R), the factor of the scene's latents.
        of_groups: (P, H, D, R_l) for each of `Scenes.owners`.
        scenes: which rows belong together.

    Returns:
        The scene's factor, and factor and groups of each nested level, and how many these are.
    """
    parts = [*zip(of_groups, scenes.owners, scenes.counts, strict=True)]
    if not scenes.crossed:
        return shared, [part for part in parts if part[0].shape[-1]]
    most = [None] * len(parts) if scenes.sizes is None else scenes.sizes.most
    ways, rest = [], iter(zip(parts, most, strict=True))
    for levels in (scenes.groups, *scenes.crossed):
        ways.append([(part, own) for part, own in islice(rest, len(levels)) if part[0].shape[-1]])
    nested = next((way for way in ways if way), [])
    apart = (each for way in ways if way is not nested for each in way)
    rows = scenes.scene, scenes.n_scenes
    wide = (side_by_side(x, group, *rows, count, own) for (x, group, count), own in apart)
    return torch.cat([shared, *wide], -1), [part for part, _ in nested]
