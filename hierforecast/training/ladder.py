"""The ladder: which of a model's rungs answers after its training, by held-out windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from hierforecast._random import drawing, draws_by_itself, hand_down
from hierforecast.batch import Future, SceneBatch
from hierforecast.inference.forecasts import device_of, place
from hierforecast.models import Model
from hierforecast.models.base import Rung
from hierforecast.training.report import RUNG_COLUMNS
from hierforecast.windows import WindowDataset

# Blocks of windows that errors are averaged over at least, as far as there are as many windows; how
# many standard errors over blocks a gain must be where a rung asks for a margin.
BLOCKS, SURE = 8, 2.0


class Scores(NamedTuple):
    """What `Model.score` says of blocks of windows (B,), and how many cells each has."""

    distance: np.ndarray
    nll: np.ndarray
    cells: np.ndarray

    def mean(self, values: np.ndarray) -> float:
        """The mean over cells of a number of each block; infinite for what is no number."""
        total = float(values @ self.cells) / max(int(self.cells.sum()), 1)
        return total if np.isfinite(total) else np.inf

    def beats(self, other: Scores, margin: float, overlap: float) -> bool:
        """Whether the distance is smaller, for certain if a margin is asked for.

        Args:
            other: of the same blocks.
            margin: share of the other's distance.
            overlap: windows that hold a step: so many of them count as one.
        """
        one, two = self.mean(self.distance), other.mean(other.distance)
        if not margin or not np.isfinite([one, two]).all():
            return one < two
        gains, count = other.distance - self.distance, len(self.cells)
        errors = self.cells * (gains - (two - one)) / self.cells.sum()
        # One block shows no error: then the margin is all that can be asked for.
        error = np.sqrt(np.square(errors).sum() * overlap * count / max(count - 1, 1))
        return two - one > max(margin * two, SURE * float(error))


def climb(
    levels: Sequence[Sequence[Rung]],
    windows: WindowDataset,
    batch_size: int,
    seed: int,
    accelerator: Any = "cpu",
) -> tuple[Rung, pd.DataFrame]:
    """The rung that answers, and a table of all of them; see `Report.rungs`.

    Rungs of one list have the same locs. Lists are compared by their distance from what came, those
    that ask for a margin after the others, and trained ones that are sure with each other without
    one; then the rungs of the list that wins by their likelihood: together, a likelihood that falls
    would hide locs that get worse.

    Args:
        levels: what `Model.rungs` gives.
        windows: with an outcome, and not learned from; neighbors in time side by side.
        batch_size: windows at a time.
        seed: of what models draw in their loss.
        accelerator: ``"cpu"``, or else a GPU is used if there is one.
    """
    size = min(windows.at_once(batch_size), -(-len(windows) // BLOCKS))
    models = [rung.model for level in levels for rung in level]
    each = iter(_scores(models, windows, size, seed, accelerator))
    found = [[next(each) for _ in level] for level in levels]
    overlap = overlap_of(windows)
    best, *others = sorted(range(len(levels)), key=lambda at: levels[at][0].margin > 0)
    to_beat = best
    for at in others:
        (rung, *_), (scores, *_) = levels[at], found[at]
        if not scores.beats(found[to_beat][0], rung.margin, overlap):
            continue
        if scores.beats(found[best][0], 0.0, overlap):
            best = at
        if rung.learn is not None or not rung.margin:
            to_beat = best
    costs = [scores.mean(scores.nll) for scores in found[best]]
    chosen = levels[best][int(np.argmin(costs)) if np.isfinite(costs).any() else -1]
    rows = [
        (rung.name, scores.mean(scores.distance), scores.mean(scores.nll), rung is chosen)
        for level, each in zip(levels, found, strict=True)
        for rung, scores in zip(level, each, strict=True)
    ]
    table = pd.DataFrame(rows, columns=list(RUNG_COLUMNS)).replace(np.inf, np.nan)
    return chosen, table.astype(RUNG_COLUMNS)


def overlap_of(windows: WindowDataset) -> float:
    """In how many windows a step that is forecast lies, on average."""
    steps = windows.cutoffs[:, :1] * 2**32 + windows.cutoffs[:, 1:]
    horizon = np.arange(windows.prediction_length)
    return steps.size * len(horizon) / len(np.unique(steps + horizon))


@torch.no_grad()
def _scores(
    models: Sequence[Model], windows: WindowDataset, size: int, seed: int, accelerator: Any
) -> list[Scores]:
    """The scores of models on blocks of so many windows, each of which is gathered once for all."""
    placed = [place(model, accelerator) for model in models]
    device = device_of(placed[0])
    draws = [torch.Generator(device).manual_seed(seed) for _ in placed]
    rows: list[list[tuple[float, float, int]]] = [[] for _ in placed]
    for model, own in zip(placed, draws, strict=True):
        hand_down(model, own)
    for start in range(0, len(windows), size):
        stop = min(start + size, len(windows))
        batch, future = windows.__getitems__(range(start, stop))
        count = int(future.present.sum())
        if not count:
            continue
        batch, future = batch.to(device), future.to(device)
        for model, own, found in zip(placed, draws, rows, strict=True):
            with drawing(own if draws_by_itself(model) else None):
                found.append((*_score(model, batch, future), count))
    for model in placed:
        hand_down(model, None)
        model.cpu()
    return [Scores(*np.array(each, dtype=np.float64).reshape(-1, 3).T) for each in rows]


def _score(model: Model, batch: SceneBatch, future: Future) -> tuple[float, float]:
    """Distance and negative log-likelihood; no numbers where a training has diverged."""
    try:
        distance, cost = model.score(batch, future)
    except (ValueError, torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        return np.nan, np.nan
    return float(distance), float(cost)
