"""The NBA experiments on simulated games: variants, removal, and errors of the same agents."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import _nba, _nba_variants, nba_ablation, nba_missing
from benchmarks._nba import Arm, agent_errors, averaged, one_shot, remove, rolled, windows_of
from benchmarks._scenes import COLUMNS
from hierforecast import ConstantVelocity, Forecaster, HiPerformer
from hierforecast.datasets import simulate_basketball
from hierforecast.models import Model
from hierforecast.testing import assert_equivariant, randomize_
from tests.rows import FLAT, TASK, OnRows, Rows, make_content, moves_of, pack

VARIANTS = {
    "without SA_C": {"block": _nba_variants.WithoutClasses},
    "without SA_S": {"block": _nba_variants.WithoutSeries},
    "alone": {"block": _nba_variants.Alone},
    "full attention": {"block": _nba_variants.SceneBlock},
    "series tokens": {
        "block": _nba_variants.SceneBlock,
        "tokens": _nba_variants.SeriesTokens,
        "patch": 99,
    },
    "without velocity": {"tokens": _nba_variants.WithoutVelocity},
}
SIZES = {"width": 8, "depth": 1, "heads": 2, "dropout": 0.0}
SMALL = {**SIZES, "scale": "coordinates", "block": "sa3"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return windows_of(simulate_basketball(n_scenes=6, n_steps=56, seed=0), 8)


def fitted(model=None, **options) -> Forecaster:
    model = ConstantVelocity() if model is None else model
    options = {"prediction_length": 10, "columns": COLUMNS, "max_steps": 2, **options}
    quiet = {"accelerator": "cpu", "enable_progress_bar": False}
    forecaster = Forecaster(model, context_length=40, trainer=quiet, **options)
    return forecaster.fit(simulate_basketball(n_scenes=12, n_steps=52, seed=1))


def built(name: str, rows: Rows, wild: bool = True) -> OnRows:
    """A variant on rows; with `wild` weights its attention is nearly hard."""
    model = HiPerformer(**{**SMALL, "patch": 4, **VARIANTS[name]}).for_task(TASK).double()
    torch.nn.init.normal_(model.decoder.mean.weight, std=0.02)  # moves begin at zero
    return OnRows(randomize_(model) if wild else model, rows)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_equivariant_and_forget_the_missing(name):
    content, module = make_content(FLAT, TASK), built(name, FLAT)
    for move in moves_of(FLAT, seeds=1):
        act = lambda x, move=move: x[move]  # noqa: E731
        assert_equivariant(module, content, act, act)
    gone = [2, 9]
    kept = np.setdiff1d(np.arange(len(FLAT)), gone)
    fewer = built(name, FLAT.without(gone))({part: x[kept] for part, x in content.items()})
    content["present"][gone] = False  # hidden, but still in the plan of who meets whom
    hidden = module(content)
    for part, x in fewer.items():
        torch.testing.assert_close(hidden[part][kept], x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "meets_member", "meets_other"),
    [
        ("without SA_C", True, False),
        ("without SA_S", True, True),
        ("alone", False, False),
        ("full attention", True, True),
        ("series tokens", True, True),
    ],
)
def test_variants_meet_whom_they_say(name, meets_member, meets_other):
    rows = Rows.of("h h a a", "h a")
    module, content = built(name, rows, wild=False), make_content(rows, TASK, missing=0)
    before = module(content)["mean"]

    def moved(row: int) -> torch.Tensor:
        other = {**content, "values": content["values"].clone()}
        other["values"][row] += torch.randn_like(other["values"][row])
        return (module(other)["mean"] - before).abs().amax((1, 2)) > 1e-9

    assert moved(1)[0] == meets_member and moved(3)[0] == meets_other
    assert not moved(4)[0] and not moved(5)[0], "another scene"


def test_series_tokens_read_the_horizon_from_the_context():
    model = HiPerformer(**{**SMALL, **VARIANTS["series tokens"]}).for_task(TASK)
    batch = pack(FLAT, make_content(FLAT, TASK)).to(torch.float32)
    tokens, present = model.embedding(batch, model.scaler(batch))
    assert tokens.shape[1] == 1 and present.all()


def test_without_velocity_hides_the_differences_only():
    model = HiPerformer(**SMALL, tokens="without_velocity", patch=4).for_task(TASK)
    seen = []
    model.embedding.read.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    batch = pack(FLAT, make_content(FLAT, TASK)).to(torch.float32)
    model(batch)
    # Whole patches: relative, velocity, absolute (two targets each) and presence, covariates.
    step = seen[0].unflatten(-1, (4, -1))[:, 1:]
    assert not step[..., 2:4].any()
    assert all(step[..., at].any() for at in range(step.shape[-1]) if at not in (2, 3))


def test_a_variant_is_saved_by_the_name_of_its_parts(frame, tmp_path):
    forecaster = fitted(HiPerformer(**{**SMALL, **VARIANTS["series tokens"]}))
    forecaster.save(tmp_path / "f")
    again = Forecaster.load(tmp_path / "f")
    assert (again.model_.block, again.model_.tokens) == ("scene", "series")
    history = frame[frame["ds"] < 40]
    pd.testing.assert_frame_equal(again.predict(history), forecaster.predict(history))


def test_windows_are_pieces_of_scenes_and_each_team_is_ranked(frame):
    source = simulate_basketball(n_scenes=6, n_steps=56, seed=0)
    assert frame.groupby("scene")["ds"].nunique().eq(50).all()
    ranks = frame.drop_duplicates(["scene", "unique_id"]).groupby(["scene", "team"])["rank"]
    sets = ranks.agg(lambda x: tuple(sorted(x))).unstack()
    assert set(sets["home"]) == set(sets["away"]) == {(0, 1, 2, 3, 4)} and set(sets["ball"]) == {
        (5,)
    }
    assert frame.groupby(["scene", "unique_id"])["rank"].nunique().eq(1).all()
    # Each window is found in the games, step after step, as it was.
    track = frame[(frame["scene"] == 3) & (frame["unique_id"] == "ball")]["x"].to_numpy()
    balls = source[source["unique_id"] == "ball"].groupby("scene")["x"]
    pieces = [x.to_numpy()[i : i + 50] for _, x in balls for i in range(7)]
    assert any(np.array_equal(track, piece) for piece in pieces)
    with pytest.raises(ValueError, match="must hold 999 windows"):
        windows_of(source, 999)


def test_removal_removes_rows_and_more_removal_removes_more(frame):
    left = remove(frame, 2, 4)
    counts = left.drop_duplicates(["scene", "unique_id"]).groupby(["scene", "team"]).size()
    assert (counts.unstack() == pd.Series({"away": 1, "ball": 1, "home": 3})).all().all()
    assert left.index.isin(remove(frame, 1, 4).index).all()
    forecaster = fitted()
    assert len(agent_errors(forecaster, left)) == 8 * 5


def test_errors_of_agents_are_those_of_evaluate(frame):
    forecaster = fitted()
    errors = agent_errors(forecaster, remove(frame, 1, 0))
    wanted = forecaster.evaluate(remove(frame, 1, 0), ["ade", "fde"]).query("part == 'all'")
    np.testing.assert_allclose(errors[["ade", "fde"]].mean(), wanted["value"], rtol=1e-6)


def test_the_same_agents_are_compared_on_identical_cells(frame, monkeypatch):
    monkeypatch.setattr(nba_missing, "MOST", 2)
    # Constant velocity looks at nobody else: hiding others changes nothing for who is seen.
    found = nba_missing.removals(fitted(), frame)
    points = found[found["metric"].isin(["ade", "fde"])]
    np.testing.assert_allclose(points["value"], points["visible"], rtol=1e-12)
    counts = points.query("part == 'all' and metric == 'ade'")
    assert (counts["agents"] == 8 * (11 - counts["home"] - counts["away"])).all()
    core = points.query("part == 'core' and metric == 'ade'")
    assert (core["agents"] == 24).all() and core["visible"].nunique() == 1
    # But the mean over who remains moves: that is why the same agents are compared.
    assert counts["value"].nunique() > 1


def test_averaging_is_exact_and_makes_forecasts_equivariant_to_reflection(frame):
    forecaster = fitted(HiPerformer(**{**SMALL, "block": _nba_variants.WithoutClasses}))
    history = frame[frame["ds"] < 40]
    mirrored = history.assign(x=94 - history["x"])
    keys = ["scene", "unique_id", "ds"]
    one, other = (
        averaged(forecaster, x).sort_values(keys, ignore_index=True) for x in (history, mirrored)
    )
    np.testing.assert_allclose(one["x"], 94 - other["x"], atol=1e-3)
    np.testing.assert_allclose(one["y"], other["y"], atol=1e-3)
    plain = one_shot(forecaster, history).sort_values(keys, ignore_index=True)
    assert (plain["x"] - one["x"]).abs().max() > 1e-2


def test_rolling_a_constant_velocity_goes_on_along_the_line(frame):
    history = frame[frame["ds"] < 40]
    short = rolled(fitted(prediction_length=5), history)
    whole = one_shot(fitted(), history)
    both = whole.merge(short, on=["scene", "unique_id", "ds"])
    assert len(both) == len(whole) == len(short)
    np.testing.assert_allclose(both["x_x"], both["x_y"], atol=1e-2)


def seeded(growths: dict[float, float]) -> pd.DataFrame:
    """Made results: errors of 2 feet that grow by so much per player hidden."""
    rows = [
        (home, away, part, metric, 2 + slope * (home + away), 2.0, 10, information, rate, seed)
        for information in nba_missing.CLASSES
        for rate, slope in growths.items()
        for seed in range(3)
        for home in range(5)
        for away in range(5)
        for part in ("all", "players", "ball", "core")
        for metric in ("ade", "fde", *nba_missing.LIKELIHOOD)
    ]
    names = ["home", "away", "part", "metric", "value", "visible", "agents"]
    return pd.DataFrame(rows, columns=[*names, "information", "rate", "seed"])


@pytest.mark.parametrize(("slope", "verdict"), [(0.04, ": less than half"), (0.06, "not less")])
def test_missing_tables_and_acceptance_line(slope, verdict, tmp_path):
    found = seeded({0.0: 0.1, 0.2: slope})
    assert f"grows by {slope / 0.1:.2f} times" in nba_missing.acceptance(found)
    assert verdict in nba_missing.acceptance(found)
    same = nba_missing.same_table(found)
    assert same.loc["classes: 3 of one team hidden", "dropout 0: growth"] == "0.300 ±0.000"
    assert same.loc["classes: 3 of each team hidden", "ratio of growths"] == f"{slope / 0.1:.2f}"
    grid = nba_missing.grid_table(found)
    line = "classes, series dropout 0: 2 of home removed"
    assert grid.shape == (20, 5) and grid.loc[line, "1 of away"] == "2.300"
    diagonal = nba_missing.diagonal_table(found)
    assert diagonal.loc["no classes, series dropout 0.2: 4+4", "published ADE/FDE*"] == "2.38/5.06"
    nba_missing.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_fit_starts_from_saved_weights_and_units(tmp_path, monkeypatch):
    small = nba_ablation.sized(**SMALL)
    fitted(small).save(tmp_path / "first")
    # A rate of nearly nothing moves nothing, and other scenes teach no other units.
    others = simulate_basketball(n_scenes=12, n_steps=52, seed=5)
    monkeypatch.setattr(_nba, "games", lambda split: others)
    # Nor does ridge regression on those scenes answer, be it closer to them.
    monkeypatch.setattr(HiPerformer, "relearned", Model.relearned)
    arm = Arm("second", small, learning_rate=1e-12)
    second = arm.fit(tmp_path, 1, str(tmp_path / "first"))
    one = Forecaster.load(tmp_path / "first").model_.state_dict()
    for name, weights in second.model_.state_dict().items():
        torch.testing.assert_close(weights, one[name], rtol=0, atol=1e-6)
