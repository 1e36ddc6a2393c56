"""Folders of Parquet and lazy frames: a verb over one shard after another, in this process."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from hierforecast._progress import progress
from hierforecast.engines.job import Job
from hierforecast.errors import import_extra
from hierforecast.io.atomic import new_folder
from hierforecast.io.parquet import write_parquet
from hierforecast.shards import Shards, shard
from hierforecast.shards.sources import is_lazy, open_source


@dataclass(eq=False)
class Answers:
    """The answers for one shard after another, as Arrow tables, worked out as they are asked for.

    Args:
        job: the verb.
        shards: the folder.
        frame: what the user gave: a path, `Shards`, or a lazy frame.
    """

    job: Job
    shards: Shards
    frame: Any

    def __iter__(self) -> Iterator[Any]:
        job = replace(self.job, threads=torch.get_num_threads())
        if not job.columns.scenes:  # all is one scene
            yield job(self.shards.read(range(len(self.shards))))
            return
        self.shards.hashes(job.columns, job.bar)
        wanted = job.empty(self.shards.schema.empty_table()).schema
        for number in progress(range(len(self.shards)), job.verb, len(self.shards), job.bar):
            found = job(self.shards.read([number]))
            yield found if job.verb == "evaluate" else found.cast(wanted)

    def write(self, folder: str | PathLike[str]) -> Any:
        """Write a folder of Parquet, a file for each shard; give it as the frame was given.

        Raises:
            DataError: if `folder` holds anything.
        """
        with new_folder(folder) as part:
            for number, table in enumerate(self):
                write_parquet(table, part / f"{number:06d}.parquet")
        if not is_lazy(self.frame):
            return Path(folder)
        files = str(Path(folder, "*.parquet"))
        library = type(self.frame).__module__.partition(".")[0].strip("_")
        if library == "polars":
            return import_extra("polars", "parquet", "for lazy frames").scan_parquet(files)
        return import_extra("duckdb", "parquet", "for relations").read_parquet(files)


def run(job: Job, frame: Any) -> Answers:
    """The answers, worked out when they are asked for; a lazy frame is cut into shards now."""
    if not is_lazy(frame):
        return Answers(job, frame if isinstance(frame, Shards) else Shards(frame), frame)
    folder = Path(tempfile.mkdtemp(prefix="hierforecast-"))
    if job.columns.scenes:
        shards = Shards(shard(frame, folder / "shards", job.columns, bar=job.bar))
    else:
        import pyarrow as pa

        source = open_source(frame, job.columns)
        write_parquet(pa.Table.from_batches(source, source.schema), folder / "one.parquet")
        shards = Shards(folder)
    answers = Answers(job, shards, frame)
    weakref.finalize(answers, shutil.rmtree, folder, ignore_errors=True)
    return answers


def collect(answers: Answers) -> Iterator[Any]:
    """The answers, in pieces."""
    yield from answers


def read(folder: str) -> Shards:
    """A folder of Parquet."""
    return Shards(folder)


def write(answers: Answers, folder: str) -> Any:
    """Write a folder of Parquet."""
    return answers.write(folder)
