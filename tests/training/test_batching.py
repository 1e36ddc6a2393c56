"""How many windows a step learns from and a validation looks at, where nobody says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hierforecast.frame import Columns
from hierforecast.training import fitting, loop
from hierforecast.training.batching import Batches, Checks
from hierforecast.windows import WindowDataset
from tests.helpers import QUIET, make_frame, tiny


def sizes(monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame, **options: object) -> dict:
    """Windows of the batches that a fit learns from, and of all those it stops by."""
    seen: dict[str, list[int]] = {"learned": [], "checked": []}

    def counted(kind: type, name: str) -> type:
        class Counted(kind):
            def __iter__(self):
                for window in super().__iter__():
                    seen[name].append(window.batch.n_scenes)
                    yield window

        return Counted

    monkeypatch.setattr(loop, "Batches", counted(Batches, "learned"))
    monkeypatch.setattr(loop, "Checks", counted(Checks, "checked"))
    tiny(**options).fit(frame)
    return seen


@pytest.mark.parametrize(
    ("given", "rows", "windows"),
    [(None, 1, 64), (None, 11, 64), (None, 45, 15), (None, 500, 4), (7, 500, 7), (300, 1, 300)],
)
def test_a_batch_holds_about_as_many_rows_whatever_the_scenes(given, rows, windows):
    assert tiny(batch_size=given)._plan().sized(rows).batch == windows


def test_a_fit_counts_the_rows_of_its_windows(monkeypatch):
    few = make_frame(n_scenes=20, missing=0.0)
    seen = sizes(monkeypatch, few, batch_size=None, max_steps=2)
    assert set(seen["learned"][:2]) == {64}
    wide = few.assign(unique_id=few.scene.astype(str) + few.unique_id, scene=few.scene // 10)
    series = wide.groupby("scene").unique_id.nunique().mean()
    seen = sizes(monkeypatch, wide, batch_size=None, max_steps=2)
    assert set(seen["learned"][:2]) == {int(704 / series)}


def test_the_windows_to_stop_by_do_not_grow_with_the_data(monkeypatch):
    steps = np.arange(30)
    one = pd.DataFrame({"ds": steps, "y": np.sin(steps), "unique_id": "a"})
    frame = pd.concat([one.assign(scene=k) for k in range(3_000)])
    columns = Columns(scene="scene", group=None)
    seen = sizes(monkeypatch, frame, columns=columns, max_steps=2, trainer=QUIET)
    held_out = 300 * 4  # a tenth of the scenes, windows a horizon apart
    assert sum(seen["checked"]) == 2 * fitting.FEWEST_JUDGED < held_out
    plan = tiny(max_steps=20_000)._plan()
    panel = tiny(columns=columns).fit(frame)._read(frame)
    cutoffs = np.stack([np.arange(3_000), np.full(3_000, 20)], 1)
    checks = WindowDataset(panel, cutoffs, *plan.lengths, origin="row")
    assert len(fitting._few_checks(plan, checks)) == plan.between_validations * plan.batch // 4
    assert len(fitting._few_checks(tiny(max_steps=100_000)._plan(), checks)) == len(checks)
