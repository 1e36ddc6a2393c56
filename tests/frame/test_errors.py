from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast.errors import DataError
from hierforecast.frame import Columns, Panel, Vocabulary, read_frame
from tests.frames import pl

COLUMNS = Columns(target=["x", "y"], group=["sector", "team"], scene="scene", group_type="kind")


def make() -> pd.DataFrame:
    keys = [(s, i, t) for s in (0, 1) for i in "abc" for t in range(4)]
    frame = pd.DataFrame(keys, columns=["scene", "unique_id", "ds"])
    return frame.assign(sector="u", team="v", kind="k", x=1.0, y=2.0, size=3.0, note="n")


def put(column: str, row: int, value: Any) -> pd.DataFrame:
    frame = make()
    if isinstance(value, float) or value is None:
        frame[column] = frame[column].astype(object if value is None else float)
    frame.loc[row, column] = value
    return frame


CASES = {
    "missing column": (
        make().rename(columns={"team": "Teams"}),
        r"no column 'team' \(did you mean 'Teams'\?\) for the role 'group'.*; name yours: "
        r".* group=\['sector', 'Teams'\]",
    ),
    "empty frame": (make()[:0], r"the frame is empty: it has no rows"),
    "duplicated": (
        pd.concat([make(), make()[5:7]], ignore_index=True),
        r"2 rows .* duplicated in \(scene, unique_id, ds\), the first is scene 0, unique_id 'b', "
        r"ds 1; they have the same targets, keep one row each: frame = frame\.|ds 1; .*pa\.Table",
    ),
    "two groups": (
        put("team", 2, "w"),
        r"series 'a' of scene 0 is in two groups of column 'team', .*one group within a scene",
    ),
    "two coarse groups": (put("sector", 15, "w"), r"series 'a' of scene 1 .*column 'sector'"),
    "two types": (put("kind", 4, "l"), r"series 'b' of scene 0 is in two types of column 'kind'"),
    "text target": (
        make().assign(y="1.5"),
        r"column 'y' of the frame is not numeric .*; convert it: frame = frame\.",
    ),
    "all NaN": (make().assign(y=np.nan), r"target column 'y' .* missing \(NaN\) in every row"),
    "never both": (
        make().assign(x=[1.0, np.nan] * 12, y=[np.nan, 1.0] * 12),
        r"no row of the frame has all the targets \['x', 'y'\]",
    ),
    "infinite target": (
        put("x", 9, -np.inf),
        r"column 'x' .* 1 infinite values .* at scene 0, unique_id 'c', ds 1: replace them by NaN",
    ),
    "beyond float32": (put("x", 9, 1e39), r"column 'x' .*beyond the range of float32"),
    "null id": (put("unique_id", 3, None), r"'unique_id' .* 1 null values, the first in row 3"),
    "null group": (put("team", 3, None), r"'team' .* 1 null values, the first in row 3"),
    "null type": (put("kind", 3, None), r"'kind' .* 1 null values"),
    "null scene": (put("scene", 3, np.nan), r"'scene' .* 1 null values, the first in row 3"),
    "null time": (put("ds", 3, np.nan), r"'ds' .* 1 null values, the first in row 3"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_frames_say_what_to_do(case: str, to: Any) -> None:
    frame, message = CASES[case]
    given = to(frame)
    with warnings.catch_warnings(), pytest.raises(DataError, match=message):
        warnings.simplefilter("error")
        read_frame(given, COLUMNS)
    read_frame(to(make()), COLUMNS)  # the same frame, mended, is read


@pytest.mark.parametrize("value", [{"y": [1]}, np.zeros((2, 2)), None, "train.csv", pd.Series([1])])
def test_what_is_no_frame(value: Any) -> None:
    with pytest.raises(
        TypeError, match="expected a pandas DataFrame, a polars DataFrame or a pyarr"
    ):
        read_frame(value, COLUMNS)


def test_the_error_for_lazy_frames_says_collect() -> None:
    with pytest.raises(TypeError, match=r"LazyFrame; call \.collect\(\) on it first"):
        read_frame(pl.from_pandas(make()).lazy(), COLUMNS)


def test_columns_given_wrongly() -> None:
    with pytest.raises(DataError, match="column 'y' has two roles, 'target' and 'static'"):
        Columns(static=["y"])
    with pytest.raises(DataError, match="column 'y' has two roles, 'target' and 'group'"):
        Columns(group="y")
    with pytest.raises(DataError, match=r"Columns\(target=\.\.\.\) names no column"):
        Columns(target=[])
    with pytest.raises(DataError, match=r"Columns\(target=\.\.\.\) takes column names, got 3"):
        Columns(target=["y", 3])  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"Columns\(time=\.\.\.\) must be the name of one column"):
        Columns(time=["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="column 'a' has two roles, 'id' and 'scene'"):
        Columns(id=["a", "b"], scene="a")
    with pytest.raises(DataError, match=r"Columns\(scene=\.\.\.\) takes column names, got 3"):
        Columns(scene=3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"Columns\(id=\['a', 'a'\]\) names a column twice"):
        Columns(id=["a", "a"])
    with pytest.raises(DataError, match=r"names a level twice"):
        Columns(group=[["a", "b"], ("a", "b")])
    assert Columns(group_type="group").groups == ("group",)
    assert Columns(target=["x", "y"], static="z").static == ("z",)
    assert hash(Columns(target=["x"])) == hash(Columns(target=("x",)))


def test_ids_in_the_index_and_names_twice() -> None:
    with pytest.raises(DataError, match=r"'unique_id' \(it is the frame's index: call reset_index"):
        read_frame(make().set_index("unique_id"), COLUMNS)
    twice = pd.concat([make(), make()[["x"]]], axis=1)
    with pytest.raises(DataError, match="has a column name twice"):
        read_frame(twice, COLUMNS)


def test_ids_that_cannot_be_compared() -> None:
    frame = make()
    frame["unique_id"] = pd.Series(["a", 1] * 12, dtype=object)
    with pytest.raises(DataError, match=r"'unique_id' .*cannot be compared.*astype\('string'\)"):
        read_frame(frame, COLUMNS)


def test_covariates_that_are_refused() -> None:
    columns = Columns(
        "unique_id", "ds", "x", "team", "scene", past_covariates=["y"], static=["size"]
    )
    with pytest.raises(DataError, match=r"column 'y' .* 1 infinite values .*, ds 1"):
        read_frame(put("y", 9, np.inf), columns)
    with pytest.raises(
        DataError, match="static column 'size' changes within series 'c' of scene 0"
    ):
        read_frame(put("size", 9, 4.0), columns)
    stamps = make().assign(y=pd.Timestamp("2024-01-01"))
    with pytest.raises(DataError, match=r"column 'y' .* is not numeric \(its type is datetime64"):
        read_frame(stamps, columns)
    loose = make().assign(y=pd.Series([1, 2.5] * 12, dtype=object))
    with pytest.raises(DataError, match=r"column 'y' .*object\) holds neither"):
        read_frame(loose, columns)


def test_prediction_frames_that_differ_from_training() -> None:
    columns = Columns(target="x", group="team", scene="scene", group_type="kind", static=["note"])
    panel = read_frame(make(), columns)
    with pytest.raises(DataError, match=r"'kind' .* the group type 'z', .*known are \['k'\]"):
        read_frame(make().assign(kind="z"), columns, vocabulary=panel.vocabulary)
    with pytest.raises(DataError, match=r"'note' of the frame is a number .* but was a category"):
        read_frame(make().assign(note=1.0), columns, vocabulary=panel.vocabulary)
    other = Columns(target="x", group="team", scene="scene", group_type="kind", static=["size"])
    with pytest.raises(DataError, match="static covariate 'size' was not there in training"):
        read_frame(make(), other, vocabulary=panel.vocabulary)
    with pytest.raises(DataError, match="horizon=-1 must be 0 or more"):
        read_frame(make(), columns, horizon=-1)


def test_known_frames_that_do_not_do() -> None:
    columns = Columns(target="x", group=None, scene="scene", known_covariates=["y"])
    frame = make()
    known = frame[frame["ds"] < 2].assign(ds=lambda f: f["ds"] + 4)

    def read(given: Any) -> None:
        read_frame(frame, columns, known=given, horizon=2)

    read(known)
    with pytest.raises(
        DataError, match=r"\['y'\] need their future values: give known=, .* 2 steps"
    ):
        read(None)
    with pytest.raises(
        DataError, match=r"lacks 1 of the steps .* scene 0, unique_id 'b', ds 5: give"
    ):
        read(known.query("scene or unique_id != 'b' or ds != 5"))
    with pytest.raises(
        DataError, match="the known frame has duplicated rows: scene 0, unique_id 'a'"
    ):
        read(pd.concat([known, known]))
    with pytest.raises(DataError, match="the known frame has no column 'y'"):
        read(known.drop(columns="y"))
    with pytest.raises(DataError, match="times of the known frame are of another kind"):
        read(known.assign(ds=pd.Timestamp("2024-01-01")))
    with pytest.raises(DataError, match=r"'y' of the known frame has 12 infinite values"):
        read(known.assign(y=np.inf))


@pytest.mark.parametrize("apart", [True, False], ids=["known=", "in the frame"])
def test_known_numbers_may_be_missing_only_if_some_were_in_training(apart: bool) -> None:
    columns = Columns(target="x", group=None, scene="scene", known_covariates=["y"])
    frame = make()
    ahead = frame[frame["ds"] < 2].assign(ds=lambda f: f["ds"] + 4, x=np.nan)
    at = (ahead.unique_id == "b") & (ahead.ds == 5) & (ahead.scene == 0)
    ahead.loc[at, "y"] = np.nan

    def read(vocabulary: Vocabulary) -> Panel:
        history = frame if apart else pd.concat([frame, ahead])
        known = ahead if apart else None
        return read_frame(history, columns, horizon=2, known=known, vocabulary=vocabulary)

    full, holed = (
        (panel := read_frame(each, columns)).learn(panel.length)
        for each in (frame, frame.assign(y=frame.y.where(frame.index > 0)))
    )
    match = r"covariate 'y' of the .*frame .* in 1 of .* scene 0, unique_id 'b', ds 5.*: give its"
    with pytest.raises(DataError, match=match):
        read(Vocabulary.from_dict(full.to_dict()))
    assert np.isnan(read(Vocabulary.from_dict(holed.to_dict())).known).any()
    early = full.to_dict()  # as saved by an earlier version
    del early["covariates"][0]["gaps"]
    assert np.isnan(read(Vocabulary.from_dict(early)).known).any()


def test_a_grid_far_larger_than_the_frame() -> None:
    times = [0, 1, 60_000_000]
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": 1.0})
    with pytest.raises(DataError, match=r"60,000,001 cells for 3 rows .*'ds' .*split the frame"):
        read_frame(frame, Columns(group=None))
    with pytest.raises(DataError, match=r"2,000,000,000,000,000,\d+ cells for 4 rows"):
        ends = pd.DataFrame({"unique_id": list("aabb"), "ds": [0, 1, 0, 10**18], "y": 1.0})
        read_frame(ends, Columns(group=None))
    with pytest.raises(DataError, match=r"column 'ds' spans more than 2\*\*63: use smaller"):
        read_frame(frame.assign(ds=[-(2**62), 0, 2**62]), Columns(group=None))
