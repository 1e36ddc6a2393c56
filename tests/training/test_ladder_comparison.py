"""How rungs of the ladder are compared, and the table of them in a report."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import DataError, Forecaster, HiPerformer, LastValue
from hierforecast.models.base import Rung
from hierforecast.training import fitting, ladder
from hierforecast.training.ladder import Scores, climb
from hierforecast.training.report import Report
from hierforecast.windows import WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of
from tests.helpers import make_frame, tiny
from tests.training.rungs import Perceptron, take

# --- how they are compared -----------------------------------------------------------------------


def scores(*distance: float, cells: int = 10) -> Scores:
    count = len(distance)
    return Scores(np.array(distance), np.zeros(count), np.full(count, cells))


def test_a_margin_asks_for_a_share_and_for_certainty():
    start = scores(1.0, 1.0, 1.0, 1.0)
    assert scores(0.999, 0.999, 0.999, 0.999).beats(start, 0.0, 1.0)
    assert not start.beats(start, 0.0, 1.0), "of equal ones the lower"
    sure, unsure = scores(0.98, 0.97, 0.98, 0.97), scores(0.6, 1.3, 1.3, 0.6)
    assert not scores(0.996, 0.996, 0.996, 0.996).beats(start, 0.005, 1.0)
    assert sure.beats(start, 0.005, 1.0) and not unsure.beats(start, 0.005, 1.0)
    assert unsure.beats(start, 0.0, 1.0)
    # A mean of .025 less, and by hand its standard error .0029: 8.7 of them, 4.3 if 4 overlap.
    assert sure.beats(start, 0.005, 4.0) and not sure.beats(start, 0.005, 19.0)
    assert scores(0.9).beats(scores(1.0), 0.005, 1.0), "one block knows of no error"
    none = scores(np.nan, 0.1, 0.1, 0.1)
    assert not none.beats(start, 0.005, 1.0) and start.beats(none, 0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "chosen"), [(0.999, "mean"), (0.9, "low"), (1.0, "mean"), (np.nan, "mean")]
)
def test_the_lowest_rung_may_have_to_be_sure_too(low, chosen, monkeypatch):
    distances = {"low": low, "mean": 1.0, "high": 1.1}
    found = {name: scores(*[each] * 4) for name, each in distances.items()}
    monkeypatch.setattr(ladder, "_scores", lambda names, *rest: [found[name] for name in names])
    rungs = [[Rung(name, name, 0.005 if name == "low" else 0.0)] for name in distances]
    rung, table = climb(rungs, windows_of_three(), 8, 0)
    assert rung.name == chosen and table.rung.tolist() == [*distances], "in their order"


@pytest.mark.parametrize(
    ("half", "whole", "chosen"),
    [
        ((0.98, 0.97), (0.97, 0.96), "network"),
        ((0.98, 0.97), (0.975, 0.98), "halfway"),
        ((0.98, 0.97), (0.6, 1.3), "halfway"),
        ((0.98, 0.97), (0.98, 0.97), "halfway"),
        ((0.998, 0.998), (0.98, 0.97), "network"),
        ((0.998, 0.998), (0.6, 1.3), "start"),
    ],
)
def test_of_trained_ones_that_are_sure_the_closest_answers(half, whole, chosen, monkeypatch):
    found = {
        "start": scores(*[1.0] * 4),
        "halfway": scores(*half * 2),
        "network": scores(*whole * 2),
    }
    monkeypatch.setattr(ladder, "_scores", lambda names, *rest: [found[name] for name in names])
    rungs = [[Rung(name, name, 0.0 if name == "start" else 0.005)] for name in found]
    assert climb(rungs, windows_of_three(), 8, 0)[0].name == chosen


def windows_of_three() -> WindowDataset:
    """Windows of three scenes."""
    frame = make_frame(3)
    panel = tiny(LastValue()).fit(frame)._read(frame)
    return WindowDataset(panel, cutoffs_of(panel, 4, 2), 4, 2)


@torch.no_grad()
def test_halfway_to_the_network_is_the_mean_of_both_forecasts(monkeypatch):
    """Also where the network's own linear forecast has moved away from the start's."""
    train, val = (make_frame(n, seed=n) for n in (4, 3))
    found = {}
    for name in ("linear start, trained shape", "halfway to the network", "network"):
        take(name, monkeypatch)
        forecaster = tiny(max_steps=20).fit(train, train)
        found[name] = forecaster.predict(val).filter(like="HiPerformer").to_numpy()
    start, half, network = found.values()
    assert np.abs(network - start).max() > 0.01
    np.testing.assert_allclose(half, (start + network) / 2, rtol=1e-5, atol=1e-5)


def test_blocks_count_by_their_cells():
    one = Scores(np.array([1.0, 3.0]), np.zeros(2), np.array([30, 10]))
    assert one.mean(one.distance) == 1.5
    assert Scores(*np.zeros((3, 0))).mean(np.zeros(0)) == 0


def test_all_rungs_are_compared_on_the_same_few_windows(monkeypatch):
    train, val = make_frame(4, seed=1), make_frame(9, seed=2)
    seen: list[int] = []
    score = HiPerformer.score
    monkeypatch.setattr(
        HiPerformer, "score", lambda self, b, f: seen.append(b.n_scenes) or score(self, b, f)
    )
    monkeypatch.setattr(fitting, "FEWEST_JUDGED", 16)
    monkeypatch.setattr(HiPerformer, "loss", lambda self, b, f: sum(score(self, b, f)))
    tiny().fit(train, val)
    assert seen == 6 * [2] * 8, "sixteen of 27 windows, in eight blocks, by six rungs"


def test_rungs_of_no_numbers_leave_the_trained_one(monkeypatch):
    class Silent(Perceptron):
        def score(self, batch: Any, future: Any) -> Any:
            return torch.tensor(torch.nan), torch.tensor(torch.nan)

    one = tiny(Silent()).fit(make_frame(4), make_frame(3, seed=1))
    assert one.report_.rung == "trained" and one.report_.rungs.nll.isna().all()


# --- the report ----------------------------------------------------------------------------------


def test_rungs_are_saved_and_a_folder_without_them_still_loads(tmp_path):
    frames = make_frame(4), make_frame(3, seed=1)
    for number, model in enumerate([None, Perceptron()]):
        forecaster = tiny(model).fit(*frames)
        folder = tmp_path / str(number)
        forecaster.save(folder)
        again = Forecaster.load(folder, None if model is None else Perceptron)
        pd.testing.assert_frame_equal(
            again.report_.rungs, forecaster.report_.rungs, check_exact=True
        )
        assert str(again.report_) == str(forecaster.report_)
        pd.testing.assert_frame_equal(again.predict(frames[1]), forecaster.predict(frames[1]))
    file = tmp_path / "0" / "forecaster.json"
    document = json.loads(file.read_text())
    document["report"]["rungs"]["chosen"].reverse()
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match="'report' does not fit its SHA-256"):
        Forecaster.load(tmp_path / "0")


RUNGS = {"rung": ["a", "b"], "distance": [2.0, None], "nll": [1.0, 2.0], "chosen": [True, False]}


@pytest.mark.parametrize(
    ("name", "value"),
    [("chosen", [True, True]), ("chosen", [0, 1]), ("rung", [1, 2]), ("distance", [-1.0, 1.0]),
     ("nll", ["many", 2.0]), ("nll", [1.0])],
)  # fmt: skip
def test_what_is_no_table_of_rungs_is_refused(name, value):
    given = Report().to_dict()
    assert Report.from_dict({**given, "rungs": RUNGS}).rung == "a"
    assert Report.from_dict({"coverage": given["coverage"]}).rungs.empty
    with pytest.raises((ValueError, TypeError)):
        Report.from_dict({**given, "rungs": {**RUNGS, name: value}})
    with pytest.raises(ValueError, match="rungs must have the lists rung, distance, nll, chosen"):
        Report.from_dict({**given, "rungs": {"rung": ["a"]}})


@pytest.mark.parametrize(
    ("rows", "line"),
    [([("a", 2.0, 1.0, True), ("b", 3.0, 0.0, False)], "a (b 50.00 % worse)"),
     ([("a", 2.0, 1.0, True), ("b", 1.99, 0.0, False)], "a (b 0.50 % better, which may be chance)"),
     ([("a", 3.0, 1.0, False), ("b", 2.5, 1.0, False), ("c", 2.0, 0.0, True)],
      "c (b 25.00 % worse)"),
     ([("a", 2.0, 1.0, False), ("b", 2.0, 0.5, True)], "b (nll 0.500, a 1.000)"),
     ([("a", np.nan, np.nan, False), ("b", np.nan, 0.5, True)], "b (nll 0.500, a nan)"),
     ([("a", 0.0, 1.0, True), ("b", 1.0, 0.5, False)], "a (nll 1.000, b 0.500)"),
     ([("a", 0.0, 1.0, True)], "a")],
)  # fmt: skip
def test_the_line_compares_with_what_was_refused_or_beaten(rows, line):
    table = pd.DataFrame(rows, columns=["rung", "distance", "nll", "chosen"])
    assert str(Report(rungs=table)).splitlines()[0] == f"answers: {line}"
