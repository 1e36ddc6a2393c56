"""Series grouped in several ways at once, from frame to frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.errors import DataError
from hierforecast.nn.encoder import BLOCKS
from hierforecast.nn.heads import LowRankHead
from hierforecast.nn.sa3 import SA3Block
from hierforecast.symmetry import CrossedPermutation
from hierforecast.testing import randomize_
from tests.commands import call
from tests.frames import LIBRARIES
from tests.helpers import DOUBLE, QUIET, randomized

pytestmark = pytest.mark.usefixtures("networks")  # what is promised is promised of them

REGIONS = {"north": "A", "south": "A", "east": "B", "west": "B"}
PURPOSES = ("holiday", "business", "visit")
COLUMNS = Columns(group=["state", "region"], crossed="purpose")
NOW, H = 30, 3


def make(seed: int = 0, steps: int = 40) -> pd.DataFrame:
    """A walk for each region and purpose."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"{region}-{purpose}", state, region, purpose, t)
        for region, state in REGIONS.items() for purpose in PURPOSES for t in range(steps)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["unique_id", "state", "region", "purpose", "ds"])
    walk = rng.normal(size=(len(REGIONS) * len(PURPOSES), steps)).cumsum(1)
    return frame.assign(y=walk.reshape(-1))


def fit(columns: Columns = COLUMNS, model: Any = None, **options: Any) -> Forecaster:
    model = model or HiPerformer(12, 1, 2, patch=4, head=LowRankHead(2, 1, group_rank=2))
    given = {"context_length": 12, "prediction_length": H, "max_steps": 3, "batch_size": 4}
    return Forecaster(model, columns=columns, **given, **options).fit(make())


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    """In float64, of large random weights."""
    forecaster = fit(trainer=DOUBLE)
    randomized(forecaster.model_)
    return forecaster


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    return make(seed=1)[lambda f: f.ds < NOW]


def moved(history: pd.DataFrame, perm: np.ndarray) -> pd.DataFrame:
    """Each place, a series' labels, gets the values of another."""
    values = history.y.to_numpy().reshape(-1, NOW)
    return history.assign(y=values[perm].reshape(-1))


def rows_of(forecast: pd.DataFrame, history: pd.DataFrame) -> np.ndarray:
    """The numbers of a forecast (series, H, columns), in the order of the history."""
    order = pd.Index(forecast.unique_id.unique()).get_indexer(history.unique_id.unique())
    numbers = forecast.drop(columns=["unique_id", "ds"]).to_numpy()
    return numbers.reshape(len(order), H, -1)[order]


def error(fitted: Forecaster, history: pd.DataFrame, perm: np.ndarray) -> float:
    one, two = (
        rows_of(fitted.predict(f, level=[80]), history) for f in (history, moved(history, perm))
    )
    return float(np.abs(two - one[perm]).max() / max(1.0, np.abs(one).max()))


def symmetry(history: pd.DataFrame) -> CrossedPermutation:
    places = history.drop_duplicates("unique_id")
    return CrossedPermutation([places[["state", "region"]].to_numpy(), places.purpose.to_numpy()])


def test_forecasts_move_with_permutations_that_respect_all_ways(fitted, history):
    """Regions of a state, states, purposes; 2 * 2 * 2 * 6 permutations in all."""
    action = symmetry(history)
    elements = [perm.numpy() for perm in action.elements()]
    assert len(elements) == 48
    for perm in elements[1::4]:
        assert error(fitted, history, perm) <= 1e-10


def test_a_swap_across_either_way_changes_the_result(fitted, history):
    places = history.drop_duplicates("unique_id").reset_index(drop=True)
    for one, other in (("north-visit", "north-holiday"), ("north-visit", "south-visit")):
        i, j = (places.index[places.unique_id == name][0] for name in (one, other))
        perm = np.arange(len(places))
        perm[[i, j]] = perm[[j, i]]
        assert not symmetry(history).contains(perm)
        assert error(fitted, history, perm) > 1e-4


def test_the_further_way_matters_and_the_group_alone_forbids_more(history):
    """Without it, members of a region are interchangeable; with it they are not."""
    plain = fit(Columns(group=["state", "region"]), trainer=DOUBLE)
    randomize_(plain.model_)
    perm = np.arange(12)
    perm[:2] = 1, 0  # holiday and business of one region
    assert error(plain, history, perm) <= 1e-10


