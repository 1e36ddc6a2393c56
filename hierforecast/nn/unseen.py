"""How much less certain a forecast is the longer its series has not been seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hierforecast._waiting import at_hand
from hierforecast.batch import SceneBatch
from hierforecast.nn.coverage import quantiles_by, sure
from hierforecast.task import Task

# So many cells of usual error are mixed in: what training windows hardly show changes little.
PRIOR = 50.0
DOUBLINGS = 6
# What share of errors out of view is that in view at least: less is beyond what can be inverted.
LEAST = 1e-4


def steps_unseen(present: Tensor) -> Tensor:
    """Steps (P,) from when a row was last seen to the cutoff: 0 in view; present (P, L)."""
    return present.flip(1).to(torch.uint8).argmax(1)


class Unseen(nn.Module):
    """Factors of the scale of errors by group type and by time since a series was last seen.

    Times count in doubling bins: 1 step, 2 or 3, 4 to 7, 8 to 15, 16 to 31, and more. In view the
    factor is one; it is one everywhere in what was saved by earlier versions.

    Args:
        task: shapes of the data.

    Attributes:
        factor: (T, bins, H, D), of the errors of training windows.
        wider: (T, bins), by what intervals are wider still, so that they cover their share.
        apart: (), 1 where errors in view are told apart from those of being lost; 0 in what was
            saved by earlier versions.
    """

    added = ("factor", "wider", "apart")

    def __init__(self, task: Task) -> None:
        super().__init__()
        shape = (task.n_types, 1 + DOUBLINGS, task.prediction_length, task.n_targets)
        self.factor: Tensor
        self.register_buffer("factor", torch.ones(shape))
        self.wider: Tensor
        self.register_buffer("wider", torch.ones(shape[:2]))
        self.apart: Tensor
        self.register_buffer("apart", torch.tensor(0.0))

    def forward(self, batch: SceneBatch) -> Tensor:
        """The factor of each row, (P, H, D)."""
        at = batch.types, self.bins(batch)
        return self.factor[at] * self.wider[at][:, None, None]

    def in_view(self, batch: SceneBatch, scale: Tensor, calm: Tensor) -> Tensor | None:
        """What share of a row's errors it had in view (P, H, D); None where all series are.

        The rest is that a series out of view may be somewhere else.

        Args:
            batch: the contexts.
            scale: (P, H, D), of the rows' errors.
            calm: the same if all were in view.
        """
        if at_hand(scale) and bool(batch.present[:, -1].all()):
            return None
        return torch.where(self.apart > 0, (calm / scale).clamp(LEAST, 1), 1)

    @torch.no_grad()
    def reset(self) -> None:
        """As `fit` left it: nothing is widened."""
        self.wider.fill_(1)

    @torch.no_grad()
    def fit(self, errors: Tensor, present: Tensor, batch: SceneBatch) -> None:
        """Learn from the errors of training windows.

        A factor is the root mean square of a bin's errors over that of all series of the type that
        are out of view.

        Args:
            errors: (P, H, D) of a forecast that knows whether a series is in view.
            present: (P, H) where the truth is known.
            batch: the windows.
        """
        self.factor.fill_(1)
        self.apart.fill_(1)
        self.reset()
        bins, square = self.bins(batch), errors.double().square()
        for code in range(len(self.factor)):
            away = present & ((batch.types == code) & (bins > 0))[:, None]
            usual, _ = _mean(square, away)
            for each in range(1, self.factor.shape[1]):
                mean, count = _mean(square, away & (bins == each)[:, None])
                mixed = (count * mean + PRIOR * usual) / (count + PRIOR)
                ratio = torch.where(usual > 0, mixed / usual, 1).sqrt()
                self.factor[code, each] = ratio.to(self.factor)

    @torch.no_grad()
    def widen(self, misses: Tensor, types: Tensor, bins: Tensor, rows: Tensor) -> None:
        """Widen by what makes a forecast's intervals cover their share, never narrow.

        Windows that a network has learned from are no proof that it is too careful.

        Args:
            misses: (m,) by how many half widths of their intervals numbers missed the mean.
            types, bins: (m,) group type of each and number of its bin, see `bins`.
            rows: (m,) the share of a row that each is.
        """
        shape = self.wider.shape
        code = types * shape[1] + bins
        found = quantiles_by(misses, code, rows, shape[0] * shape[1])
        ratio, size = (each.view(shape)[:, 1:] for each in found)
        self.wider[:, 1:] *= sure(ratio, size).clamp(min=0).exp().to(self.wider)

    def bins(self, batch: SceneBatch) -> Tensor:
        """Number (P,) of a row's bin, 0 in view."""
        starts = 2 ** torch.arange(DOUBLINGS, device=batch.present.device)
        return torch.bucketize(steps_unseen(batch.present), starts, right=True)


def _mean(square: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (H, D) over the rows of some cells (P, H), and how many there are (H, 1)."""
    count = cells.sum(0)[:, None].to(square)
    return torch.where(cells[..., None], square, 0).sum(0) / count.clamp(min=1), count
