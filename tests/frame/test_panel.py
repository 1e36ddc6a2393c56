from __future__ import annotations

import json
import pickle
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import frame as frame_room
from hierforecast.errors import DataError, UnknownLabelsWarning
from hierforecast.frame import Columns, Panel, Vocabulary, read_frame
from hierforecast.frame.codes import rank
from tests.frames import LIBRARIES

ARRAYS = (
    *("scene_labels", "length", "cutoff", "row_offset", "ids", "row_scene", "groups", "types"),
    *("static", "cell_offset", "values", "present", "past", "known"),
)
COLUMNS = Columns(
    target=["x", "y"],
    group=["sector", "industry"],
    scene="market",
    group_type="kind",
    past_covariates=["volume", "mood"],
    known_covariates=["holiday", "rain"],
    static=["size", "country"],
)


def ragged(seed: int, datetimes: bool = False) -> pd.DataFrame:
    """Scenes with their own starts, series that come and go, holes, NaN; rows shuffled."""
    rng = np.random.default_rng(seed)
    rows = []
    for market in rng.permutation(["oslo", "rome", "bern"]):
        begin, steps = int(rng.integers(-20, 20)), int(rng.integers(8, 15))
        for i in rng.choice(9, size=5, replace=False):
            path = (f"sector{i % 2}", f"industry{i % 3}")
            static = (float(i), "no" if i % 2 else None)
            for t in range(steps):
                if rng.random() < 0.25:
                    continue
                x, y = (v if rng.random() > 0.1 else np.nan for v in rng.normal(size=2))
                more = (rng.choice([1.5, np.nan]), rng.choice(["good", "bad", None]))
                known = (bool(rng.random() < 0.5), rng.normal())
                rows.append((market, f"s{i}", begin + t, *path, "ab"[i % 2], x, y, *more, *known))
                rows[-1] += static
    names = ["market", "unique_id", "ds", "sector", "industry", "kind", "x", "y", "volume", "mood"]
    frame = pd.DataFrame(rows, columns=[*names, "holiday", "rain", "size", "country"])
    if datetimes:
        frame["ds"] = pd.Timestamp("2024-02-27") + pd.to_timedelta(frame["ds"], unit="h")
    order = rng.permutation(len(frame))
    return frame.iloc[order].reset_index(drop=True)


def plain(frame: pd.DataFrame) -> dict[tuple[str, str, Any], dict[str, Any]]:
    """A second, slow reader: cell by cell, in Python."""
    return {(r["market"], r["unique_id"], r["ds"]): r for r in frame.to_dict("records")}


def code(label: Any, labels: list[Any]) -> int:
    return labels.index(label) + 1 if label in labels else 0


def check(panel: Panel, frame: pd.DataFrame, horizon: int) -> None:
    """Compare every cell, row and scene of the panel with the slow reader."""
    cells, rows = plain(frame), defaultdict(list)
    for market, name, _ in cells:
        if name not in rows[market]:
            rows[market].append(name)
    assert panel.scene_labels.tolist() == sorted(rows)
    r = cell = 0
    parents: dict[int, int] = {}
    paths: dict[tuple[str, ...], int] = {}
    for s, market in enumerate(sorted(rows)):
        times = sorted({t for m, _, t in cells if m == market})
        step = 1 if isinstance(times[0], int) else pd.Timedelta("1h")
        steps = round((times[-1] - times[0]) / step) + 1
        assert (panel.cutoff[s], panel.length[s]) == (steps, steps + horizon)
        assert panel.row_offset[s] == r
        for name in sorted(rows[market]):
            own = next(c for (m, n, _), c in cells.items() if (m, n) == (market, name))
            assert (panel.ids[r], panel.row_scene[r], panel.cell_offset[r]) == (name, s, cell)
            sector, industry = panel.groups[r].tolist()
            assert paths.setdefault((own["sector"],), sector) == sector
            assert paths.setdefault((own["sector"], own["industry"]), industry) == industry
            assert parents.setdefault(industry, sector) == sector
            assert panel.types[r] == "ab".index(own["kind"])
            assert panel.static[r].tolist() == [own["size"], code(own["country"], ["no"])]
            for t in range(steps + horizon):
                time = times[0] + t * step
                assert panel.times([s], [t])[0] == (time if step == 1 else np.datetime64(time))
                check_cell(panel, cell, cells.get((market, name, time)))
                cell += 1
            r += 1
    assert (panel.row_offset[-1], len(panel.ids), len(panel.values)) == (r, r, cell)
    assert sorted(paths[p] for p in paths if len(p) == 2) == list(range(len(parents)))