def test_saved_and_loaded_and_as_an_option(tmp_path, history):
    forecaster = fit(trainer=QUIET)
    forecaster.save(tmp_path / "kept")
    again = Forecaster.load(tmp_path / "kept")
    assert again.columns == COLUMNS and again.model_.task.crossed == (1,)
    pd.testing.assert_frame_equal(
        again.predict(history), forecaster.predict(history), check_exact=True
    )
    clone = pytest.importorskip("sklearn.base").clone
    assert clone(forecaster).get_params()["columns"] == COLUMNS
    text = (tmp_path / "kept" / "forecaster.json").read_text().replace(
        '"crossed": [\n      1', '"crossed": [\n      2'
    )  # fmt: skip
    (tmp_path / "kept" / "forecaster.json").write_text(text)
    with pytest.raises(DataError, match=r"crossed=\(2,\) in its key 'task', and \(1,\)"):
        Forecaster.load(tmp_path / "kept")


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=list(LIBRARIES))
def test_any_library_and_totals_by_a_crossed_column(fitted, history, library):
    given = library(history)
    answer = fitted.predict(given, by="purpose", level=[80])
    assert type(answer) is type(given)
    names = answer.column_names if hasattr(answer, "column_names") else list(answer.columns)
    assert names[:2] == ["purpose", "ds"]
    plain = fitted.predict(history, by="purpose")
    each = fitted.predict(history).assign(purpose=lambda f: f.unique_id.str.split("-").str[1])
    sums = each.groupby(["purpose", "ds"]).HiPerformer.sum()
    np.testing.assert_allclose(plain.set_index(["purpose", "ds"]).HiPerformer, sums, atol=1e-9)


def test_classes_that_training_had_not_and_few_series(fitted, history):
    new = history.assign(
        purpose=history.purpose.replace("visit", "study"),
        region=history.region.replace("west", "far west"),
    )
    one, two = fitted.predict(history), fitted.predict(new)
    np.testing.assert_allclose(one.HiPerformer, two.HiPerformer, rtol=1e-10)
    for some in (history.purpose == "visit", history.unique_id == "west-visit"):
        assert fitted.predict(history[some]).HiPerformer.notna().all()


def test_backtests_and_influence(fitted):
    frame = make(seed=2)
    found = fitted.backtest(frame, n_windows=2, level=[80])
    assert found.HiPerformer.notna().all() and found.cutoff.nunique() == 2
    gone = fitted.influence(frame, by="purpose")
    without = fitted.predict(frame[frame.purpose != "visit"])
    part = gone[gone.deleted == "visit"]
    whole = fitted.predict(frame).set_index(["unique_id", "ds"]).HiPerformer
    change = without.set_index(["unique_id", "ds"]).HiPerformer - whole
    change = change.dropna().reindex(pd.MultiIndex.from_frame(part[["unique_id", "ds"]]))
    np.testing.assert_allclose(part.HiPerformer, change, atol=1e-9)


def test_plans_and_gaps(fitted):
    """What is given comes back in totals; gaps are filled; surprise has a number for each cell."""
    frame = make(seed=3)
    now, plan = frame[frame.ds < NOW], frame[frame.ds.between(NOW, NOW + H - 1)]
    plan = plan[plan.purpose == "visit"]
    total = fitted.predict(now, given=plan[["unique_id", "ds", "y"]], by="purpose")
    found = total[total.purpose == "visit"].HiPerformer
    np.testing.assert_allclose(found, plan.groupby("ds").y.sum(), rtol=1e-10)
    gone = (frame.unique_id == "west-visit") & frame.ds.between(20, 21)
    filled = fitted.impute(frame[~gone], level=[80])
    assert len(filled) == 2 and filled.notna().all().all()
    assert fitted.surprise(frame).score.notna().all()


def of_one_way(width: int, heads: int, dropout: float, levels: int) -> SA3Block:
    """A block of one's own that knows nothing of further ways."""
    return SA3Block(width, heads, dropout, levels)


def test_a_block_of_ones_own_must_take_every_way():
    with pytest.raises(DataError, match=r"block=.*of_one_way.* does not take crossed"):
        fit(model=HiPerformer(12, 1, 2, patch=4, block=of_one_way), trainer=QUIET)
    own = HiPerformer(12, 1, 2, patch=4, block=lambda *sizes: BLOCKS["sa3"](*sizes))
    fit(model=own, trainer=QUIET)


def test_on_the_command_line(tmp_path, history):
    make().to_csv(tmp_path / "train.csv", index=False)
    roles = "--group state --group region --crossed purpose --crossed state,purpose/unique_id"
    sizes = "--context 12 --horizon 3 --steps 2 --batch-size 4 --set width=8 --set heads=2"
    wrong = call("fit", tmp_path / "train.csv", tmp_path / "m", *f"{roles} {sizes}".split(), code=2)
    assert "--crossed purpose/state,purpose/unique_id" in wrong.stderr
    roles = "--group state --group region --crossed purpose"
    call("fit", tmp_path / "train.csv", tmp_path / "model", *f"{roles} {sizes}".split())
    assert Forecaster.load(tmp_path / "model").columns == COLUMNS
    out = tmp_path / "totals.csv"
    call("predict", tmp_path / "train.csv", tmp_path / "model", "--by", "purpose", "--out", out)
    assert set(pd.read_csv(out).purpose) == set(PURPOSES)


def test_without_a_further_way_everything_is_as_it_was(history):
    plain = fit(replace(COLUMNS, crossed=()), trainer=QUIET)
    assert not [name for name in plain.model_.state_dict() if "crossed" in name]
