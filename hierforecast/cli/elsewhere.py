"""Tables that stay where they are: an engine reads a folder of Parquet and writes one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from hierforecast._console import option
from hierforecast._words import flag
from hierforecast.errors import DataError


class EngineName(StrEnum):
    """The engines, as the command line calls them."""

    ray = "ray"
    spark = "spark"
    dask = "dask"
    shards = "shards"


Engine = Annotated[
    EngineName | None,
    option(
        "--engine", "ray, spark, dask, or shards (here, file by file): table and --out are folders."
    ),
]


def check_new(out: Path | None) -> None:
    """Whether an engine can write there; worth asking before hours of work.

    Raises:
        DataError: unless it is a new folder, or an empty one.
    """
    if out is None:
        raise DataError("--engine needs --out: a new folder for Parquet files")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise DataError(f"'{out}' is there already: with --engine, --out is a new folder")


def open_folder(engine: EngineName, paths: list[str], others: Mapping[str, Any]) -> Any:
    """A folder of Parquet as a frame of an engine.

    Args:
        engine: its name.
        paths: where, one folder.
        others: options of tables that are read here, None where they were not given.

    Raises:
        DataError: if it is no such folder, or one of the options was given.
    """
    wrong = next((name for name, value in others.items() if value is not None), None)
    if wrong is not None:
        raise DataError(
            f"{flag(wrong)} is of tables that are read into memory: leave it out beside --engine"
        )
    folder = Path(paths[0])
    if len(paths) == 1 and not folder.exists():
        raise DataError(f"'{folder}' does not exist: --engine reads a folder of .parquet files")
    if len(paths) != 1 or not folder.is_dir() or not any(folder.rglob("*.parquet")):
        raise DataError(f"--engine reads one folder of .parquet files, got {', '.join(paths)}")
    return import_module(f"hierforecast.engines.{engine}").read(str(folder.resolve()))
