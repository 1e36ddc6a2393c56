"""Every extra is documented, and who lacks one is told which."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from hierforecast import Columns, Forecaster, Ridge, read_table
from hierforecast.datasets import sportvu
from hierforecast.engines import dask, ray, spark
from hierforecast.errors import MissingExtraError
from hierforecast.image_ssl.augment import GaussianBlur
from hierforecast.plot.movie import ffmpeg

PAGE = Path(__file__).parents[1] / "docs" / "installation.md"


class Case(NamedTuple):
    """What is not installed, and what needs it."""

    modules: tuple[str, ...]
    use: Callable[[Path], Any]


def blur(folder: Path) -> Any:
    images = torch.zeros(1, 3, 64, 64)
    augmentation = GaussianBlur()
    return augmentation.apply(images, {"blur": torch.ones(1)})


def with_holidays(folder: Path) -> Any:
    import pandas as pd

    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=40)})
    columns = Columns(group=None, holidays="US")
    forecaster = Forecaster(Ridge(), context_length=7, prediction_length=3, columns=columns)
    return forecaster.fit(frame.assign(y=frame.index * 1.0))


def table(folder: Path) -> Any:
    (folder / "t.parquet").write_bytes(b"")
    return read_table(folder / "t.parquet")


CASES = {
    "calendar": Case(("holidays",), with_holidays),
    "dask": Case(("dask", "dask.dataframe"), lambda folder: dask.read(str(folder))),
    "hub": Case(("huggingface_hub",), lambda folder: importlib.import_module("hierforecast.hub")),
    "image": Case(("kornia", "kornia.filters"), blur),
    "parquet": Case(("pyarrow",), table),
    "ray": Case(("ray", "ray.data"), lambda folder: ray.read(str(folder))),
    "spark": Case(("pyspark", "pyspark.sql"), lambda folder: spark.read(str(folder))),
    "sports": Case(("py7zr",), lambda folder: sportvu._unpack(folder / "game.7z")),
    "video": Case(("imageio_ffmpeg",), lambda folder: ffmpeg()),
}
# For who works on the library, not with it: nothing in the package imports what they bring.
OURS = {"dev", "docs", "notebooks", "peers"}


@pytest.mark.parametrize("extra", CASES)
def test_what_is_not_installed_is_named_with_its_extra(extra, monkeypatch, tmp_path):
    case = CASES[extra]
    for module in case.modules:
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "hierforecast.hub", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        case.use(tmp_path)
    assert f"pip install 'hierforecast[{extra}]'" in str(caught.value)
    assert repr(case.modules[0]) in str(caught.value) or repr(case.modules[-1]) in str(caught.value)


def test_no_extra_is_left_out():
    assert set(metadata.metadata("hierforecast").get_all("Provides-Extra")) == set(CASES) | OURS


@pytest.mark.skipif(not PAGE.is_file(), reason="an unpacked sdist has no pages")
def test_the_page_says_what_each_extra_brings():
    rows = re.findall(r"^\| (`.*?) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)}
    assert named == set(CASES) | OURS
