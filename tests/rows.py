"""Made batches for the tests: rows in a hierarchy, their content, and models on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hierforecast.batch import Future, Hierarchy, SceneBatch, hierarchy_of
from hierforecast.nn.head import Scenes
from hierforecast.symmetry import CrossedPermutation, HierarchicalPermutation
from hierforecast.task import Task
from tests.helpers import H, L


@dataclass(frozen=True)
class Rows:
    """Rows in the order of a user: where each stands in the hierarchy.

    Args:
        scene: (P,) scene of each row.
        groups: (P, levels) group labels, coarse to fine; they count within their parent.
        types: (P,) types.
        crossed: the same as `groups` for further ways of grouping.
    """

    scene: np.ndarray
    groups: np.ndarray
    types: np.ndarray
    crossed: tuple[np.ndarray, ...] = ()
    order: np.ndarray = field(init=False)
    hierarchy: Hierarchy = field(init=False)

    def __post_init__(self) -> None:
        ways = (path_codes(labels) for labels in self.ways)
        order, hierarchy = hierarchy_of(self.scene, *ways)
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "hierarchy", hierarchy)

    @classmethod
    def of(cls, *labels: str, types: str = "") -> Rows:
        """One string a scene, one letter a row: its group; or two letters for nested groups."""
        words = [word for text in labels for word in text.split()]
        scene = np.repeat(np.arange(len(labels)), [len(text.split()) for text in labels])
        groups = np.array([[ord(letter) for letter in word] for word in words])
        kinds = [types.index(word[-1]) + 1 if word[-1] in types else 0 for word in words]
        return cls(scene, groups, np.array(kinds, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.scene)

    @property
    def inverse(self) -> np.ndarray:
        """Gather that brings packed rows back into the user's order."""
        return np.argsort(self.order)

    @property
    def ways(self) -> tuple[np.ndarray, ...]:
        """The labels of every way of grouping."""
        return (self.groups, *self.crossed)

    @property
    def symmetry(self) -> HierarchicalPermutation | CrossedPermutation:
        """All that may be exchanged; whole scenes too."""
        labels = [np.concatenate([self.scene[:, None], way], axis=1) for way in self.ways]
        if not self.crossed:
            return HierarchicalPermutation(labels[0], self.types)
        return CrossedPermutation(labels, self.types)

    @property
    def scenes(self) -> Scenes:
        """What a head is told of rows in the user's order."""
        ways = [torch.from_numpy(path_codes(np.c_[self.scene, way])) for way in self.ways]
        own, *crossed = ((*codes.T[1:].flip(0),) for codes in ways)
        scenes = Scenes(ways[0][:, 0], int(self.scene.max()) + 1, own)
        return scenes._replace(crossed=tuple(crossed))

    def without(self, gone: Sequence[int]) -> Rows:
        """The same with some rows deleted."""
        kept = np.setdiff1d(np.arange(len(self)), gone)
        crossed = tuple(way[kept] for way in self.crossed)
        return Rows(self.scene[kept], self.groups[kept], self.types[kept], crossed)

    @classmethod
    def crossing(cls, *labels: str, types: str = "") -> Rows:
        """One string a scene, one word a row: the path of each way of grouping, ``ya-p``."""
        words = [word.split("-") for text in labels for word in text.split()]
        scene = np.repeat(np.arange(len(labels)), [len(text.split()) for text in labels])
        ways = [
            np.array([[ord(c) for c in path] for path in way]) for way in zip(*words, strict=True)
        ]
        kinds = [types.index(word[0][-1]) + 1 if word[0][-1] in types else 0 for word in words]
        return cls(scene, ways[0], np.array(kinds, dtype=np.int64), tuple(ways[1:]))


def path_codes(groups: np.ndarray) -> np.ndarray:
    """Labels (P, levels) that count within their parent -> codes of one parent each."""
    codes = [
        np.unique(groups[:, : level + 1], axis=0, return_inverse=True)[1].reshape(-1)
        for level in range(groups.shape[1])
    ]
    return np.stack(codes, axis=1).astype(np.int64)


