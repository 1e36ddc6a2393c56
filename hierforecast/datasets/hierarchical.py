"""Hierarchical demand: five sets of series that add up, with the matrix that adds them.

What the files are, with counts and every fault found in them: ``datasets/hierarchical/README.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from hierforecast.datasets._loader import long_of
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.io.fetch import RemoteFile, locate

SOURCE = (
    "https://raw.githubusercontent.com/rshyamsundar/gluonts-hierarchical-ICML-2021/"
    "a822a9d7c571e20ef2e1d554e6a678c2404ee2b3/experiments/data/"
)
N_SERIES = {"labour": 32, "traffic": 200, "tourismsmall": 56, "tourismlarge": 304, "wiki2": 150}
N_NODES = {"labour": 57, "traffic": 207, "tourismsmall": 89, "tourismlarge": 555, "wiki2": 199}
N_STEPS = {"labour": 514, "traffic": 366, "tourismsmall": 36, "tourismlarge": 228, "wiki2": 366}
# Days of traffic before the file begins again: day 268 is day 1, day 366 is day 99.
N_DISTINCT = {**N_STEPS, "traffic": 267}
HORIZON = {"labour": 8, "traffic": 1, "tourismsmall": 8, "tourismlarge": 12, "wiki2": 1}
SEASON = {"labour": 12, "traffic": 7, "tourismsmall": 4, "tourismlarge": 12, "wiki2": 7}

# What each part of a path in tags.csv means, after the total.
FACTORS = {
    "labour": ("state", "sex", "employment"),
    "traffic": ("half", "quarter", "sensor"),
    "tourismsmall": ("purpose", "state", "place"),
    "tourismlarge": ("state", "zone", "region", "purpose"),
    "wiki2": ("language", "access", "agent", "page"),
}
# The group columns, coarse to fine, what crosses them, and what else tells series apart.
GROUPS = {
    "labour": ("state", "sex"),
    "traffic": ("half", "quarter"),
    "tourismsmall": ("purpose", "state"),
    "tourismlarge": ("state", "zone", "region"),
    "wiki2": ("language", "access", "agent"),
}
CROSSED = {name: ("purpose",) if name == "tourismlarge" else () for name in GROUPS}
STATIC = {
    "labour": ("employment",),
    "traffic": (),
    "tourismsmall": ("place",),
    "tourismlarge": ("purpose",),
    "wiki2": (),
}
# The factors that make each level of the summing matrix, top to bottom. Where two are crossed, the
# levels of the one come first, and again within each part of the other.
_NESTED = {name: [list(f[:depth]) for depth in range(len(f) + 1)] for name, f in FACTORS.items()}
LEVELS = {
    **_NESTED,
    "tourismlarge": [
        *_NESTED["tourismlarge"][:-1],
        *([*path, "purpose"] for path in _NESTED["tourismlarge"][:-1]),
    ],
}

# Bytes and SHA-256 of each file.
_SUMS = {
    "labour": {
        "agg_mat": (11_424, "689801cff86adb61fef0578a06757106b712ec8c0991051c8335ac0dba5eba29"),
        "data": (375_121, "f53a66d035cc95d2d5ab16932d12d8b45799705e0a9332ae3fa0f9fdf166e18e"),
        "tags": (2_720, "deaf4b6dfc04c787228f0ed1d1daa68943d3cdeed33eda3e760ca8af088b1620"),
    },
    "traffic": {
        "agg_mat": (169_413, "eeca8c5c7436264e51d0339666f380665395e804b17f43466e51c64b58fdbe9f"),
        "data": (1_219_386, "3af82e94effc62e33b96e9d3a8dc8754c455fc6f18fd56a9c30ee98cffb61023"),
        "tags": (6_892, "31fbacf18f61fd782bd2baceaefc4401163e860235e646374d6d6e0c157cb0c3"),
    },
    "tourismsmall": {
        "agg_mat": (21_747, "c05bffef110d550133a11459fb64b8d4bc390d43409c6e799468de32fdbc77c1"),
        "data": (15_744, "5492570ed99b64df9d530d025f4ced913f54cdc43e489544b8878c6502b23845"),
        "tags": (1_884, "1e2c120025c29cd0dcd3fa0ccef3c701acecf5d8ee9936a87ca6f31d66fd00d0"),
    },
    "tourismlarge": {
        "agg_mat": (680_699, "7f8a911922fb9d19a470b7c89769ec30bba686685f2899d62db413be86ad586f"),
        "data": (1_444_983, "2c38bd1625889f4414079296507c54762122b0b4c86c0ecc0fe6f84f6f6ead0e"),
        "tags": (9_728, "bf6ab57469e55faa40fc341b43f95c9ce721e847d35e5a0a39272fdbf4c5107e"),
    },
    "wiki2": {
        "agg_mat": (65_315, "41174075d1feb6bb4aec8dd477b926f7c86d0956ab24738011ee11f2e4a1b257"),
        "data": (303_029, "157f97d1f9041c99266a5deff3a2f2789e80f8b157fd947cfa7782c4b990c393"),
        "tags": (6_900, "4d3dc850e4a77a7420a10dcb63fda54b83b1a6511d14b2eb309a0dda828f65bd"),
    },
}
FILES = {
    name: {
        part: RemoteFile(f"hierarchical/{name}/{part}.csv", sha, f"{SOURCE}{name}/{part}.csv", size)
        for part, (size, sha) in parts.items()
    }
    for name, parts in _SUMS.items()
}


@dataclass(frozen=True, eq=False)
class Demand:
    """A set of series that add up.

    A *node* is a series or a sum of series; the last `n` nodes are the series themselves.

    Attributes:
        frame: long frame of the series (the bottom): ``ds``, ``unique_id``, the factors, ``y``.
        summing: (nodes, n) float64 zeros and ones: node = row · series.
        nodes: names of the rows of `summing`.
        tags: level -> its nodes' names, top to bottom, as `hierarchicalforecast` takes them.
        columns: for `Forecaster`: group columns coarse to fine, a crossed factor as `crossed`.
        horizon: steps that the benchmark forecasts.
        season: steps of a season.
    """

    frame: pd.DataFrame
    summing: np.ndarray
    nodes: tuple[str, ...]
    tags: dict[str, np.ndarray]
    columns: Columns
    horizon: int
    season: int

    @property
    def series(self) -> tuple[str, ...]:
        """The ids of the n series, in the order of the columns of `summing`."""
        return self.nodes[-self.summing.shape[1] :]

    def values(self, frame: pd.DataFrame | None = None, column: str = "y") -> np.ndarray:
        """A long frame of the series, of any order of rows, as (n, steps) in the order of `series`.

        Args:
            frame: None takes the set's own.
            column: which numbers; a cell without a row is NaN.

        Raises:
            DataError: if a series is missing.
        """
        frame = self.frame if frame is None else frame
        wide = frame.pivot(index="unique_id", columns="ds", values=column)
        gone = [name for name in self.series if name not in wide.index]
        if gone:
            raise DataError(
                f"{len(gone)} of {len(self.series)} series are not in the frame, the first is "
                f"{gone[0]!r}: sums need every series"
            )
        return wide.loc[list(self.series)].to_numpy(np.float64)

    def add_up(self, series: np.ndarray) -> np.ndarray:
        """Values of the series (..., n, steps), joint draws too, to all nodes (..., nodes, steps).

        Draws that are added up are coherent by construction: every sum is that of its parts.
        """
        if series.ndim < 2 or series.shape[-2] != self.summing.shape[1]:
            raise ValueError(
                f"series has shape {series.shape}, expected (..., {self.summing.shape[1]}, steps): "
                "the rows of every series in the order of .series"
            )
        return self.summing @ series


def load_hierarchical(
    name: str, *, copies: Literal["drop", "keep"] = "drop", root: Path | str | None = None
) -> Demand:
    """Monthly, quarterly or daily demand in a hierarchy, and the matrix that adds it up.

    - ``"labour"``: employed persons in Australia, thousands, monthly 1978-02 to 2020-11.
    - ``"traffic"``: occupancy of 200 freeway lanes, daily. The days are numbered as dates of 2008;
      holidays are left out of the source, so that weekdays drift. **The file begins again after
      267 days**: its last 99 days are its first 99, the standard test day among them.
    - ``"tourismsmall"``: visitor nights in Australia, thousands, quarterly 1998 to 2006.
    - ``"tourismlarge"``: visitor nights in Australia, thousands, monthly 1998 to 2016. *Crossed*:
      it adds up by geography (state, zone, region), by purpose, and by both.
    - ``"wiki2"``: daily views of 150 pages, 2016.

    Group columns are read as a path, coarse to fine: ``["state", "purpose"]`` means purposes within
    a state. Factors that are crossed have no such order. There geography makes the groups, and the
    purpose is a further way of grouping (`Columns.crossed`) and a static covariate, which says that
    purposes are not interchangeable; `Demand.summing` has the sums of both.

    Args:
        name: one of the five.
        copies: ``"drop"`` cuts traffic before its copied days; ``"keep"`` takes the file as it is:
            for comparing with others' figures only.
        root: folder with ``hierarchical/`` (or the files themselves), looked in first.

    Returns:
        The series, the summing matrix read by position (labour's header names other columns), and
        what a forecaster needs.

    Raises:
        ValueError: for an unknown `name` or `copies`.
        FileNotFoundError: if a file is not found and cannot be downloaded.
        DataError: if a file is damaged, or the files do not fit one another.
    """
    if name not in FACTORS or copies not in ("drop", "keep"):
        raise ValueError(
            f"name={name!r}, copies={copies!r}: name is one of {list(FACTORS)}, copies is 'drop' "
            "or 'keep'"
        )
    data, matrix, tags = (
        locate(FILES[name][part], root=root) for part in ("data", "agg_mat", "tags")
    )
    wide = pd.read_csv(data, index_col=0)
    summing = pd.read_csv(matrix, index_col=0).to_numpy(np.float64)
    paths = pd.read_csv(tags, header=None, dtype=str).iloc[:, -1].str.split("-", expand=True)
    n = summing.shape[1]
    _check_sums(name, wide, summing, len(paths))
    factors = paths.iloc[:, 1:].set_axis(list(FACTORS[name]), axis=1)
    if copies == "drop":
        wide = wide.iloc[: N_DISTINCT[name]]
    nodes = tuple(map(str, wide.columns))
    return Demand(
        frame=long_of(wide.iloc[:, -n:].set_axis(pd.to_datetime(wide.index)), factors),
        summing=summing,
        nodes=nodes,
        tags=_tags(name, summing, nodes, factors),
        columns=Columns(group=list(GROUPS[name]), crossed=CROSSED[name], static=STATIC[name]),
        horizon=HORIZON[name],
        season=SEASON[name],
    )


def _check_sums(name: str, wide: pd.DataFrame, summing: np.ndarray, n_paths: int) -> None:
    """Refuse files that are not of one set: shapes, names, and every sum at every time."""
    rows, n = summing.shape
    if wide.shape[1] != rows or n_paths != n or not (summing[-n:] == np.eye(n)).all():
        raise DataError(
            f"the files of {name!r} do not fit: data.csv has {wide.shape[1]} columns, agg_mat.csv "
            f"{rows} rows and {n} columns, the last of which should be the series themselves, "
            f"tags.csv {n_paths} rows. Get them again from {SOURCE}{name}"
        )
    off = np.abs(wide.to_numpy() - wide.to_numpy()[:, -n:] @ summing.T)
    worst = int(off.max(0).argmax())
    if not off.max() <= 1e-6 * np.abs(wide.to_numpy()).max():  # NaN too
        raise DataError(
            f"column {wide.columns[worst]!r} of {name!r} is not the sum of its series: data.csv "
            f"and agg_mat.csv are of different versions. Get them again from {SOURCE}{name}"
        )


def _tags(
    name: str, summing: np.ndarray, nodes: tuple[str, ...], factors: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Level -> names of its nodes; each level holds every series once, split by its factors."""
    tags, start = {}, 0
    for path in LEVELS[name]:
        wanted = factors[path].agg("/".join, axis=1) if path else pd.Series("", factors.index)
        rows = summing[start : start + wanted.nunique()]
        split = {tuple(sorted(wanted[row > 0].unique())) for row in rows}
        if (rows.sum(0) != 1).any() or len(split) != len(rows) or max(map(len, split)) != 1:
            raise DataError(
                f"rows {start} to {start + len(rows) - 1} of {name}/agg_mat.csv are not the level "
                f"{path or ['total']} of tags.csv. Get both again from {SOURCE}{name}"
            )
        tags["/".join(path) or "total"] = np.array(nodes[start : start + len(rows)])
        start += len(rows)
    return tags