def check_cell(panel: Panel, cell: int, row: dict[str, Any] | None) -> None:
    targets = [np.nan] * 2 if row is None else [row["x"], row["y"]]
    present = not np.isnan(targets).any()
    assert panel.present[cell] == present
    assert panel.values[cell].tolist() == (targets if present else [0, 0])
    past, known = [np.nan, 0.0], [0.0, np.nan]
    if row is not None:
        past = [row["volume"], code(row["mood"], ["bad", "good"])]
        known = [1.0 + row["holiday"], row["rain"]]
    np.testing.assert_array_equal(panel.past[cell], past)
    np.testing.assert_array_equal(panel.known[cell], known)


def assert_same(a: Panel, b: Panel) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert (a.clock.step, a.vocabulary) == (b.clock.step, b.vocabulary)


@pytest.mark.parametrize("seed", range(4))
def test_every_cell_agrees_with_a_slow_reader(to: Any, seed: int) -> None:
    frame = ragged(seed, datetimes=seed % 2 == 1)
    panel = read_frame(to(frame), COLUMNS, dtype=np.float64)
    check(panel, frame, horizon=0)


def test_order_of_rows_and_columns_and_further_columns_change_nothing(to: Any) -> None:
    frame = ragged(0)
    other = frame.sample(frac=1, random_state=1)[list(frame.columns[::-1])]
    other = other.assign(note="?", when=pd.Timestamp("2020-01-01"))
    assert_same(
        read_frame(to(frame), COLUMNS),
        read_frame(to(other), COLUMNS),
    )


@pytest.mark.parametrize("datetimes", [False, True])
def test_round_trip_gives_the_frame_back(library: str, to: Any, datetimes: bool) -> None:
    frame = ragged(2, datetimes).dropna(subset=["x", "y"])
    frame["unique_id"] = frame["unique_id"].astype("category")
    frame["ds"] = frame["ds"] if datetimes else frame["ds"].astype("int32")
    given = to(frame)
    panel = read_frame(given, COLUMNS, dtype=np.float64)
    cells = np.flatnonzero(panel.present)
    rows = np.searchsorted(panel.cell_offset, cells, side="right") - 1
    data = {"x": panel.values[cells, 0], "y": panel.values[cells, 1]}
    back = panel.to_frame(rows, cells - panel.cell_offset[rows], data)
    assert type(back) is type(given)
    names = ["market", "unique_id", "ds", "x", "y"]
    if library == "pandas":
        expected = frame[names].sort_values(names[:3]).reset_index(drop=True)
        pd.testing.assert_frame_equal(back, expected)
    else:
        assert column_types(back) == {k: v for k, v in column_types(given).items() if k in names}
        expected = frame[names].sort_values(names[:3]).astype({"unique_id": str})
        again = back.to_pandas().astype({"unique_id": str, "ds": expected["ds"].dtype})
        pd.testing.assert_frame_equal(again, expected.reset_index(drop=True), check_dtype=False)


def column_types(frame: Any) -> dict[str, Any]:
    """Names and types of a polars or pyarrow frame."""
    if hasattr(frame.schema, "names") and hasattr(frame.schema, "types"):
        names, types = frame.schema.names, frame.schema.types
        return dict(zip(names() if callable(names) else names, map(str, types), strict=True))
    return {name: str(kind) for name, kind in frame.schema.items()}


def test_the_frame_is_not_changed() -> None:
    frame = ragged(1)
    frame.index = frame.index[::-1]
    kept = frame.copy(deep=True)
    panel = read_frame(frame, COLUMNS)
    panel.values[:], panel.past[:], panel.static[:] = 7, 7, 7
    pd.testing.assert_frame_equal(frame, kept)


