from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hierforecast import Forecaster, Ridge
from hierforecast.datasets import hierarchical, load_hierarchical
from hierforecast.errors import DataError
from hierforecast.frame import read_frame
from hierforecast.io import fetch
from hierforecast.io.fetch import RemoteFile
from tests.datasets.scripts import script

STEPS = 30


def made(name: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """data.csv, agg_mat.csv and tags.csv of a set in which every factor has two values."""
    factors = hierarchical.FACTORS[name]
    values = [[f"{factor}{i}" for i in "AB"] for factor in factors]
    paths = pd.DataFrame(list(product(*values)), columns=list(factors))
    bottom = paths.agg("".join, axis=1)
    rows, names = [], []
    for level in hierarchical.LEVELS[name]:
        keys = paths[level].agg("+".join, axis=1) if level else pd.Series("all", paths.index)
        last = len(level) == len(factors)
        for key in keys.unique():
            rows.append((keys == key).to_numpy(float))
            names.append(bottom[int(rows[-1].argmax())] if last else key)
    summing = np.array(rows)
    series = np.random.default_rng(0).gamma(2.0, 10.0, (STEPS, len(paths)))
    index = pd.date_range("2010-01-01", periods=STEPS, freq="MS").strftime("%Y-%m-%d")
    data = pd.DataFrame(series @ summing.T, index=index, columns=names)
    # A header in another order, as labour has it.
    matrix = pd.DataFrame(summing, index=names, columns=bottom.to_numpy()[::-1])
    depth = range(len(factors) + 1)
    tags = pd.DataFrame(
        {d: ("T-" + paths.iloc[:, :d].agg("-".join, axis=1) if d else "T") for d in depth},
        index=paths.index,
    )
    return data, matrix, tags


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes a made set, changed or not, and has the loader know its files."""
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("HIERFORECAST_DATA", raising=False)

    def write(name: str, change=lambda data, matrix, tags: None) -> Path:
        tables = made(name)
        change(*tables)
        files = {}
        for part, table in zip(("data", "agg_mat", "tags"), tables, strict=True):
            path = tmp_path / "hierarchical" / name / f"{part}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(path, header=part != "tags", index=part != "tags")
            content = path.read_bytes()
            files[part] = RemoteFile(
                f"hierarchical/{name}/{part}.csv", hashlib.sha256(content).hexdigest()
            )
        monkeypatch.setitem(hierarchical.FILES, name, files)
        return tmp_path

    return write


@pytest.mark.parametrize("name", list(hierarchical.FACTORS))
def test_every_node_is_the_sum_that_its_level_says(folder, name):
    demand = load_hierarchical(name, root=folder(name))
    factors = list(hierarchical.FACTORS[name])
    assert list(demand.frame.columns) == ["ds", "unique_id", *factors, "y"]
    assert len(demand.frame) == STEPS * 2 ** len(factors)
    nodes = pd.DataFrame(demand.add_up(demand.values()), index=demand.nodes)
    assert sum(map(len, demand.tags.values())) == len(demand.nodes)
    for level, names in demand.tags.items():
        path = level.split("/") if level != "total" else []
        wanted = demand.frame.groupby([*path, "ds"])["y"].sum().to_numpy().reshape(-1, STEPS)
        found = nodes.loc[list(names)].to_numpy()
        np.testing.assert_allclose(np.sort(found, axis=0), np.sort(wanted, axis=0))
    assert demand.tags[list(demand.tags)[-1]].tolist() == list(demand.series)


def test_the_header_of_the_matrix_is_not_believed(folder):
    demand = load_hierarchical("labour", root=folder("labour"))
    data, matrix, _ = made("labour")
    assert list(matrix.columns) != list(demand.series)
    np.testing.assert_allclose(demand.add_up(demand.values()), data.to_numpy().T)


def test_values_keep_their_series_whatever_the_order_of_rows(folder):
    demand = load_hierarchical("tourismsmall", root=folder("tourismsmall"))
    shuffled = demand.frame.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(demand.values(shuffled), demand.values())
    twice = demand.values(shuffled.assign(f=shuffled["y"] * 2), "f")
    np.testing.assert_array_equal(twice, 2 * demand.values())
    first = demand.series[0]
    with pytest.raises(DataError, match="sums need every series"):
        demand.values(demand.frame[demand.frame["unique_id"] != first])


def test_draws_added_up_are_coherent_and_shapes_are_checked(folder):
    demand = load_hierarchical("wiki2", root=folder("wiki2"))
    draws = np.random.default_rng(1).normal(size=(5, len(demand.series), 3))
    nodes = demand.add_up(draws)
    assert nodes.shape == (5, len(demand.nodes), 3)
    np.testing.assert_allclose(nodes[:, 0], draws.sum(1))
    np.testing.assert_array_equal(nodes[:, -len(demand.series) :], draws)
    with pytest.raises(ValueError, match="expected"):
        demand.add_up(draws[:, 1:])


def test_the_days_that_traffic_repeats_are_left_out(folder, monkeypatch):
    monkeypatch.setitem(hierarchical.N_DISTINCT, "traffic", 20)
    root = folder("traffic")
    assert load_hierarchical("traffic", root=root).frame["ds"].nunique() == 20
    assert load_hierarchical("traffic", copies="keep", root=root).frame["ds"].nunique() == STEPS


def test_crossed_factors_make_two_ways_of_grouping_and_a_static_covariate(folder):
    demand = load_hierarchical("tourismlarge", root=folder("tourismlarge"))
    panel = read_frame(demand.frame, demand.columns)
    assert [len(np.unique(level)) for level in panel.groups.T] == [2, 4, 8]
    assert demand.columns.crossed == (("purpose",),)
    assert [len(np.unique(way)) for way in panel.crossed] == [2]
    assert demand.columns.static == ("purpose",) and panel.static.shape == (16, 1)
    assert len(demand.tags["purpose"]) == 2 and len(demand.tags["state/purpose"]) == 4
    forecaster = Forecaster(
        Ridge(), context_length=5, prediction_length=2, columns=demand.columns
    ).fit(demand.frame)
    assert len(forecaster.predict(demand.frame)) == 16 * 2


def broken_sum(data, matrix, tags):
    data.iloc[3, 0] += 1.0


def broken_level(data, matrix, tags):
    tags.iloc[:, -1] = tags.iloc[::-1, -1].to_numpy()
    tags.iloc[0, -1], tags.iloc[2, -1] = tags.iloc[2, -1], tags.iloc[0, -1]


def broken_bottom(data, matrix, tags):
    matrix.iloc[-1] = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken_sum, "is not the sum of its series"),
        (broken_level, "are not the level"),
        (broken_bottom, "do not fit"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_a_remedy(folder, change, message):
    with pytest.raises(DataError, match=message) as caught:
        load_hierarchical("labour", root=folder("labour", change))
    assert "Get" in str(caught.value)


def test_a_wrong_name_is_told_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="tourismlarge"):
        load_hierarchical("tourism")
    with pytest.raises(ValueError, match="'keep'"):
        load_hierarchical("labour", copies="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(hierarchical.FACTORS))
def test_the_real_sets(shared_data, name):
    demand = load_hierarchical(name, root=shared_data)
    whole = load_hierarchical(name, copies="keep", root=shared_data)
    n, nodes = hierarchical.N_SERIES[name], hierarchical.N_NODES[name]
    assert demand.summing.shape == (nodes, n)
    assert demand.values().shape == (n, hierarchical.N_DISTINCT[name])
    assert whole.values().shape == (n, hierarchical.N_STEPS[name])
    assert (demand.values() >= 0).all()
    panel = read_frame(demand.frame, demand.columns)
    assert panel.length.tolist() == [hierarchical.N_DISTINCT[name]]


def test_the_copied_days_of_the_real_traffic(shared_data):
    whole = load_hierarchical("traffic", copies="keep", root=shared_data).values()
    distinct = hierarchical.N_DISTINCT["traffic"]
    np.testing.assert_array_equal(whole[:, distinct:], whole[:, : whole.shape[1] - distinct])
    assert len(np.unique(whole[:, :distinct], axis=1).T) == distinct


def test_the_script_writes_the_series(shared_data, tmp_path):
    pytest.importorskip("pyarrow")
    assert script("hierarchical").prepare("tourismsmall", shared_data, tmp_path) == 56 * 36
    assert len(pd.read_parquet(tmp_path / "tourismsmall.parquet")) == 56 * 36
