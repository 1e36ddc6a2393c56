"""What a row costs: operations and bytes of panel, batch, forecast and training step, counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from benchmarks.experiment import Found, Options, rows_of
from hierforecast import Columns, HiPerformer
from hierforecast._random import seeded
from hierforecast.frame import Panel, read_frame
from hierforecast.task import Task
from hierforecast.windows import WindowDataset, sample_windows
from hierforecast.windows.cutoffs import cutoffs_of

# Series of the groups of one scene, and its targets: two are positions.
SCENES: dict[str, tuple[tuple[int, ...], int]] = {
    "11 agents, two teams": ((1, 5, 5), 2),
    "45 stores in 9 regions": ((5,) * 9, 1),
    "500 tickers in 11 sectors": ((46,) * 5 + (45,) * 6, 1),
    "5,000 products in 150 shelves": ((33,) * 100 + (34,) * 50, 1),
}
ROWS = 704  # of a batch, one window at least
# The fused kernel of the CPU, which torch's counter does not know.
FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
LIKE = torch.ops.aten._scaled_dot_product_flash_attention
COUNTED: dict[Any, Any] = {
    getattr(torch.ops.aten, f"{FUSED.__name__}{way}"): flop_registry[
        getattr(torch.ops.aten, f"{LIKE.__name__}{way}")
    ].__wrapped__
    for way in ("", "_backward")
}


def made(groups: tuple[int, ...], targets: int, steps: int) -> Panel:
    """One scene of random walks."""
    group = np.repeat(np.arange(len(groups)), groups)
    walk = np.random.default_rng(0).normal(size=(len(group) * steps, targets))
    frame = pd.DataFrame(walk, columns=["x", "y"][:targets]).assign(
        unique_id=np.repeat(np.arange(len(group)), steps),
        ds=np.tile(np.arange(steps), len(group)),
        group=np.repeat(group, steps),
    )
    return read_frame(frame, Columns(target=["x", "y"][:targets]))


def counter() -> FlopCounterMode:
    """Counts operations of matrix products, attention's included."""
    return FlopCounterMode(display=False, custom_mapping={**COUNTED})


def nbytes(*parts: Any) -> int:
    """Bytes of arrays and tensors."""
    return sum(part.nbytes for part in parts if hasattr(part, "nbytes"))


def measure(arm: str, given: Options) -> dict[str, float]:
    """What a row of that scene costs."""
    groups, targets = SCENES[arm]
    lengths = given.context, given.horizon
    panel = made(groups, targets, sum(lengths) + 1)
    panel.vocabulary = panel.learn(panel.length)
    model = HiPerformer(**({} if given.width is None else {"width": given.width}))
    model = model.for_task(Task.of(panel, *lengths)).float()
    windows = WindowDataset(panel, cutoffs_of(panel, *lengths), *lengths, origin=model.origin)
    windows.cutoffs = np.repeat(windows.cutoffs, max(1, ROWS // sum(groups)), axis=0)
    batch, future = sample_windows(windows, ROWS, 0, seeded(0))
    model.fit_statistics(batch, future)
    rows = len(batch.values)
    with counter() as forward, torch.no_grad():
        model.eval()(batch)
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with counter() as both, saved_tensors_hooks(keep, lambda x: x):
        model.train().loss(batch, future).backward()
    arrays = (panel.values, panel.present, panel.past, panel.known)
    return {
        "rows": sum(groups),
        "weights": sum(p.numel() for p in model.parameters()),
        "forward": forward.get_total_flops() / rows,
        "both": both.get_total_flops() / rows,
        "kept": sum(kept.values()) / rows,
        "batch": nbytes(*vars(batch).values(), *vars(future).values()) / rows,
        "cell": nbytes(*arrays) / len(panel.present),
    }


def table(found: Found) -> pd.DataFrame:
    """A row a scene."""
    rows = {
        arm: {
            "weights": f"{cost['weights']:,.0f}",
            "MFLOP, forecast": f"{cost['forward'] / 1e6:.2f}",
            "MFLOP, training step": f"{cost['both'] / 1e6:.2f}",
            "kB kept for the way back": f"{cost['kept'] / 1e3:.0f}",
            "kB of a batch": f"{cost['batch'] / 1e3:.2f}",
            "bytes of a cell": f"{cost['cell']:.0f}",
        }
        for (arm, _), cost in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


EXPERIMENTS = {
    "growth": rows_of(
        "growth",
        "speed",
        "What a row costs",
        measure,
        "Each a row of a window, {context} steps -> {horizon}, of `HiPerformer()` as it comes; a "
        "cell is one step of a series in the panel. Operations are those of matrix products, two "
        "for a multiplication and an addition, as torch counts them; kept are all tensors that "
        "autograd holds until the backward pass, weights too. Nothing is timed.",
        table=table,
        arms=tuple(SCENES),
        options={"context": 40, "horizon": 10, "width": None},
    )
}
