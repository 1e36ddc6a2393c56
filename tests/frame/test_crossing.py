"""`Columns(crossed=...)`: what it may say, and whether a frame bears it out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast.errors import DataError
from hierforecast.frame import Columns, read_frame
from tests.frames import LIBRARIES

EACH = pytest.mark.parametrize("library", LIBRARIES.values(), ids=list(LIBRARIES))

REGIONS = {"north": "A", "south": "A", "east": "B", "west": "B"}


def make() -> pd.DataFrame:
    """Regions within states by purposes, one series each, but one that is not there."""
    rows = [
        (f"{region}-{purpose}", state, region, purpose, t, t + 0.5)
        for region, state in REGIONS.items()
        for purpose in ("holiday", "business", "visit")
        for t in range(4)
        if (region, purpose) != ("west", "visit")
    ]
    names = ["unique_id", "state", "region", "purpose", "ds", "y"]
    frame = pd.DataFrame(rows, columns=names).sample(frac=1.0, random_state=0)
    return frame.assign(one=1, again=frame.region.str.upper()).reset_index(drop=True)


NESTED = Columns(group=["state", "region"], crossed="purpose")


@pytest.mark.parametrize(
    ("given", "ways"),
    [
        ("purpose", [[("purpose",)]]),
        (["purpose", "era"], [[("purpose",)], [("era",)]]),
        ([["era", "year"]], [[("era",), ("year",)]]),
        ([[["era", "year"], "day"], "purpose"], [[("era", "year"), ("day",)], [("purpose",)]]),
        (None, []),
        ([], []),
    ],
)
def test_a_column_is_a_way_and_a_list_of_them_several(given, ways):
    columns = Columns(crossed=given)
    assert [list(way) for way in columns.partitions] == [[("group",)], *ways]
    names = dict.fromkeys(name for way in ways for level in way for name in level)
    assert [name for role, name in columns.roles() if role == "crossed"] == list(names)
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict())))
    assert again == columns == replace(columns, crossed=columns.crossed)


def test_folders_of_earlier_versions_have_no_such_key():
    given = Columns(group="team").to_dict()
    del given["crossed"]
    assert Columns.from_dict(given).crossed == ()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "the group again": (
        {"group": "team", "crossed": "team"},
        r"crossed=\[\['team'\]\]\) groups by 'team' again, .*: leave it out",
    ),
    "twice": ({"crossed": ["a", "b", "a"]}, r"groups by 'a' again, .*: leave it out"),
    "a level of both": (
        {"group": ["state", "region"], "crossed": [["state", "purpose"]]},
        r"'state' again, .*: name its finer level by all of its columns, "
        r"crossed=\[\[\['state', 'purpose'\]\]\]",
    ),
    "without a group": (
        {"group": None, "crossed": "purpose"},
        r"crosses nothing: name the first way of grouping with group=\['purpose'\]",
    ),
    "a number": ({"crossed": 3}, r"Columns\(crossed=\.\.\.\) takes column names, got 3"),
    "no level": ({"crossed": [[]]}, r"Columns\(crossed=\.\.\.\) names no column"),
    "a level twice": ({"crossed": [["a", "a"]]}, r"names a level twice"),
    "a target": ({"crossed": "y"}, r"column 'y' has two roles, 'target' and 'crossed'"),
    "the time": ({"crossed": "ds"}, r"column 'ds' has two roles, 'time' and 'crossed'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_nonsense_names_the_column_and_what_to_write(case):
    given, message = WRONG[case]
    with pytest.raises(DataError, match=message):
        Columns(**given)


def test_what_is_said_to_be_written_may_be_written():
    Columns(group=["state", "region"], crossed=[[["state", "purpose"]]])
    Columns(group=["purpose"])


@EACH
def test_paths_of_every_way(library):
    """A code has one parent; series share a code exactly if they share all labels down to it."""
    columns = replace(NESTED, crossed=["purpose", [["era", "owner"], "last"]])
    ids = make().unique_id.str
    more = {"era": ids.len() % 2, "owner": ids[1], "last": ids[-1]}
    panel = read_frame(library(make().assign(**more)), columns)
    of = make().assign(**more).drop_duplicates("unique_id").set_index("unique_id")
    labels = of.loc[panel.ids]
    for levels, codes in zip(columns.partitions, (panel.groups, *panel.crossed), strict=True):
        path: list[str] = []
        for names, column in zip(levels, codes.T, strict=True):
            path += names
            words = list(map(tuple, labels[path].to_numpy()))
            for i, j in np.ndindex(len(words), len(words)):
                assert (column[i] == column[j]) == (words[i] == words[j])


@EACH
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            Columns(group="region", crossed="state"),
            r"crossed='state' is not crossed with 'region' but nested: .*"
            r"Columns\(group=\['state', 'region'\]\)",
        ),
        (
            Columns(group="state", crossed=["purpose", "region"]),
            r"crossed='region' is not .* 'state' .*group=\['state', 'region'\], "
            r"crossed=\[\['purpose'\]\]\)",
        ),
        (
            Columns(group="purpose", crossed=["region", "state"]),
            r"crossed='state' is not .* 'region' .*group='purpose', "
            r"crossed=\[\['state', 'region'\]\]\)",
        ),
        (Columns(group="region", crossed="one"), r"crossed='one' is not crossed .* nested"),
        (
            Columns(group="region", crossed="again"),
            r"crossed='again' is no further way of grouping: it puts together the series that "
            r"'region' does; leave it out.*Columns\(group='region'\)",
        ),
        (Columns(group="region", crossed="unique_id"), r"crossed='unique_id' is not crossed"),
        (
            Columns(group="region", crossed="purpse"),
            r"no column 'purpse' \(did you mean 'purpose'\?\) for the role 'crossed'",
        ),
    ],
    ids=["coarser", "finer", "of two", "one class", "the same", "series", "no column"],
)
def test_ways_that_are_not_crossed_are_refused_with_what_to_write(library, columns, message):
    with pytest.raises(DataError, match=message) as error:
        read_frame(library(make()), columns)
    names: dict[str, Any] = {"Columns": Columns}
    exec(str(error.value).rpartition(": ")[2], names)  # the remedy
    read_frame(library(make()), names["columns"])


def test_levels_of_one_way_may_be_crossed_with_another():
    """Purposes within states, and purposes across them: a hierarchy neither way."""
    panel = read_frame(make(), Columns(group=["state", "purpose"], crossed="purpose"))
    assert len(np.unique(panel.groups[:, 1])) == 6 and len(np.unique(panel.crossed[0])) == 3


def test_at_prediction_any_rest_will_do():
    """What is left of a frame may be nested by accident."""
    columns, some = replace(NESTED, crossed="purpose"), make()[lambda f: f.purpose == "holiday"]
    vocabulary = read_frame(make(), columns).vocabulary
    assert len(read_frame(some, columns, vocabulary=vocabulary).ids) == 4
    with pytest.raises(DataError, match="not crossed"):
        read_frame(some, columns)


@EACH
def test_a_series_is_in_one_class_and_in_one(library):
    twice = make()
    twice.loc[twice.index[twice.unique_id == "east-visit"][1], "purpose"] = "holiday"
    with pytest.raises(DataError, match=r"'east-visit' is in two groups of column 'purpose'"):
        read_frame(library(twice), NESTED)
    gone = make()
    gone.loc[3, "purpose"] = None
    with pytest.raises(DataError, match=r"'purpose' .* 1 null values, the first in row 3"):
        read_frame(library(gone), NESTED)
