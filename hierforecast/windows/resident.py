"""Windows gathered where the model is: a panel that has room there stays on the device.

What is hidden, which rows are left and who meets whom is settled on the host, from presence and
codes alone: sizes depend on it, and a device would have to be waited for. Numbers of the panel are
gathered on the device by the rows and cutoffs that are sent there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hierforecast._waiting import is_host, sent
from hierforecast.batch import Future, SceneBatch, _map_tensors
from hierforecast.windows.dataset import EPSILON, Chosen, Window, WindowDataset
from hierforecast.windows.history import ROUNDING, Ahead, as_smoothed

# Bytes of a panel up to which it stays on a device.
MOST = 4 * 2**30
_ROLES = "past", "known", "static"
Gather = Callable[[np.ndarray, torch.Generator | None], Window]


def gather_on(device: torch.device, windows: WindowDataset) -> Gather:
    """What gathers batches of windows: on the device, or on the host where they do not fit.

    They do not fit if the panel has more than `MOST` bytes, or if the device has no float64. A kind
    of windows of its own gathers them itself.
    """
    if is_host(device) or device.type == "mps" or type(windows) is not WindowDataset:
        return windows.__getitems__
    panel = windows.panel
    arrays = panel.values, panel.present, panel.past, panel.known, panel.static, panel.cell_offset
    size = sum(x.nbytes for x in arrays) + (panel.values.nbytes if windows.history else 0)
    if size > MOST:
        return windows.__getitems__
    return Resident(windows, device).__getitems__


class Resident:
    """Batches of windows whose numbers are gathered on a device; equal to the host's, to the bit.

    Args:
        windows: whose batches they are.
        device: where the panel stays.
    """

    def __init__(self, windows: WindowDataset, device: torch.device) -> None:
        panel, history = windows.panel, windows.history
        self.windows, self.device = windows, device
        every = (np.arange(len(getattr(panel, role))) for role in _ROLES)  # copies, not views
        covariates = map(windows.covariates, _ROLES, every)
        self.past, self.known, self.static = map(self._send, covariates)
        of_rows = panel.cell_offset, panel.types, windows.unit
        self.cell_offset, self.types, self.unit = map(self._send, of_rows)
        self.values = self._send(as_smoothed(panel.values, windows.warp))
        self.present = self._send(panel.present)
        self.errors = None if history is None else self._send(history.errors)

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
        ahead = None
        if windows.history is None:
            offset, unit = self._offset(chosen), windows.unit
            values, level = self._targets(cells, seen, self._send(offset)), windows.level(offset)
        else:
            ahead = windows.history.ahead(chosen.rows, chosen.cutoffs)
            offset, unit, level = ahead.loc, ahead.unit, np.zeros((len(chosen.rows), 1, 1))
            values = self._residuals(cells, seen, ahead)
        values = values.to(dtype)
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
            level=self._send(level).to(dtype),
            naive=None if ahead is None else self._send(ahead.naive).to(dtype),
        )
        after = values[:, length:], seen[:, length:]
        here = torch.from_numpy(chosen.rows), torch.from_numpy(chosen.cutoffs)
        way_back: tuple[Any, Any] = (offset, unit) if windows.origin else (0.0, 1.0)
        whole = bool(windows.panel.present[chosen.cells[:, length:]].all())
        return Window(batch, Future(*after, *here, *way_back, whole))

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

    def _residuals(self, cells: Tensor, seen: Tensor, ahead: Ahead) -> Tensor:
        """Errors of smoothing (P, L + H, D), see `WindowDataset`."""
        assert self.errors is not None
        length = self.windows.context_length
        (loc, unit), truth = map(self._send, ahead[:2]), self.values[cells[:, length:]]
        error = truth - loc
        error = torch.where(error.abs() <= ROUNDING * truth.abs(), 0, error) / unit
        both = torch.cat([self.errors[cells[:, :length]], error], 1)
        return torch.where(seen[..., None], both, 0)

    def _known(self, chosen: Chosen, cells: Tensor, step: Tensor, window: Tensor) -> Tensor:
        """What is known in advance (P, L + H, C), features of the calendar at the end."""
        known = self.known[cells]
        if chosen.early is not None:
            known = torch.where((step < 0)[..., None], torch.nan, known)
        if chosen.dates is None:
            return known
        return torch.cat([known, self._send(chosen.dates)[window]], -1)
