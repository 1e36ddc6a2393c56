"""Dask: a verb over the partitions of a DataFrame, once a scene lies in one of them whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hierforecast.engines.job import Job
from hierforecast.errors import import_extra


def run(job: Job, frame: Any) -> Any:
    """The answers as a Dask DataFrame, worked out when it is asked for.

    `groupby(...).apply` would drop the key and call the model for each scene; a shuffle brings the
    rows of a scene together, and a partition's scenes are forecast at once.

    Raises:
        DataError: for options that cannot be.
    """
    delayed = import_extra("dask", "dask", "for Dask DataFrames").delayed
    whole = frame
    if job.keys is not None:
        keys = list(job.keys)
        whole = frame.shuffle(on=keys) if keys else frame.repartition(npartitions=1)
    # Beside the partitions, not within each: the job holds the model.
    travelling = delayed(job, pure=True)
    meta = job.empty(frame._meta)
    return whole.map_partitions(_answer, travelling, meta=meta, enforce_metadata=False)


def collect(frame: Any) -> Iterator[Any]:
    """A Dask DataFrame, in pieces of pandas."""
    yield frame.compute()


def read(folder: str) -> Any:
    """A folder of Parquet."""
    return import_extra("dask.dataframe", "dask", "for --engine dask").read_parquet(folder)


def write(frame: Any, folder: str) -> None:
    """Write a folder of Parquet."""
    frame.to_parquet(folder, write_index=False)


def _answer(part: Any, job: Job) -> Any:
    return job(part.reset_index(drop=True))
