"""Ray: a verb over the blocks of a Dataset, once a scene lies in one of them whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hierforecast.engines.job import Job
from hierforecast.errors import import_extra

# Blocks for each CPU, so that nobody waits long for the largest.
BLOCKS = 4


def run(job: Job, frame: Any) -> Any:
    """The answers as a Dataset, worked out when it is asked for.

    By tasks, which take CPUs as they come free and are tried again where a worker dies: a pool of
    actors that held all CPUs would leave none to read the data.

    Raises:
        DataError: for options that cannot be.
    """
    ray = import_extra("ray", "ray", "for Ray Datasets")
    whole = frame
    if job.keys is not None:
        keys, cpus = list(job.keys), int(ray.cluster_resources().get("CPU", 1))
        whole = frame.repartition(BLOCKS * cpus, keys=keys) if keys else frame.repartition(1)
    answer = _answer(ray.put(job), ray.get)
    return whole.map_batches(answer, batch_size=None, batch_format="pyarrow")


def collect(frame: Any) -> Iterator[Any]:
    """A Dataset, in pieces of Arrow."""
    pieces = frame.iter_batches(batch_size=None, batch_format="pyarrow")
    return (piece for piece in pieces if piece.num_columns)


def read(folder: str) -> Any:
    """A folder of Parquet."""
    return import_extra("ray.data", "ray", "for --engine ray").read_parquet(folder)


def write(frame: Any, folder: str) -> None:
    """Write a folder of Parquet."""
    frame.write_parquet(folder)


def _answer(job: Any, get: Callable[[Any], Job]) -> Callable[[Any], Any]:
    """The job of a reference, for a table; a block that never held a row has no columns either."""
    return lambda table: get(job)(table) if table.num_columns else table
