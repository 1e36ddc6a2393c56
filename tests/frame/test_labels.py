"""Labels of every kind: dictionaries that know more than the rows, labels of several columns."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster
from hierforecast.errors import DataError
from hierforecast.frame import read_frame
from hierforecast.frame.codes import factorize
from tests import frames
from tests.frames import pa, pl


def fit(frame: Any, **roles: Any) -> Forecaster:
    return frames.fit(frame, Columns(**{"group": None, **roles}), horizon=2)


def rows(frame: Any) -> list[dict[str, Any]]:
    return list(nw.from_native(frame).iter_rows(named=True))


# --- dictionaries -------------------------------------------------------------------------------

# A column of a, b, a, b as each library may hold it; the dictionaries know more than the rows.
HELD: dict[str, Any] = {
    "pandas, filtered": lambda: pd.Series(pd.Categorical([*"zabab"], [*"zyxab"]))[1:],
    "pandas, ordered": lambda: pd.Series(pd.Categorical([*"abab"], [*"zba"], ordered=True)),
    "pandas, of pyarrow": lambda: pd.Series([*"abab"], dtype="string[pyarrow]"),
    "polars, filtered": lambda: pl.Series([*"zabab"], dtype=pl.Categorical)[1:],
    "polars, appended": lambda: pl.Series([*"ab"], dtype=pl.Categorical).append(
        pl.Series([*"zab"], dtype=pl.Categorical)[1:]
    ),
    "polars, enum": lambda: pl.Series([*"abab"], dtype=pl.Enum([*"zbya"])),
    "pyarrow, sliced": lambda: pa.chunked_array([pa.array([*"zabab"]).dictionary_encode()[1:]]),
    "pyarrow, filtered": lambda: pa.chunked_array(
        [pa.array([*"zabab"]).dictionary_encode()]
    ).filter(pa.array([False] + [True] * 4)),
    "pyarrow, chunks that disagree": lambda: pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays([2, 1], ["z", "b", "a"]),
            pa.DictionaryArray.from_arrays([0, 2], ["a", "y", "b"]),
        ]
    ),
    "pyarrow, a label twice": lambda: pa.chunked_array(
        [pa.DictionaryArray.from_arrays([0, 2, 1, 2], ["a", "a", "b", "z"])]
    ),
    "pyarrow, no label": lambda: pa.chunked_array(
        [pa.DictionaryArray.from_arrays([1, 2, 1, 2], [None, "a", "b"])]
    ),
    "pyarrow, large": lambda: pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays(
                pa.array([1, 0, 1, 0], "uint8"), pa.array([*"baz"], "large_string")
            )
        ]
    ),
}


def table_of(held: Any, times: int = 12) -> Any:
    """Two series whose labels stand in `held`, over `times` steps, in its library."""
    if isinstance(held, pd.Series):
        parts = [pd.DataFrame({"label": held.reset_index(drop=True)}) for _ in range(times // 2)]
        frame = pd.concat(parts, ignore_index=True)
        return frame.assign(ds=np.repeat(np.arange(times), 2), y=[1.0, 2.0] * times)
    step, y = np.repeat(np.arange(times), 2), np.array([1.0, 2.0] * times)
    if isinstance(held, pl.Series):
        column = held.clone()
        for _ in range(times // 2 - 1):
            column = pl.concat([column, held])
        return pl.DataFrame({"label": column, "ds": step, "y": y})
    column = pa.chunked_array([chunk for _ in range(times // 2) for chunk in held.chunks])
    return pa.table({"label": column, "ds": step, "y": y})


@pytest.mark.parametrize("case", HELD)
def test_labels_that_no_row_uses_do_not_exist(case: str) -> None:
    held = HELD[case]()
    series = nw.from_native(held, series_only=True)
    codes, labels = factorize(series)
    assert codes.tolist() == [0, 1, 0, 1] and labels.tolist() == ["a", "b"]
    frame = table_of(held)
    forecast = fit(frame, id="label").predict(frame)
    assert [(str(r["label"]), r["ds"], r["LastValue"]) for r in rows(forecast)] == [
        ("a", 12, 1),
        ("a", 13, 1),
        ("b", 12, 2),
        ("b", 13, 2),
    ]
    assert nw.from_native(forecast).schema["label"] == series.dtype
    wide = nw.from_native(frame)
    wide = wide.with_columns(
        nw.new_series("unique_id", np.tile([1, 2], 12), backend=wide.implementation)
    )
    for role in ("group", "scene", "group_type", "static", "past_covariates"):
        given = wide.to_native()
        fitted = fit(
            given, **{role: ["label"] if role in ("static", "past_covariates") else "label"}
        )
        learned = fitted.vocabulary_
        known = learned.types + tuple(k for c in learned.covariates for k in c.categories or ())
        assert known == () if role in ("group", "scene") else ("a", "b")
        found = [(r["unique_id"], r["LastValue"]) for r in rows(fitted.predict(given))]
        assert found == [(1, 1), (1, 1), (2, 2), (2, 2)]


@pytest.mark.parametrize(
    ("held", "labels"),
    [
        (pa.chunked_array([pa.DictionaryArray.from_arrays([2, 0, 2, 0], [9, 8, 7])]), [7, 9]),
        (pd.Series(pd.Categorical([7, 9, 7, 9], [9, 8, 7])), [7, 9]),
        (pd.Series([7, 9, 7, 9], dtype="Int64"), [7, 9]),
        (pd.Series([7, 9, 7, 9], dtype="int64[pyarrow]"), [7, 9]),
        (pl.Series([7, 9, 7, 9], dtype=pl.UInt64), [7, 9]),
        (pd.Series([0.5, -1.5] * 2), [-1.5, 0.5]),
        (pd.Series([True, False] * 2), [False, True]),
        (pd.Series([False, True] * 2, dtype="boolean"), [False, True]),
        (pa.chunked_array([[True, False] * 2]), [False, True]),
        (pl.Series(["", "é"] * 2), ["", "é"]),
        (pa.chunked_array([["", "\N{SNOWMAN}"], ["", "\N{SNOWMAN}"]]), ["", "\N{SNOWMAN}"]),
        (pd.Series(["", "é"] * 2, dtype="string"), ["", "é"]),
        (pd.Series(["", "é"] * 2, dtype="object"), ["", "é"]),
    ],
    ids=str,
)
def test_ids_of_every_type_come_back_as_they_are(held: Any, labels: list[Any]) -> None:
    frame = table_of(held)
    _, found = factorize(nw.from_native(held, series_only=True))
    assert found.tolist() == labels
    forecast = fit(frame, id="label").predict(frame)
    given = nw.from_native(frame)["label"].to_list()[:2]
    assert [r["label"] for r in rows(forecast)] == [k for k in labels for _ in range(2)]
    assert [r["LastValue"] for r in rows(forecast)] == [
        given.index(k) + 1 for k in labels for _ in range(2)
    ]
    assert nw.from_native(forecast).schema["label"] == nw.from_native(frame).schema["label"]


def test_a_null_within_a_dictionary_is_a_null() -> None:
    held = pa.DictionaryArray.from_arrays([0, 1, 0, 1], [None, "b"])
    frame = table_of(pa.chunked_array([held]))
    with pytest.raises(DataError, match=r"column 'label' .* 12 null values, the first in row 0"):
        fit(frame, id="label")
    codes, labels = factorize(nw.from_native(pa.chunked_array([held]), series_only=True))
    assert codes.tolist() == [-1, 0, -1, 0] and labels.tolist() == ["b"]


# --- labels of several columns ------------------------------------------------------------------

# Joined by any mark, some of these would be equal: a|b and c, a and b|c.
SERIES = [("a|b", "c", 1), ("a", "b|c", 1), ("a", "b|c", 2), ("a ", "b|c", 2), ("", "a|b|c", 2)]


def shops(n: int = 16) -> pd.DataFrame:
    """A row for each series and time; the k-th series is 100 k, plus the time."""
    parts = [
        pd.DataFrame({"city": c, "shop": s, "item": np.int8(i), "ds": range(n), "y": 100.0 * k})
        for k, (c, s, i) in enumerate(SERIES)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.assign(y=frame.y + frame.ds, city=frame.city.astype("category"))
    return frame.sample(frac=1, random_state=0, ignore_index=True)


def test_several_columns_name_a_series(to: Any) -> None:
    frame = to(shops())
    fitted = fit(frame, id=["city", "shop", "item"], group=[["city", "shop"], "item"])
    schema = nw.from_native(frame).schema
    names = ["city", "shop", "item", "ds"]
    answers = {
        "predict": (fitted.predict(frame, level=[80]), ["LastValue"]),
        "sample": (fitted.sample(frame, 2), ["sample_id", "LastValue"]),
        "backtest": (fitted.backtest(frame), ["cutoff", "y", "LastValue"]),
        "distribution": (fitted.distribution(frame)[1], []),
    }
    for what, (answer, more) in answers.items():
        assert type(answer) is type(frame), what
        table = nw.from_native(answer)
        assert table.columns[: 4 + len(more)] == [*names, *more], what
        assert all(table.schema[name] == schema[name] for name in names), what
    first = [r for r in rows(answers["predict"][0]) if r["ds"] == 16]
    found = [(r["city"], r["shop"], r["item"], r["LastValue"]) for r in first]
    assert found == sorted((*key, 15 + 100.0 * k) for k, key in enumerate(SERIES))
    for r in rows(answers["backtest"][0]):
        assert r["y"] == 100 * SERIES.index((r["city"], r["shop"], r["item"])) + r["ds"]


def test_several_columns_name_a_scene_and_a_group(to: Any) -> None:
    frame = to(shops())
    columns = Columns(id="item", scene=["city", "shop"], group=[["city", "shop"]])
    panel = read_frame(frame, columns)
    assert panel.scene_labels.tolist() == sorted({key[:2] for key in SERIES})
    assert panel.scene_name(1) == "city 'a', shop 'b|c'"
    assert panel.series_name(2) == "city 'a', shop 'b|c', item 2"
    assert panel.groups[:, 0].tolist() == panel.row_scene.tolist()
    forecast = fit(frame, id="item", scene=["city", "shop"]).predict(frame)
    assert nw.from_native(forecast).columns == ["city", "shop", "item", "ds", "LastValue"]
    found = {(r["city"], r["shop"], r["item"]): r["LastValue"] for r in rows(forecast)}
    assert found == {key: 15 + 100.0 * k for k, key in enumerate(SERIES)}


def test_known_covariates_of_series_with_several_columns(to: Any) -> None:
    frame = shops().assign(plan=lambda f: f.ds * 1.0 + f.item)
    ahead = frame[frame.ds > 13].assign(ds=lambda f: f.ds + 2, plan=lambda f: f.y).drop(columns="y")
    columns = Columns(id=["city", "shop", "item"], group=None, known_covariates=["plan"])
    panel = read_frame(to(frame), columns, known=to(ahead), horizon=2)
    for row, key in enumerate(sorted(SERIES)):
        assert panel.ids[row] == key
        cells = panel.cell_offset[row] + np.arange(14, 18)
        plan = [14 + key[2], 15 + key[2], *(100 * SERIES.index(key) + np.array([14, 15]))]
        assert panel.known[cells, 0].tolist() == plan
    with pytest.raises(
        DataError, match=r"lacks 1 of .* city '', shop 'a\|b\|c', item 2, ds 17: give"
    ):
        read_frame(
            to(frame), columns, known=to(ahead[(ahead.city != "") | (ahead.ds < 17)]), horizon=2
        )


def test_columns_of_several_columns() -> None:
    columns = Columns(
        id=["store", "item"], scene=("year", "quarter"), group=[["country", "region"], "store"]
    )
    assert Columns.from_dict(columns.to_dict()) == columns and hash(columns)
    assert columns.to_dict()["group"] == [["country", "region"], "store"]
    assert columns.ids == ("store", "item") and columns.scenes == ("year", "quarter")
    assert columns.levels == (("country", "region"), ("store",))
    assert columns.groups == ("country", "region", "store")
    assert columns.keys == ("year", "quarter", "store", "item", "ds")
    roles = dict.fromkeys(role for role, _ in columns.roles())
    assert list(roles) == ["id", "time", "target", "group", "scene"]
    assert Columns(id=["item"], scene=["year"], group=[["a"]]) == Columns(
        "item", group=["a"], scene="year"
    )


def test_messages_and_saving_with_ids_of_several_columns(tmp_path: Any) -> None:
    frame = shops()
    fitted = fit(frame, id=["city", "shop", "item"])
    fitted.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    assert again.columns == fitted.columns
    pd.testing.assert_frame_equal(again.predict(frame), fitted.predict(frame))
    columns = Columns(id=["city", "item"], group="shop", scene=None)
    clash = frame.assign(shop=np.where(frame.ds < 3, "x", frame["shop"]))
    message = r"series city '', item 2 is in two groups of column 'shop', '(a\|b\|c|x)' and '"
    with pytest.raises(DataError, match=message) as caught:
        read_frame(clash[clash["city"] == ""], columns)
    assert caught.value.remedy.endswith("Columns(id=['shop', 'city', 'item'], group='shop')")