# Scenes of unlike sizes, groups of 1 to 4 that are interleaved, a group that is nobody's sibling.
FLAT = Rows.of("b h a h a h a", "a b h h a", "c c c", types="b")
NESTED = Rows.of("xb yh ya yh ya zk zl", "yh ya yh ya zk zk zl zl xb", "xb", types="b")
# Teams by positions, some without one; then two levels by two levels by one.
CROSSED = Rows.crossing(
    "b-b h-g a-g h-f a-c h-g a-f h-c a-g", "h-g a-f h-f a-g k-g k-f", "h-g h-f a-g a-f a-f", "h-g",
    types="b",
)  # fmt: skip
CROSSED_NESTED = Rows.crossing(
    "xr-pu-1 xs-pu-1 yt-pu-1 yu-pu-1 xr-pv-2 xs-pv-2 yt-pv-2 yu-pv-2 yt-qw-2 yu-qw-2",
    "xr-pu-2 xr-qv-1 ys-pu-2 ys-qv-1 ys-qv-1",
)


class Packed(nn.Module):
    """A module on packed tokens, called with rows in the user's order."""

    def __init__(self, module: nn.Module, rows: Rows, call: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module, self.rows, self.call = module, rows, call

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        order, inverse = self.rows.order, self.rows.inverse
        return self.call(self.module, x[order], self.rows.hierarchy, present[order])[inverse]


TASK = Task(L, H, n_targets=2, n_types=2, past=(None, 3), known=(None, 2), static=(None, 2))


def task_for(rows: Rows, **changes: Any) -> Task:
    """`TASK` with the levels of these rows."""
    levels, *crossed = (way.shape[1] for way in rows.ways)
    return Task(**{**TASK.__dict__, "n_levels": levels, "crossed": tuple(crossed), **changes})


def make_content(rows: Rows, task: Task, seed: int = 0, missing: float = 0.3) -> dict[str, Tensor]:
    """Random content of a `SceneBatch`, float64, rows in the user's order.

    Every row is present at some step; missing cells hold what the door puts there.
    """
    generator = torch.Generator().manual_seed(seed)
    n, length, steps = len(rows), task.context_length, task.prediction_length

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def covariates(kinds: tuple[int | None, ...], *shape: int) -> Tensor:
        columns = [
            normal(*shape)
            if kind is None
            else torch.randint(kind + 1, shape, generator=generator).double()
            for kind in kinds
        ]
        return torch.stack(columns, -1) if columns else normal(*shape, 0)

    present = torch.rand(n, length, generator=generator) >= missing
    present[torch.arange(n), torch.randint(length, (n,), generator=generator)] = True
    values = 20 + normal(n, length, task.n_targets).cumsum(1)
    past = covariates(task.past, n, length)
    values[~present], past[~present] = 0, torch.nan
    return {
        "values": values,
        "present": present,
        "past": past,
        "known": covariates(task.known, n, length + steps),
        "static": covariates(task.static, n),
        "naive": normal(n, steps, task.n_targets),
    }


def pack(rows: Rows, content: dict[str, Tensor]) -> SceneBatch:
    """Content in the user's order as a batch of packed rows."""
    order = torch.from_numpy(rows.order)
    return SceneBatch(
        **{name: x[order] for name, x in content.items()},
        types=torch.from_numpy(rows.types)[order],
        scene=torch.from_numpy(rows.scene)[order],
        n_scenes=int(rows.scene.max(initial=-1)) + 1,
        hierarchy=rows.hierarchy,
    )


def make_future(rows: Rows, task: Task, seed: int = 1, missing: float = 0.2) -> Future:
    """A random horizon for packed rows."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(rows), task.prediction_length)
    values = 20 + torch.randn(*shape, task.n_targets, generator=generator, dtype=torch.float64)
    present = torch.rand(shape, generator=generator) >= missing
    values[~present] = 0
    numbers = torch.arange(len(rows))
    return Future(values, present, numbers, torch.full_like(numbers, task.context_length))


class OnRows(nn.Module):
    """A model on batches, called with content in the user's order; answers with law's numbers."""

    def __init__(self, model: nn.Module, rows: Rows) -> None:
        super().__init__()
        self.model, self.rows = model, rows

    def law(self, content: dict[str, Tensor]) -> Any:
        law = self.model(pack(self.rows, content))
        return law.rows(torch.from_numpy(self.rows.inverse))

    def forward(self, content: dict[str, Tensor]) -> dict[str, Tensor]:
        law = self.law(content)
        return {"mean": law.mean, "stddev": law.stddev, "tenth": law.quantile(0.1)}


def moves_of(rows: Rows, seeds: int = 3) -> list[Tensor]:
    """Permutations to test: of members, of groups, of both; never the identity."""
    symmetry, moves = rows.symmetry, []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        if isinstance(symmetry, CrossedPermutation):
            moves += [symmetry.sample(generator) for _ in range(3)]
            continue
        for members, groups in ((True, False), (False, True), (True, True)):
            moves.append(symmetry.sample(generator, members=members, groups=groups))
    return moves
