"""What the columns of a frame mean, and what the training frame taught about their values.

`Columns` is written by the user: which column plays which role. `Vocabulary` is learned from the
training frame and used again at prediction, so that a category keeps its code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hierforecast.errors import DataError


def _names(role: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Column names of a role as a tuple; a single name may be given bare."""
    if given is None:
        return ()
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"Columns({role}=...) takes column names, got {name!r}: give strings")
    return names


@dataclass(frozen=True)
class Columns:
    """The role of each column of a long frame (one row per series and time).

    Args:
        id: column that names the series.
        time: column of integer steps, dates or datetimes.
        target: column to forecast, or several (``["x", "y"]``).
        group: the class of each series, a list from coarse to fine (``["sector", "industry"]``),
            or None: one group that holds every series.
        scene: column of independent sample spaces, or None: the frame is one scene.
        group_type: labels groups that are not interchangeable (ball, team), or None.
        past_covariates: columns known up to the cutoff only.
        known_covariates: columns known for the forecast steps too.
        static: columns that do not change within a series.

    Raises:
        DataError: if a role has no column or a wrong one, or a column has two roles.
    """

    id: str = "unique_id"
    time: str = "ds"
    target: str | Sequence[str] = "y"
    group: str | Sequence[str] | None = "group"
    scene: str | None = None
    group_type: str | None = None
    past_covariates: Sequence[str] = ()
    known_covariates: Sequence[str] = ()
    static: Sequence[str] = ()

    def __post_init__(self) -> None:
        for role in ("past_covariates", "known_covariates", "static"):
            object.__setattr__(self, role, _names(role, getattr(self, role)))
        for role in ("target", "group"):
            if not isinstance(getattr(self, role), (str, type(None))):
                object.__setattr__(self, role, _names(role, getattr(self, role)))
        for role in ("id", "time"):
            if not isinstance(getattr(self, role), str):
                raise DataError(f"Columns({role}=...) must be the name of one column")
        for role in ("scene", "group_type"):
            if not isinstance(getattr(self, role), (str, type(None))):
                raise DataError(f"Columns({role}=...) must be the name of one column, or None")
        if not self.targets:
            raise DataError("Columns(target=...) names no column: give at least one to forecast")
        self._check_roles()

    def _check_roles(self) -> None:
        seen: dict[str, str] = {}
        for role, name in self.roles():
            # A type for each group ("no two may be swapped") is a sensible wish.
            if name in seen and not (role == "group_type" and seen[name] == "group"):
                raise DataError(
                    f"column {name!r} has two roles, {seen[name]!r} and {role!r}: give each column "
                    "one role in Columns(...), or copy it under another name"
                )
            seen.setdefault(name, role)

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns."""
        return _names("target", self.target)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group columns, coarse to fine; empty if all series form one group."""
        return _names("group", self.group)

    def roles(self) -> list[tuple[str, str]]:
        """(role, column) for every column needed, in the order of the arguments."""
        pairs: list[tuple[str, str]] = []
        for role in self.__dataclass_fields__:
            pairs += [(role, name) for name in _names(role, getattr(self, role))]
        return pairs

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, ready for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Columns:
        """Inverse of `to_dict`."""
        return cls(**given)


@dataclass(frozen=True)
class Covariate:
    """One covariate column.

    Args:
        name: the column.
        role: ``"past"``, ``"known"`` or ``"static"``.
        categories: the known labels, sorted; category i has code i + 1, anything else code 0.
            None for a numeric column.
    """

    name: str
    role: str
    categories: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Vocabulary:
    """What the training frame taught: covariates with their categories, and the group types.

    Args:
        covariates: in the order past, known, static, and within a role as in `Columns`.
        types: labels of `Columns.group_type`, sorted; empty without that column.
    """

    covariates: tuple[Covariate, ...] = ()
    types: tuple[Any, ...] = ()

    def of(self, role: str) -> tuple[Covariate, ...]:
        """The covariates of one role: ``"past"``, ``"known"`` or ``"static"``."""
        return tuple(c for c in self.covariates if c.role == role)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, ready for JSON."""
        covariates = [
            {**asdict(c), "categories": None if c.categories is None else list(c.categories)}
            for c in self.covariates
        ]
        return {"covariates": covariates, "types": list(self.types)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Vocabulary:
        """Inverse of `to_dict`."""
        covariates = tuple(
            Covariate(c["name"], c["role"], None if (k := c["categories"]) is None else tuple(k))
            for c in given["covariates"]
        )
        return cls(covariates, tuple(given["types"]))
