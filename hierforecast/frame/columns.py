"""What the columns of a frame mean: which column plays which role."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from hierforecast._options import whole
from hierforecast.errors import DataError
from hierforecast.frame.freq import freq_to_json, plain_freq

# Roles whose columns are read as labels, which may share columns.
LABELS = {"id", "scene", "group", "group_type", "static", "crossed"}
# Options that name no columns.
NO_ROLES = ("freq", "season", "calendar", "holidays")
# What a calendar may tell of a step, see `calendar`.
CYCLES = ("hour", "weekday", "day", "week", "month", "quarter")

Names: TypeAlias = str | Sequence[str]


def _names(role: str, given: Any) -> tuple[str, ...]:
    """Column names of a role as a tuple; a single name may be given bare."""
    if given is None:
        return ()
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Iterable):
        names = (names,)
    for name in (names := tuple(names)):
        if not isinstance(name, str):
            raise DataError(f"Columns({role}=...) takes column names, got {name!r}: give strings")
    return names


def _label(role: str, given: Any) -> Any:
    """The column of a label, or a tuple of at least two; one in a list is that one."""
    names = _names(role, given)
    if not names:
        raise DataError(f"Columns({role}=...) names no column: give one or several")
    if len(set(names)) < len(names):
        raise DataError(f"Columns({role}={list(names)}) names a column twice: name it once")
    return names[0] if len(names) == 1 else names


def _levels(role: str, given: Iterable[Any]) -> tuple[Any, ...]:
    """The labels of nested levels, coarse to fine."""
    levels = tuple(_label(role, level) for level in given)
    if len(set(levels)) < len(levels):
        raise DataError(f"Columns({role}={plain(levels)}) names a level twice: once will do")
    return levels


def _crossed(given: Any, levels: tuple[tuple[str, ...], ...]) -> tuple[tuple[Any, ...], ...]:
    """The levels of each way of grouping besides `group`, whose own levels are given."""
    if given is None or isinstance(given, str) or not isinstance(given, Iterable):
        given = () if given is None else (given,)
    each = tuple(
        _levels("crossed", [part] if isinstance(part, str) else list(part) or [()])
        if isinstance(part, Iterable) else _levels("crossed", [part])
        for part in given
    )  # fmt: skip
    if each and not levels:
        raise DataError(
            f"Columns(group=None, crossed={plain(each)}) crosses nothing: name the first way of "
            f"grouping with group={plain(each[0])!r}"
        )
    seen = {frozenset(levels[0])} if levels else set()
    for part in each:
        first = _names("crossed", part[0])
        if frozenset(first) in seen:
            fine = list(dict.fromkeys(n for level in part[:2] for n in _names("crossed", level)))
            remedy = "leave it out" if len(part) == 1 else (
                f"name its finer level by all of its columns, crossed=[[{fine}]]"
            )  # fmt: skip
            raise DataError(
                f"Columns(crossed={plain(each)}) groups by {', '.join(map(repr, first))} again, "
                f"as another way of grouping does: {remedy}"
            )
        seen.add(frozenset(first))
    return each


def _calendar(given: Any) -> str | tuple[str, ...] | None:
    """``"auto"``, the names of some `CYCLES`, or None."""
    if given is None or given == "auto":
        return given
    names = tuple(dict.fromkeys((given,) if isinstance(given, str) else given))
    unknown = [name for name in names if name not in CYCLES]
    if unknown:
        raise DataError(
            f"Columns(calendar={plain(names)}) names {unknown[0]!r}: give some of {list(CYCLES)}, "
            "'auto' or None; holidays are named by their country, holidays='US'"
        )
    return names or None


def _countries(given: Any) -> tuple[str, ...]:
    """Codes of countries, ``DE`` or ``DE-BY``."""
    codes = _names("holidays", given)
    for code in codes:
        if not is_country(code):
            raise DataError(
                f"Columns(holidays={code!r}) is no country: give a code of ISO 3166, such as 'US', "
                "'DE-BY' or 'JP'"
            )
    return codes


def is_country(code: str) -> bool:
    """Whether a text may be the code of a country, with a subdivision or without."""
    return re.fullmatch(r"[A-Z]{2,3}(-\w+)?", code) is not None


def _season(given: Any) -> int | tuple[int, ...] | None:
    """Steps of a season or of several, checked."""
    if given is None or isinstance(given, int):
        return given if given is None else whole("season", given, 2)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise DataError(f"Columns(season={given!r}) must be a number of steps, or several: 7")
    return tuple(whole("season", each, 2) for each in given)


def plain(value: Any) -> Any:
    """Tuples as lists and pandas' days of one's own in words, as JSON has them."""
    return [plain(v) for v in value] if isinstance(value, tuple) else freq_to_json(value)


@dataclass(frozen=True)
class Columns:
    """The role of each column of a long frame (one row per series and time).

    Args:
        id: column that names the series, or several that do so together (``["store", "item"]``).
        time: column of integer steps, dates, datetimes, durations or pandas' periods.
        target: column to forecast, or several (``["x", "y"]``).
        group: the class of each series, a list from coarse to fine (``["sector", "industry"]``),
            or None: one group that holds every series. An entry of the list may be a list of
            columns that name one level together (``[["country", "region"], "store"]``).
        scene: column of independent sample spaces, or several that name one together, or None: the
            frame is one scene.
        group_type: labels groups that are not interchangeable (ball, team), or None.
        past_covariates: columns known up to the cutoff only.
        known_covariates: columns known for the forecast steps too.
        static: columns that do not change within a series.
        freq: the step of the time column, where the data do not show it: an alias or an offset of
            pandas (``"B"``, ``"W-SUN"``, ``"15min"``), the days of the week that there are
            (``"Mon Tue Wed Thu Fri Sat"``), ``CustomBusinessDay(weekmask=..., holidays=[...])`` or
            ``{"weekmask": ..., "holidays": [...]}``, a duration, or an integer for integer times.
            None finds it in the data.
        season: steps of a season, or of several (``(24, 168)``), where the step of time does not
            say them; ``()`` for none.
        calendar: features of the time of each step, known in advance without being told: some of
            ``"hour"`` (of the day), ``"weekday"``, ``"day"`` (of the month), ``"week"`` (of the
            year), ``"month"``, ``"quarter"``, as sines and cosines; ``"auto"``: those that suit the
            step and that the training frame shows twice, for models that ask for them; None: none.
        holidays: code of a country whose public holidays are features, or several: ``"US"``,
            ``"DE-BY"`` (needs the extra `calendar`).
        crossed: further ways to group the same series that are not nested in `group`, each a column
            or a list from coarse to fine: ``"position"`` beside ``group="team"``;
            ``["purpose", ["era", "year"]]`` are two. What may be exchanged must respect all of them
            at once: see `hierforecast.symmetry.CrossedPermutation`.

    Raises:
        DataError: if a role has no column or a wrong one, a column has two roles, `freq` is no
            frequency, or a way of grouping is given twice. Only labels (`id`, `scene`, `group`,
            `group_type`, `static`, `crossed`) may share columns; `id` and `scene` may not share one
            with each other.
    """

    id: Names = "unique_id"
    time: str = "ds"
    target: Names = "y"
    group: str | Sequence[Names] | None = "group"
    scene: Names | None = None
    group_type: str | None = None
    past_covariates: Sequence[str] = ()
    known_covariates: Sequence[str] = ()
    static: Sequence[str] = ()
    freq: Any = None
    season: int | Sequence[int] | None = None
    calendar: Names | None = "auto"
    holidays: Names = ()
    crossed: str | Sequence[str | Sequence[Names]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "freq", plain_freq(self.freq))
        object.__setattr__(self, "season", _season(self.season))
        for role in ("past_covariates", "known_covariates", "static"):
            object.__setattr__(self, role, _names(role, getattr(self, role)))
        object.__setattr__(self, "id", _label("id", self.id))
        if self.scene is not None:
            object.__setattr__(self, "scene", _label("scene", self.scene))
        if not isinstance(self.target, str):
            object.__setattr__(self, "target", _names("target", self.target))
        if self.group is not None and not isinstance(self.group, str):
            several = isinstance(self.group, Iterable)
            levels = _levels("group", self.group if several else [self.group])
            object.__setattr__(self, "group", levels)
        object.__setattr__(self, "crossed", _crossed(self.crossed, self.levels))
        for role in ("time", "group_type"):
            optional = () if role == "time" else (type(None),)
            if not isinstance(getattr(self, role), (str, *optional)):
                more = ", or None" if optional else ""
                raise DataError(f"Columns({role}=...) must be the name of one column{more}")
        if not self.targets:
            raise DataError("Columns(target=...) names no column: give at least one to forecast")
        object.__setattr__(self, "calendar", _calendar(self.calendar))
        object.__setattr__(self, "holidays", _countries(self.holidays))
        self._check_roles()

    def _check_roles(self) -> None:
        seen: dict[str, str] = {}
        for role, name in self.roles():
            # Labels are only read, but an answer has the columns of ids and scenes once.
            shared = LABELS.issuperset((role, seen.get(name))) and role != seen.get(name)
            if name in seen and (not shared or {role, seen[name]} == {"id", "scene"}):
                raise DataError(
                    f"column {name!r} has two roles, {seen[name]!r} and {role!r}: give each column "
                    "one role in Columns(...), or copy it under another name"
                )
            seen.setdefault(name, role)

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns that name the series."""
        return _names("id", self.id)

    @property
    def scenes(self) -> tuple[str, ...]:
        """The columns that name the scenes; empty if the frame is one scene."""
        return _names("scene", self.scene)

    @property
    def keys(self) -> tuple[str, ...]:
        """What tells rows apart: scenes, ids and the time, the first columns of every answer."""
        return (*self.scenes, *self.ids, self.time)

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns."""
        return _names("target", self.target)

    @property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each level of groups, coarse to fine; empty if all form one group."""
        given = (self.group,) if isinstance(self.group, str) else self.group or ()
        return tuple(_names("group", level) for level in given)

    @property
    def groups(self) -> tuple[str, ...]:
        """The columns of all levels in one row."""
        return tuple(dict.fromkeys(name for level in self.levels for name in level))

    @property
    def partitions(self) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """The levels of every way of grouping: those of `group`, then those of `crossed`."""
        further = (tuple(_names("crossed", level) for level in one) for one in self.crossed)
        return (self.levels, *further)

    @property
    def states_calendar(self) -> bool:
        """Whether features of the calendar are asked for, so that every network gets them."""
        return bool(self.holidays) or self.calendar not in (None, "auto")

    def roles(self) -> list[tuple[str, str]]:
        """(role, column) for every column needed, in the order of the arguments."""
        pairs: list[tuple[str, str]] = []
        for role in (name for name in self.__dataclass_fields__ if name not in NO_ROLES):
            if role == "crossed":
                columns = (n for part in self.partitions[1:] for level in part for n in level)
                names = tuple(dict.fromkeys(columns))
            else:
                names = self.groups if role == "group" else _names(role, getattr(self, role))
            pairs += [(role, name) for name in names]
        return pairs

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, ready for JSON."""
        return {k: plain(v) for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Columns:
        """Inverse of `to_dict`; without a calendar where there was none yet."""
        return cls(**{"calendar": None, **given})