def known_after(frame: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """Future rows of every series that the frame holds, after its scene's last time."""
    pairs = frame[["market", "unique_id"]].drop_duplicates()
    pairs = pairs.merge(frame.groupby("market", as_index=False)["ds"].max())
    parts = [pairs.assign(ds=pairs["ds"] + h) for h in range(1, horizon + 1)]
    future = pd.concat(parts, ignore_index=True)
    return future.assign(
        rain=np.arange(len(future)) * 1.0, holiday=[True, None] * (len(future) // 2)
    )


def test_horizon_holds_known_covariates_and_nothing_else(to: Any) -> None:
    frame, horizon = ragged(3), 2
    known = known_after(frame, horizon)
    extra = pd.concat([known, known.assign(unique_id="new"), known.assign(market="new")])
    extra = pd.concat([extra, known.assign(ds=known["ds"] + 500)]).sample(frac=1, random_state=0)
    panel = read_frame(to(frame), COLUMNS, known=to(extra), horizon=horizon)
    assert (panel.length == panel.cutoff + horizon).all()
    plain_panel = read_frame(frame, COLUMNS)
    future = np.zeros(len(panel.values), dtype=bool)
    table = {(r.market, r.unique_id, r.ds): r for r in known.itertuples()}
    for row, scene in enumerate(panel.row_scene):
        for step in range(panel.cutoff[scene], panel.length[scene]):
            cell = panel.cell_offset[row] + step
            future[cell] = True
            market, time = panel.scene_labels[scene], panel.times([scene], [step])[0]
            truth = table[market, panel.ids[row], time]
            assert panel.known[cell].tolist() == [2.0 if truth.holiday else 0.0, truth.rain]
    assert not panel.present[future].any() and not panel.values[future].any()
    assert np.isnan(panel.past[future, 0]).all()
    for name in ("values", "present", "past", "known"):
        np.testing.assert_array_equal(getattr(panel, name)[~future], getattr(plain_panel, name))


def test_known_in_another_library_and_for_context_only() -> None:
    frame = ragged(3)
    frame = frame[
        (frame["unique_id"] != frame["unique_id"].iloc[0]) | (frame["ds"] < frame["ds"].median())
    ]
    known = known_after(frame, 1)
    early = read_frame(frame, COLUMNS)
    alive = {
        (early.scene_labels[s], early.ids[r])
        for r, s in enumerate(early.row_scene)
        if early.present[
            early.cell_offset[r] + np.arange(early.cutoff[s] - 2, early.cutoff[s])
        ].any()
    }
    few = known[[pair in alive for pair in zip(known["market"], known["unique_id"], strict=True)]]
    assert 0 < len(few) < len(known)
    read_frame(frame, COLUMNS, known=LIBRARIES["polars"](few), horizon=1, context=2)
    with pytest.raises(DataError, match="the known frame lacks"):
        read_frame(frame, COLUMNS, known=few, horizon=1)


def test_vocabulary_is_reused_and_unknown_categories_are_code_0() -> None:
    panel = read_frame(ragged(0), COLUMNS)
    stored = json.loads(json.dumps([panel.vocabulary.to_dict(), COLUMNS.to_dict()]))
    vocabulary, columns = Vocabulary.from_dict(stored[0]), Columns.from_dict(stored[1])
    assert (vocabulary, columns) == (panel.vocabulary, COLUMNS)
    few = ragged(0).query("kind == 'b' and mood != 'bad'").assign(country="pe")
    with pytest.warns(UnknownLabelsWarning, match=r"'country' .*: they are 'pe' now .* were 'no'"):
        again = read_frame(few, columns, vocabulary=vocabulary, step=panel.clock.step)
    assert again.types.tolist() == [1] * len(again.ids)
    assert set(again.past[:, 1]) == {0.0, 2.0} and set(again.static[:, 1]) == {0.0}


def test_one_scene_one_target_no_group() -> None:
    frame = pd.DataFrame(
        {"ds": [1, 2, 3, 2], "unique_id": [7, 7, 7, 5], "y": [True, False, True, True]}
    )
    panel = read_frame(frame, Columns(group=None), horizon=1)
    assert panel.groups.tolist() == [[0], [0]] and panel.types.tolist() == [0, 0]
    assert panel.values[:, 0].tolist() == [0, 1, 0, 0, 1, 0, 1, 0]
    back = panel.to_frame([1], [3], {"y": [0.5]})
    assert back.to_dict("list") == {"unique_id": [7], "ds": [4], "y": [0.5]}


def test_times_of_a_cutoff_column_keep_their_type_and_panels_pickle() -> None:
    frame = ragged(1, datetimes=True)
    frame["ds"] = frame["ds"].dt.tz_localize("America/New_York")
    panel = pickle.loads(pickle.dumps(read_frame(frame, COLUMNS)))
    cutoff = panel.time_column("cutoff", np.array([0]), panel.cutoff[:1] - 1)
    back = panel.to_frame([0], [0], {"cutoff": cutoff})
    assert back["cutoff"].dtype == back["ds"].dtype == frame["ds"].dtype
    assert back["cutoff"][0] == frame.loc[frame["market"] == "bern", "ds"].max()


def test_the_docstring_of_the_room_names_each_module() -> None:
    files = {path.stem for path in Path(frame_room.__file__).parent.glob("[a-z]*.py")}
    assert files == set(re.findall(r"`([a-z_]+)(?:\.read_frame)?`", frame_room.__doc__ or ""))


@pytest.mark.parametrize("n", [1, 5000])
def test_codes_of_wide_and_narrow_keys(n: int) -> None:
    rng = np.random.default_rng(0)
    for keys in (
        rng.integers(-100, 100, n).astype(np.int8),
        rng.integers(-(2**62), 2**62, n),
        rng.integers(5, 10**6, n).astype(np.uint32),
    ):
        codes, distinct = rank(keys)
        expected, inverse = np.unique(keys, return_inverse=True)
        np.testing.assert_array_equal(distinct, expected)
        np.testing.assert_array_equal(codes, inverse)
