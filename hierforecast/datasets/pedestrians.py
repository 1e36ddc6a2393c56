"""Pedestrians seen from above (ETH and UCY), 2.5 times a second: people come and go.

Meters; nobody has a group. What the files are, with counts: ``datasets/pedestrians/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from hierforecast.datasets._loader import with_columns
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.io.fetch import RemoteFile, locate
from hierforecast.io.reading import read_table

NATIVE_RATE = 2.5  # steps per second
FRAMES = 10  # of the video, from one step to the next
# By site, as the files are called; the literature says Hotel, Zara 1, 2 and 3, and Univ.
N_STEPS = {
    "biwi_hotel": 1_807,
    "crowds_zara01": 902,
    "crowds_zara02": 1_052,
    "crowds_zara03": 754,
    "students003": 541,
}
N_SERIES = {
    "biwi_hotel": 389,
    "crowds_zara01": 148,
    "crowds_zara02": 204,
    "crowds_zara03": 137,
    "students003": 434,
}
N_ROWS = {
    "biwi_hotel": 6_543,
    "crowds_zara01": 5_153,
    "crowds_zara02": 9_722,
    "crowds_zara03": 5_005,
    "students003": 17_953,
}

_SOURCE = "https://raw.githubusercontent.com/StanfordASL/Trajectron-plus-plus/"
_OLDER = f"{_SOURCE}1758afdd1230bae64781062619003d672e0f6903/data/raw/"
_NEWER = f"{_SOURCE}40dec06e9cfef9e0d5f5ec69da2c4058a556bba9/experiments/pedestrians/raw/"


def _remote(address: str, sha256: str, size: int) -> RemoteFile:
    return RemoteFile(f"pedestrians/{address.rsplit('/', 1)[1]}", sha256, address, size)


FILES = {
    "biwi_hotel": _remote(
        f"{_OLDER}hotel/test/biwi_hotel.txt",
        "9caa771bb9153d6b809dd0916b6f86761b641e6bbb15e766c1de3133fbbb7fcf",
        143_799,
    ),
    "crowds_zara01": _remote(
        f"{_NEWER}zara1/test/crowds_zara01.txt",
        "1147a1962a09abfb86f28c6cddcac862e095a0cf129b3016385b69eacdd09d85",
        205_711,
    ),
    "crowds_zara02": _remote(
        f"{_OLDER}raw/all_data/crowds_zara02.txt",
        "8a649d0f8c9ae75c87c4d23a85f892786b0aa30266e996c7be03e69dafff22ff",
        392_227,
    ),
    "crowds_zara03": _remote(
        f"{_NEWER}raw/all_data/crowds_zara03.txt",
        "16b3e899932c4baacd07f45013d5b921f90bc5a29eb2b0fe42f4d7c904ac3108",
        199_834,
    ),
    "students003": _remote(
        f"{_OLDER}univ/test/students003.txt",
        "e25798b660634330aa89f8bb259425de720e84d0873902726c1d1f4ccff21d6c",
        724_279,
    ),
}
IN_FILES = Columns("unique_id", "ds", ["x", "y"], group=None)
NAMES = ["ds", "unique_id", "x", "y"]


@with_columns(target=["x", "y"], group=None, scene="scene")
def load_pedestrians(
    sites: str | PathLike[str] | Iterable[str | PathLike[str]] = tuple(FILES),
    *,
    root: Path | str | None = None,
) -> pd.DataFrame:
    """Pedestrians of five sites of ETH and UCY, one row per person *seen* at a step of 0.4 s.

    The usual protocol leaves one site out, forecasts 12 steps from 8, and counts who is seen at
    all 20. For a model: ``load_pedestrians.columns``; nobody has a group.

    Args:
        sites: one or several of "biwi_hotel", "crowds_zara01", "crowds_zara02", "crowds_zara03",
            "students003"; or paths of files of this format (frame, person, x, y; a row in ten
            frames), which are taken as they are.
        root: folder with ``pedestrians/*.txt`` (or the files themselves), looked in first.

    Returns:
        Columns ``scene`` (the site, the name of its file), ``ds`` (int step: the file's frame / 10,
        which need not begin at 0), ``unique_id`` ("1", "2", ...: numbers of the site's people),
        ``x``, ``y`` (meters, origin and axes of each site's own), in the order of the files.

    Raises:
        ValueError: for no site or an unknown one.
        FileNotFoundError: if a file is not found and cannot be downloaded.
        DataError: if a file is damaged.
    """
    each = [sites] if isinstance(sites, str | PathLike) else sites
    parts = [_read(*_find(site, root)) for site in each]
    if not parts:
        raise ValueError(f"sites is empty: choose from {sorted(FILES)}, or give paths")
    return pd.concat(parts, ignore_index=True)


def _find(site: str | PathLike[str], root: Path | str | None) -> tuple[str, Path]:
    """The scene's name and the file of a site or a path."""
    if isinstance(site, str) and site in FILES:
        return site, locate(FILES[site], root=root)
    path = Path(site)
    if not path.suffix:
        raise ValueError(
            f"sites holds {str(site)!r}: choose from {sorted(FILES)}, or give the path of a file"
        )
    return path.stem, path


def _read(scene: str, path: Path) -> pd.DataFrame:
    """One file; who and when are whole numbers, in some files written as floats."""
    frame = read_table(path, IN_FILES, names=NAMES, sep=r"\s+", time_step=FRAMES)
    people = pd.to_numeric(frame["unique_id"], errors="coerce")
    if (people % 1 != 0).any() or not np.isfinite(frame[["x", "y"]].to_numpy(float)).all():
        raise DataError(
            f"'{path}' has a row without the whole number of a person, or without two numbers for "
            "the place: get it again"
        )
    frame["unique_id"] = people.astype(int).astype(str)
    frame.insert(0, "scene", scene)
    return frame
