"""HiPerformers of every option with large random weights, and one that is broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hierforecast import HiPerformer
from hierforecast.batch import SceneBatch
from hierforecast.nn.heads import CoupledHead, LowRankHead, MixtureHead, ReturnsHead
from tests.helpers import randomized
from tests.rows import CROSSED, FLAT, NESTED, Rows, make_content, make_future, pack, task_for

ROWS = {"flat": FLAT, "nested": NESTED, "crossed": CROSSED}
OPTIONS = {
    "lowrank": {"head": "lowrank"},
    "gaussian": {"head": "gaussian"},
    "student": {"head": "student", "depth": 1},
    "mirrored": {"scale": "mirrored", "n_frequencies": 3, "head": "lowrank"},
    "coupled, mirrored": {"scale": "mirrored", "n_frequencies": 3, "head": CoupledHead(4, 1, 2)},
    "by series": {"scale": "series", "patch": 4},
    "mixture": {"head": MixtureHead(modes=3, rank=2)},
    "rows": {"head": "rows", "patch": 4},
    "returns": {"scale": "returns"},
    "returns, as before": {"scale": "returns", "head": ReturnsHead(2, groups_last=False)},
    "demand": {"scale": "demand", "head": "lowrank"},
    "coupled": {"head": CoupledHead(2, 1, 2), "block": "sa3"},
    # By places it would be beyond float64 here: own latents 150,000 times as large as noise.
    "coupled, as before": {"head": CoupledHead(2, 0, 2, places=False), "block": "sa3"},
    "coupled, by series": {"scale": "series", "head": CoupledHead(0, 1, 3)},
    "relational": {"block": "relational", "head": "lowrank"},
    "relational, mirrored": {"block": "relational", "scale": "mirrored", "head": "coupled"},
    "one patch": {"patch": 99, "head": LowRankHead(rank=2, series_rank=0)},
}


def build(rows: Rows, kind: type[HiPerformer] = HiPerformer, **options: Any) -> HiPerformer:
    """A model of large random weights whose units are those of some data."""
    given = {"width": 12, "depth": 2, "heads": 2, "dropout": 0.0, "patch": 3, **options}
    task = task_for(rows)
    model = kind(**given).for_task(task).double()
    model.fit_statistics(pack(rows, make_content(rows, task)), make_future(rows, task))
    # Of crossed ones seed 0 makes errors that grow ten millionfold as they carry on.
    return randomized(model, seed=len(rows.crossed))


class LeansOnItsNeighbour(HiPerformer):
    """Broken: each row is seen relative to the next one."""

    def forward(self, batch: SceneBatch) -> Any:
        return super().forward(replace(batch, values=batch.values - batch.values.roll(1, 0)))
