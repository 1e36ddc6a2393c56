"""Windows gathered where the model is: a panel that has room there stays on the device.

What is hidden, which rows are left and who meets whom is settled on the host, from presence and
codes alone: sizes depend on it, and a device would have to be waited for. Numbers of the panel are
gathered on the device by the rows and cutoffs that are sent there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from hierforecast._waiting import is_host, sent
from hierforecast.batch import Future, SceneBatch, _map_tensors
from hierforecast.windows import EPSILON, Chosen, Window, WindowDataset

# Bytes of a panel up to which it stays on a device.
MOST = 4 * 2**30
_ROLES = "past", "known", "static"
Gather = Callable[[np.ndarray, torch.Generator | None], Window]


def gather_on(device: torch.device, windows: WindowDataset) -> Gather:
    """What gathers batches of windows: on the device, or on the host where they do not fit.

    They do not fit if the panel has more than `MOST` bytes, if the device has no float64, or if the
    model forecasts what exponential smoothing misses, which is kept for single cells on the host.
    """
    if is_host(device) or device.type == "mps" or windows.history is not None:
        return windows.__getitems__
    resident = Resident(windows, device, most=MOST)
    return resident.__getitems__ if resident.fits else windows.__getitems__


class Resident:
    """Batches of windows whose numbers are gathered on a device; equal to the host's, to the bit.

    Args:
        windows: whose batches they are, not of smoothing's errors.
        device: where the panel stays.
        most: bytes of the panel beyond which nothing is moved; None: without end.

    Attributes:
        fits: whether the panel is there.
    """

    def __init__(
        self, windows: WindowDataset, device: torch.device, most: int | None = None
    ) -> None:
        panel = windows.panel
        self.windows, self.device = windows, device
        every = (np.arange(len(getattr(panel, role))) for role in _ROLES)  # copies, not views
        covariates = [*map(windows.covariates, _ROLES, every)]
        of_cells = panel.values, panel.present, *covariates[:2]
        arrays = *of_cells, covariates[2], panel.cell_offset, panel.types, windows.unit
        self.fits = most is None or sum(x.nbytes for x in arrays) <= most
        if self.fits:
            there = [self._send(x) for x in arrays]
            self.values, self.present, self.past, self.known, *of_rows = there
            self.static, self.cell_offset, self.types, self.unit = of_rows

    def __getitems__(self, indices: np.ndarray, generator: torch.Generator | None = None) -> Window:
        """As `WindowDataset.__getitems__`; ``rows`` and ``cutoff`` of the future stay here."""
        chosen, windows = self.windows.chosen(indices, generator), self.windows
        length, dtype = windows.context_length, self.known.dtype
        rows, window, cutoffs = (
            self._send(x) for x in (chosen.rows, chosen.window, chosen.cutoffs)
        )
        step = cutoffs[:, None] + torch.arange(
            -length, windows.prediction_length, device=self.device
        )
        cells = self.cell_offset[rows][:, None] + step.clamp(min=0)
        present = self._send(chosen.present)
        seen = torch.cat([present, self.present[cells[:, length:]]], 1)
        offset = self._offset(chosen)
        values = self._targets(cells, seen, self._send(offset)).to(dtype)
        level = self._send(windows.level(offset).astype(windows.panel.dtype))
        batch = SceneBatch(
            values=values[:, :length],
            present=present,
            past=torch.where(present[..., None], self.past[cells[:, :length]], torch.nan),
            known=self._known(chosen, cells, step, window),
            static=self.static[rows],
            types=self.types[rows],
            scene=window,
            n_scenes=chosen.n_scenes,
            hierarchy=_map_tensors(chosen.hierarchy, partial(sent, device=self.device)),
            level=level,
        )
        here = torch.from_numpy(chosen.rows), torch.from_numpy(chosen.cutoffs)
        way_back = (offset, windows.unit) if windows.origin else ()
        return Window(batch, Future(values[:, length:], seen[:, length:], *here, *way_back))

    def _send(self, x: np.ndarray) -> Tensor:
        return sent(torch.from_numpy(x), self.device)

    def _offset(self, chosen: Chosen) -> np.ndarray:
        """See `WindowDataset`: (P, 1, D), the last value of each row that is seen; or zero."""
        if self.windows.origin != "row":
            return np.zeros((1, 1, len(self.windows.unit)))
        last = chosen.present.shape[1] - 1 - chosen.present[:, ::-1].argmax(1)
        cell = chosen.cells[np.arange(len(last)), last]
        return self.windows.panel.values[cell][:, None]

    def _targets(self, cells: Tensor, seen: Tensor, offset: Tensor) -> Tensor:
        """Values (P, L + H, D) in the model's units, 0 where not seen."""
        windows = self.windows
        values = torch.where(seen[..., None], self.values[cells], offset) - offset
        if windows.origin == "row":
            # What differs by a rounding or two of its level is a constant.
            context, ahead = values.tensor_split([windows.context_length], 1)
            still = context.abs().amax(1, keepdim=True) <= 2 * EPSILON * offset.abs()
            values = torch.cat([torch.where(still, 0, context), ahead], 1)
        return values / self.unit

    def _known(self, chosen: Chosen, cells: Tensor, step: Tensor, window: Tensor) -> Tensor:
        """What is known in advance (P, L + H, C), features of the calendar at the end."""
        known = self.known[cells]
        if chosen.early is not None:
            known = torch.where((step < 0)[..., None], torch.nan, known)
        if chosen.dates is None:
            return known
        return torch.cat([known, self._send(chosen.dates)[window]], -1)
