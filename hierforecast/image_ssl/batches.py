"""Endless batches of images, of which each follows from the seed and its number."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from hierforecast._random import Passes, drawing, seeded
from hierforecast.image_ssl.data.arrays import ImageSet, Item, collate
from hierforecast.image_ssl.data.views import PosedSet
from hierforecast.image_ssl.views import Views

# Keys of what is drawn, for seeds of their own.
AUGMENTED, SECOND_VIEWS = range(2)


class Batches(IterableDataset[Any]):
    """Pass after pass over all images, each in a new order; a batch follows from its number.

    Args:
        images: a set.
        seed: of the orders and of the second views.
        start: number of the first batch.
        by: from one batch's number to the next.
        paired: each image of a posed set comes with another view of its object, drawn anew.
    """

    def __init__(
        self, images: ImageSet, batch_size: int, seed: int, start: int, by: int, paired: bool
    ) -> None:
        self.images, self.seed, self.start, self.by = images, seed, start, by
        self.paired = paired
        self.passes = Passes(len(images), batch_size, seed)

    def __iter__(self) -> Iterator[Item | Views]:
        worker = get_worker_info()  # torch asks its workers in turn, so that batches keep order
        first, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for own in count(self.start + first * self.by, workers * self.by):
            yield self.batch(own)

    def batch(self, number: int) -> Item | Views:
        """The batch of this number."""
        indices = self.passes.batch(number).tolist()
        drawn = seeded(self.seed, SECOND_VIEWS, number)
        if self.paired:
            assert isinstance(self.images, PosedSet)
            return self.images.pairs(indices, drawn)
        ours = type(self.images).__module__.startswith("hierforecast.")
        with drawing(None if ours else drawn):
            if hasattr(self.images, "__getitems__"):
                return collate(self.images.__getitems__(indices))
            return collate([self.images[index] for index in indices])
