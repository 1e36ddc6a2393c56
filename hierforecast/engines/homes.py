"""Which engine a frame belongs to, found without importing any."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

# First part of the module of a frame's class, and names of the class -> adapter.
ADAPTERS = {
    ("ray", "Dataset"): "ray",
    ("pyspark", "DataFrame"): "spark",
    ("dask", "DataFrame"): "dask",
    ("dask_expr", "DataFrame"): "dask",
    ("polars", "LazyFrame"): "shards",
    ("duckdb", "DuckDBPyRelation"): "shards",
    ("_duckdb", "DuckDBPyRelation"): "shards",
    ("pathlib", "PurePath"): "shards",
    ("builtins", "str"): "shards",
    ("hierforecast", "Shards"): "shards",
    ("hierforecast", "Answers"): "shards",
}


def name_of(frame: Any) -> str | None:
    """The engine of a frame, such as ``"ray"``, ``"shards"`` of a path; None for other objects."""
    for kind in type(frame).__mro__:
        found = ADAPTERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if found is not None:
            return found
    return None


def home_of(frame: Any) -> ModuleType | None:
    """The adapter of a frame's engine; None for frames in memory, and for any other object.

    An adapter has ``run(job, frame)``, which gives the answers as a frame of its engine, once rows
    of the same ``job.keys`` are together (all rows for (), and as they are for None), and
    ``collect(frame)``, which brings such a frame here in pieces; for the command line there are
    ``read(folder)`` and ``write(frame, folder)``, of Parquet.
    """
    name = name_of(frame)
    return None if name is None else import_module(f"hierforecast.engines.{name}")
