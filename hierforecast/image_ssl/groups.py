"""Groups of right-angle turns and mirror images, and how they move what a network sees and says.

`Group` is the arithmetic; an action says how its elements move one kind of tensor. All of them
speak `hierforecast.symmetry.GroupAction`, as the permutations of series do, so that
`hierforecast.testing` holds both to the same promise: ``f(act(a, x)) == act(a, f(x))``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import lcm
from typing import TypeAlias

import torch
from torch import Tensor

# Name -> (number of turns, with mirror images). Only these map the square pixel grid onto itself.
GROUPS = {
    "C1": (1, False),
    "C2": (2, False),
    "C4": (4, False),
    "D1": (1, True),
    "D2": (2, True),
    "D4": (4, True),
}


class Group:
    """A group of turns, and of mirror images if its name starts with D.

    An element is an integer: ``turn`` below n, and ``n + turn`` for mirror left to right, then
    turn. A turn is by 360 / n degrees, counter-clockwise as an image is looked at.

    Args:
        name: ``"C1"`` (nothing moves), ``"C2"``, ``"C4"``, ``"D1"``, ``"D2"`` or ``"D4"``.

    Raises:
        ValueError: for another name; other turns do not map pixels onto pixels.
    """

    identity = 0

    def __init__(self, name: str) -> None:
        if name not in GROUPS:
            raise ValueError(
                f"group {name!r} is not exact on a grid of pixels: give one of {', '.join(GROUPS)}"
            )
        self.name = name
        self.turns, self.mirrors = GROUPS[name]
        self.order = self.turns * (1 + self.mirrors)

    @cached_property
    def table(self) -> Tensor:
        """``compose(a, b)`` in row a and column b, (g, g), int64."""
        return torch.tensor(
            [[self.compose(a, b) for b in self.elements()] for a in self.elements()]
        )

    @cached_property
    def inverses(self) -> Tensor:
        """``inverse(a)`` of each element a, (g,), int64."""
        return torch.tensor([self.inverse(a) for a in self.elements()])

    def elements(self) -> Iterator[int]:
        """Every element once, the identity first."""
        return iter(range(self.order))

    def compose(self, a: int, b: int) -> int:
        """The element that acts as `b` and then as `a`."""
        mirror_a, turn_a = divmod(a, self.turns)
        mirror_b, turn_b = divmod(b, self.turns)
        # A turn before a mirror is the opposite turn after it.
        turn = turn_a + (-turn_b if mirror_a else turn_b)
        return (mirror_a ^ mirror_b) * self.turns + turn % self.turns

    def inverse(self, a: int) -> int:
        """The element that undoes `a`; a mirror image undoes itself."""
        mirror, turn = divmod(a, self.turns)
        return a if mirror else -turn % self.turns

    def quarter_turns(self, a: int) -> int:
        """Quarter turns, counter-clockwise, of an element; they come after its mirror."""
        return (a % self.turns) * (4 // self.turns)

    def is_mirror(self, a: int) -> bool:
        """Whether an element mirrors."""
        return a >= self.turns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Group({self.name!r})"


GroupLike: TypeAlias = Group | str


def as_group(group: GroupLike) -> Group:
    """A group, given itself or its name."""
    return group if isinstance(group, Group) else Group(group)


class _Action(Group):
    """A group that also says, by `act`, how its elements move one kind of tensor.

    Args:
        group: a `Group` or its name.
    """

    def __init__(self, group: GroupLike) -> None:
        self.group = as_group(group)
        super().__init__(self.group.name)


class ImageAction(_Action):
    """Images, filters and everything else that is turned as a picture is."""

    def act(self, a: int, x: Tensor) -> Tensor:
        """Turn and mirror x (..., h, w); h and w change places under a quarter turn."""
        mirrored = x.flip(-1) if self.group.is_mirror(a) else x
        return mirrored.rot90(self.group.quarter_turns(a), (-2, -1))


class FeatureAction(_Action):
    """Pooled features of an equivariant network: the group's regular representation."""

    def act(self, a: int, x: Tensor) -> Tensor:
        """Move x (b, c, g): entry k of the result is entry a^-1 k of x."""
        return x.index_select(2, self.group.table[self.group.inverse(a)].to(x.device))


class FeatureMapAction(_Action):
    """Feature maps of an equivariant network: space turns and the group's axis changes places."""

    def act(self, a: int, x: Tensor) -> Tensor:
        """Move x (b, c, g, h, w)."""
        return ImageAction(self.group).act(a, FeatureAction(self.group).act(a, x))


class InvariantAction(_Action):
    """What the group leaves alone."""

    def act(self, a: int, x: Tensor) -> Tensor:
        """Return x itself."""
        return x


class LabelAction(_Action):
    """Labels of a pretext task: turning the image sends label y to ``moves[a, y]``.

    Args:
        group: the group.
        moves: (g, labels) int64.

    Raises:
        ValueError: if `moves` is no action of the group: every row must be a permutation of the
            labels, the identity's must leave them, and rows must compose as elements do.
    """

    def __init__(self, group: GroupLike, moves: Tensor) -> None:
        super().__init__(group)
        self.moves = moves
        self._check()
        columns = (tuple(sorted(set(column.tolist()))) for column in self.moves.T)
        self.orbits = tuple(dict.fromkeys(columns))

    @property
    def n_labels(self) -> int:
        """The number of labels."""
        return self.moves.shape[1]

    @property
    def is_free(self) -> bool:
        """Whether only the identity leaves any label where it is."""
        return all(len(orbit) == self.order for orbit in self.orbits)

    def act(self, a: int, x: Tensor) -> Tensor:
        """Move labels x (...), int64."""
        return self.moves[a].to(x.device)[x]

    def act_on_scores(self, a: int, x: Tensor) -> Tensor:
        """Move scores x (b, labels): label y's score becomes that of the label y is sent to."""
        return x.index_select(1, self.moves[self.inverse(a)].to(x.device))

    def readers(self) -> Tensor:
        """Where each label's score is read from features (orbits, g) laid in a row.

        With r the first label of an orbit, label y is read from the entries of all elements that
        send r to y: one if the orbit is free, else a coset of r's stabilizer, whose mean is taken
        (a quotient representation). Entries are repeated so that all labels have equally many.

        Returns:
            (labels, k) int64, entries of a row of ``len(orbits) * g``.
        """
        found: list[list[int]] = [[] for _ in range(self.n_labels)]
        for number, orbit in enumerate(self.orbits):
            for a in self.elements():
                found[int(self.moves[a, orbit[0]])].append(number * self.order + a)
        longest = lcm(*(len(entries) for entries in found))
        return torch.tensor([entries * (longest // len(entries)) for entries in found])

    def _check(self) -> None:
        count = self.moves.shape[-1]
        everyone = torch.arange(count)
        if self.moves.shape != (self.order, count) or not count:
            raise ValueError(f"moves must be ({self.order}, labels), not {tuple(self.moves.shape)}")
        if not torch.equal(self.moves.sort(dim=1).values, everyone.expand_as(self.moves)):
            raise ValueError("every row of moves must be a permutation of the labels")
        if not torch.equal(self.moves[0], everyone):
            raise ValueError("the identity's row of moves must leave every label where it is")
        both = self.moves[:, self.moves]  # [a, b, y]: label y, sent by b and then by a
        wrong = (self.moves[self.table] != both).any(-1).nonzero().tolist()
        if wrong:
            a, b = wrong[0]
            raise ValueError(f"moves of elements {a} and {b} do not compose as the group does")
