"""What a training does not see of its windows: series and pieces of them, and rows of wide ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch


class Hide(Protocol):
    """Hides context cells: presence (P, L) and window (P,) -> presence (P, L)."""

    def __call__(
        self, present: np.ndarray, window: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """Return a presence that is nowhere larger."""
        ...


@dataclass(frozen=True)
class SeriesDropout:
    """Hides whole series and pieces of series at random, so that fewer agents are nothing new.

    Each window draws a share between 0 and twice `rate`. Each of its series is hidden with that
    probability, and of the others each loses one piece of its context with that probability. At
    least one series of a window always stays as it was.

    Args:
        rate: the mean share of hidden series, between 0 and 0.5.

    Raises:
        ValueError: if `rate` is out of range.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 0.5:
            raise ValueError(
                f"series_dropout={self.rate} must lie between 0 and 0.5: it is the mean share of "
                "hidden series, and up to twice as many are hidden in a window"
            )

    def __call__(
        self, present: np.ndarray, window: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """See `Hide`."""
        rows, steps = present.shape
        n_windows = int(window.max(initial=-1)) + 1
        share = _shares(self.rate, window, generator)
        whole, piece, start, length, keep = torch.rand(5, rows, generator=generator).numpy()
        # A piece begins at any step and is of any length; what sticks out of the context is cut.
        begin, more = (np.floor(draw * steps)[:, None] for draw in (start, length))
        clock = np.arange(steps)[None]
        in_piece = (clock >= begin) & (clock <= begin + more) & (piece < share)[:, None]
        hidden = in_piece | (whole < share)[:, None]
        # Of the series seen in a window, the one with the largest draw stays as it was.
        keep[~present.any(1)] = -1
        best = np.full(n_windows, -1.0)
        np.maximum.at(best, window, keep)
        hidden[keep == best[window]] = False
        return present & ~hidden


@dataclass(frozen=True)
class HiddenPieces:
    """Hides a piece of some series of each window, so that it can be asked for.

    Each window draws a share between 0 and twice `rate`, and each of its series loses one piece
    with that probability: of any length below the context's, anywhere in it, at its end too. A
    series of which nothing would be left stays as it was.

    Args:
        rate: the mean share of series that lose a piece, up to 0.5.
    """

    rate: float

    def __call__(
        self, present: np.ndarray, window: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """See `Hide`."""
        rows, steps = present.shape
        share = _shares(self.rate, window, generator)
        piece, start, length = torch.rand(3, rows, generator=generator).numpy()
        size = np.ceil(length * (steps - 1))
        begin = np.floor(start * (steps - size + 1))
        clock = np.arange(steps)[None]
        inside = (clock >= begin[:, None]) & (clock < (begin + size)[:, None])
        shown = present & ~(inside & (piece < share)[:, None])
        return np.where(shown.any(1)[:, None], shown, present)


class HiddenEnds:
    """Hides the last steps of some series' contexts, as of players who were just lost from view.

    All doublings of the time come alike. Of a series something always stays, and one series of each
    window is left as it was.

    Args:
        rate: the share of series.
        seed: of its own draws.
    """

    def __init__(self, rate: float, seed: int) -> None:
        self.rate, self.draws = rate, np.random.default_rng(seed)

    def __call__(
        self, present: np.ndarray, window: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """See `Hide`."""
        rows, steps = present.shape
        draw, size = self.draws.random((2, rows))
        keep = np.zeros(int(window.max(initial=-1)) + 1)
        np.maximum.at(keep, window, draw)
        late = np.where((draw < self.rate) & (draw < keep[window]), np.floor(steps**size), 0)
        shown = present & (np.arange(steps) < steps - late[:, None])
        return np.where(shown.any(1)[:, None], shown, present)


def _shares(rate: float, window: np.ndarray, generator: torch.Generator | None) -> np.ndarray:
    """Of each row the share (P,) that its window draws, between 0 and twice the mean `rate`."""
    n_windows = int(window.max(initial=-1)) + 1
    return 2 * rate * torch.rand(n_windows, generator=generator).numpy()[window]


def some_rows(
    window: np.ndarray, group: np.ndarray, most: int, generator: torch.Generator | None = None
) -> np.ndarray:
    """Random rows of windows that have too many: whole groups, and members of large groups.

    Groups come in a random order, each whole, until there are `most` rows. Of a group that has more
    than a quarter of them so many random members come first, so that other groups have room. The
    rows left out are not there, as if their series had never been.

    Args:
        window: (P,) window of each row, sorted.
        group: (P,) its group; those of two windows are two.
        most: rows of a window.

    Returns:
        Numbers of the rows kept, (k,) in their order.
    """
    ends = np.cumsum(np.bincount(window))
    kept = []
    for start, stop in zip([0, *ends], ends, strict=False):
        rows = np.arange(start, stop)
        if len(rows) > most:
            rows = rows[_some(group[start:stop], most, generator)]
        kept.append(rows)
    return np.concatenate(kept) if kept else ends


def _some(group: np.ndarray, most: int, generator: torch.Generator | None) -> np.ndarray:
    """Numbers (most,) of rows (n,) of one window."""
    groups, group = np.unique(group, return_inverse=True)
    count = len(groups) + len(group)
    draws = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
    turn = draws[group]  # of each row's group
    order = np.lexsort((draws[len(groups) :], turn))
    _, size = np.unique(turn, return_counts=True)
    member = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size)
    late = member >= max(1, most // 4)
    return np.sort(order[late.argsort(kind="stable")][:most])
