"""Each card in datasets/ says what its loader's constants say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from hierforecast.io.fetch import RemoteFile

CARDS = sorted((Path(__file__).parents[2] / "datasets").glob("*/README.md"))
TOPICS = ("source", "licence", "columns", "units", "rate", "groups", "splits", "counts")
ROOMS = ("hierforecast.datasets", "hierforecast.image_ssl.data")
CONSTANT = re.compile(
    r"^\| `(?P<name>[A-Z_0-9]+)(?:\[(?P<key>\w+)\])?` \| (?P<value>[^|]+?) \|", re.M
)
FILE = re.compile(
    r"^\| `(?P<name>[^`]+)`[^|]*\| (?P<size>[\d,]+) \| `(?P<sha256>[0-9a-f]{64})` \|", re.M
)


def loader(card: Path) -> ModuleType:
    """The module of the card's folder; it has the folder's name, in one of the two rooms."""
    names = [f"{room}.{card.parent.name}" for room in ROOMS]
    found = [name for name in names if find_spec(name)]
    assert len(found) == 1, f"{card}: its loader is to be one of {names}, there are {found}"
    return import_module(found[0])


def files(value: object) -> Iterator[RemoteFile]:
    """Every file known to a module's constants, however they are nested."""
    if isinstance(value, RemoteFile):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from files(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from files(one)


def number(text: str) -> float:
    return float(text.replace(",", "").strip("`"))


def test_there_are_cards():
    assert {"soccer", "stocks"} <= {card.parent.name for card in CARDS}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_a_card_covers_every_topic_and_has_its_script(card):
    text = card.read_text().lower()
    assert not [topic for topic in TOPICS if topic not in text]
    assert (card.parent / "prepare.py").is_file()


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_a_card_lists_the_loaders_files_and_no_other(card):
    rows = {row["sha256"]: row for row in FILE.finditer(card.read_text())}
    known = {file.sha256: file for file in files(vars(loader(card)))}
    assert set(rows) == set(known)
    for sha256, file in known.items():
        assert file.name.endswith(rows[sha256]["name"])
        assert file.size == number(rows[sha256]["size"])
        if file.url:
            commit = re.search(r"[0-9a-f]{40}", file.url)
            assert commit is None or commit[0] in card.read_text()


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_a_cards_counts_are_the_loaders_constants(card):
    rows = list(CONSTANT.finditer(card.read_text()))
    assert rows, f"{card} has no table `| constant | value |` of its loader's constants"
    for row in rows:
        value = getattr(loader(card), row["name"])
        if row["key"]:
            value = value[int(row["key"]) if row["key"].isdigit() else row["key"]]
        assert value == number(row["value"]), row[0]


def test_the_sector_sizes_on_the_card():
    from hierforecast.datasets.stocks import SECTOR_SIZES

    text = next(card for card in CARDS if card.parent.name == "stocks").read_text()
    assert not [name for name, size in SECTOR_SIZES.items() if f"{name} {size}" not in text]
