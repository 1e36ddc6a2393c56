"""Pools of shards: as many as may be in memory, one pool after another, in an order of chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hierforecast._random import mixed
from hierforecast.errors import import_extra
from hierforecast.frame import Columns, Panel, Vocabulary, read_frame
from hierforecast.io.checkpoints import digest
from hierforecast.shards.cutting import shard
from hierforecast.shards.folder import Shards
from hierforecast.shards.sources import is_lazy, open_source
from hierforecast.shards.survey import learn_categories, learn_step


@contextmanager
def opened(frame: Any, columns: Columns, bar: bool = True) -> Iterator[Any]:
    """A table as `Shards` where it is a folder, a file or lazy; any other frame as it is.

    A lazy frame is cut into a temporary folder, which is removed at the end; one without scenes is
    a single scene, which must fit in memory anyway.
    """
    if isinstance(frame, str | PathLike):
        yield Shards(frame)
    elif is_lazy(frame) and not columns.scenes:
        pa = import_extra("pyarrow", "parquet", "for lazy frames")
        source = open_source(frame, columns)
        yield pa.Table.from_batches(source, source.schema)
    elif is_lazy(frame):
        with TemporaryDirectory(prefix="hierforecast-") as folder:
            source = open_source(frame, columns).select(name for _, name in columns.roles())
            yield Shards(shard(source, Path(folder, "shards"), columns, bar=bar))
    else:
        yield frame


@dataclass
class Pools:
    """Shards too many for the memory, as panels of some of them at a time.

    Half of the rows that may be in memory are the first pool, which stays: what is learned from a
    sample is learned from it, and held-out windows are its. The other half is the pool at hand.
    Which shards a pool has follows from the seed and the number of the pass.

    Args:
        shards: the folder.
        columns: the roles.
        seed: of the orders.
        vocabulary, step: of all shards, as far as known before a panel is read.
        context: see `read_frame`.
        dtype: of what models are given.
    """

    shards: Shards
    columns: Columns
    seed: int
    vocabulary: Vocabulary
    step: str
    dtype: Any
    context: int | None = None
    limits: dict[Any, int] = field(default_factory=dict)

    @classmethod
    def open(
        cls, shards: Shards, columns: Columns, seed: int, bar: bool = True, **options: Any
    ) -> Pools:
        """Look at all shards: at their scenes, and, unless they are given, categories and step.

        Raises:
            DataError: if a scene lies in two shards, or columns cannot be used.
        """
        shards.hashes(columns, bar)
        if "vocabulary" not in options:
            options["vocabulary"] = learn_categories(shards, columns)
            options["step"] = learn_step(shards, columns, bar)
        return cls(shards, columns, seed, **options)

    def of_pass(self, number: int) -> list[list[int]]:
        """The pools of a pass over all shards: numbers of shards."""
        order = np.random.default_rng(mixed(self.seed, number)).permutation(len(self.shards))
        most, pools, rows = self.shards.memory_rows // 2, [[]], 0  # type: ignore[var-annotated]
        for one in order.tolist():
            if pools[-1] and rows + self.shards.rows[one] > most:
                pools.append([])
                rows = 0
            pools[-1].append(one)
            rows += self.shards.rows[one]
        return pools

    def rows(self, pool: list[int]) -> int:
        """Rows of a pool."""
        return int(self.shards.rows[pool].sum())

    def panel(self, pool: list[int]) -> Panel:
        """The panel of a pool."""
        table = self.shards.read(pool, self.shards.names_of(self.columns))
        return read_frame(
            table,
            self.columns,
            vocabulary=self.vocabulary,
            step=self.step,
            context=self.context,
            dtype=self.dtype,
        )

    def hold_out(self, panel: Panel, training: np.ndarray, validation: np.ndarray) -> None:
        """Keep, of the scenes of the first pool that are held out, what other passes may see.

        Args:
            panel: of the first pool.
            training, validation: (W, 2) and (V, 2) cutoffs of it.
        """
        last = np.full(len(panel.length), -1)
        np.maximum.at(last, training[:, 0], training[:, 1])
        labels = panel.scene_labels
        self.limits = {labels[s]: int(last[s]) for s in np.unique(validation[:, 0])}

    def allowed(self, panel: Panel, cutoffs: np.ndarray) -> np.ndarray:
        """Of cutoffs (W, 2), those that are not held out."""
        most = [self.limits.get(label, np.iinfo(np.int64).max) for label in panel.scene_labels]
        return cutoffs[cutoffs[:, 1] <= np.array(most)[cutoffs[:, 0]]]

    def digest(self) -> str:
        """Of the files, by their sizes and rows, wherever they lie."""
        sizes = [part.path.stat().st_size for part in self.shards.parts]
        return digest(np.array(sizes), self.shards.rows)


def in_memory(frame: Any, columns: Columns, seed: int) -> Any:
    """Shards as one Arrow table: all of them if they fit, else some by chance."""
    if not isinstance(frame, Shards):
        return frame
    numbers = [*range(len(frame))]
    if not frame.fits:
        pools = Pools(frame, columns, seed, Vocabulary((), ()), "", None)
        numbers = pools.of_pass(0)[0]
    return frame.read(numbers, frame.names_of(columns))
