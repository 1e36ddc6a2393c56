"""What series are called in a picture: keys, texts, short numbers, and a font that has them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.text import Text

from hierforecast.errors import DataError

Labels = Mapping[Any, str] | Callable[[Any], object] | str | None
LOG = logging.getLogger(__name__)
BOXES = "Last Resort High-Efficiency"  # matplotlib's own: a box for every character
SHORT = 3  # characters that fit into a dot


def key_of(value: Any) -> Any:
    """A label as it stands in the plots' tables: as it is, of several columns one text."""
    if isinstance(value, (tuple, list)):
        return key_of(value[0]) if len(value) == 1 else " / ".join(map(plain, value))
    return value.item() if hasattr(value, "item") else value


def choose(
    names: Sequence[Any] | str, known: Collection[Any], what: str, where: str
) -> list[Hashable]:
    """Names as they stand in the tables; one text alone is one name.

    Raises:
        DataError: naming those that are not known, and some that are.
    """
    wanted = [key_of(name) for name in ([names] if isinstance(names, str) else names)]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        few = f"{sorted(known, key=str)[:5]!r}" + (", ..." if len(known) > 5 else "")
        raise DataError(f"{what} {unknown[:5]!r} are not in {where}, which has {few}")
    return wanted


def plain(value: Any) -> str:
    """A label as people write it: 7 for the 7.0 of a column of floats."""
    value = key_of(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def text_of(value: Any) -> str:
    """The same for matplotlib, to which two `$` are a formula."""
    text = plain(value)
    return text.replace("$", r"\$") if text.count("$") > 1 else text


def legend_text(value: Any) -> str:
    """The same for legends, which leave out what begins with `_`."""
    text = text_of(value)
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def series_labels(
    series: Iterable[Hashable], group: Mapping[Any, Hashable], labels: Labels
) -> dict[Hashable, str]:
    """What is written at each series; a series without a label is not listed.

    Args:
        series: those in the picture.
        group: group of each series.
        labels: None for none; `"auto"` for the end of every id, such as the 3 of `away_3`, of all
            series or of none; a mapping or a function of the id for those it gives a text.

    Raises:
        DataError: if `labels` is anything else.
    """
    everyone = list(series)
    if labels is None:
        return {}
    if callable(labels):
        given = {name: labels(name) for name in everyone}
    elif isinstance(labels, Mapping):
        known = {key_of(name): text for name, text in labels.items()}
        given = {name: known.get(name) for name in everyone}
    elif labels == "auto":
        given = dict(_numbers(everyone, group))
    else:
        raise DataError(
            f"labels={labels!r} is not known: give 'auto', None, a mapping of ids to texts, or a "
            "function of the id (str writes every id)"
        )
    return {name: text_of(text) for name, text in given.items() if text not in (None, "")}


def _numbers(series: list[Hashable], group: Mapping[Any, Hashable]) -> dict[Hashable, str]:
    """The ends of ids, if those of all fit into a dot and tell the members of each group apart."""
    members: dict[Hashable, int] = {}
    for name in series:
        members[group.get(name)] = members.get(group.get(name), 0) + 1
    # The legend already names who is alone in a group: the ball.
    alone = {name for name in series if members[group.get(name)] == 1 and len(members) > 1}
    short = {name: re.split(r"[\W_]+", plain(name))[-1] for name in series if name not in alone}
    different = {(group.get(name), text) for name, text in short.items()}
    fit = all(0 < len(text) <= SHORT for text in short.values())
    return short if fit and len(different) == len(short) else {}


def legible(artist: Artist) -> None:
    """Give its texts that the usual font cannot write another one behind it."""
    for text in artist.findobj(Text):
        assert isinstance(text, Text)
        strange = frozenset(c for c in text.get_text() if ord(c) > 0x24F)
        if strange and (font := _font_for(strange)) is not None:
            text.set_fontfamily(list(dict.fromkeys([*text.get_fontfamily(), font])))
            if font == BOXES:
                text.set_fontweight("normal")  # it has no other


@lru_cache(maxsize=256)
def _font_for(characters: frozenset[str]) -> str | None:
    """The first font with what the usual one lacks; None if it lacks nothing."""
    usual = font_manager.findfont(font_manager.FontProperties())
    lacking = {ord(c) for c in characters} - font_manager.get_font(usual).get_charmap().keys()
    if not lacking:
        return None
    for entry in font_manager.fontManager.ttflist:
        known = font_manager.get_font(entry.fname).get_charmap().keys()
        if entry.name != BOXES and lacking <= known:
            return entry.name
    shown = "".join(sorted(map(chr, lacking)))
    LOG.warning("no font has %s: a picture shows boxes until the system has one that does", shown)
    return BOXES
