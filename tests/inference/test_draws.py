"""Draws of a scene follow from the seed, its label and its last time, whatever is beside it."""

from __future__ import annotations

import datetime
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast._random import by_scene, drawing, seeded
from hierforecast.distributions import SceneDistribution
from hierforecast.inference.draws import Draws
from hierforecast.nn.heads import LowRankHead, MixtureHead, StepsHead
from hierforecast.testing import randomize_
from tests.helpers import COLUMNS, DOUBLE, EVERYTHING, assert_same_frame, make_frame, tiny

KEYS = ["scene", "unique_id", "ds", "sample_id"]
MODELS = {
    "coupled": {"model": HiPerformer(8, 1, 2, patch=4)},
    "student": {"model": HiPerformer(8, 1, 2, patch=4, block="sa3", head="student")},
    "gaussian": {"model": HiPerformer(8, 1, 2, patch=4, block="sa3", head="gaussian")},
    "steps, levels": {
        "model": HiPerformer(8, 1, 2, patch=3, block="sa3", head=StepsHead()),
        "columns": replace(EVERYTHING, known_covariates=()),
    },
    "rows": {"model": HiPerformer(8, 1, 2, patch=4, block="sa3", head="rows")},
    "mixture": {
        "model": HiPerformer(8, 1, 2, patch=4, block="sa3", head=MixtureHead(modes=3, rank=2))
    },
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(n_scenes=5)


@pytest.fixture(scope="module", params=MODELS)
def fitted(request, frame) -> Forecaster:
    return tiny(**MODELS[request.param]).fit(frame)


def part(frame: pd.DataFrame, scenes: list[int]) -> pd.DataFrame:
    return frame[frame.scene.isin(scenes)].reset_index(drop=True)


def ask(fitted: Forecaster, verb: str, frame: pd.DataFrame) -> pd.DataFrame:
    history = frame[frame.ds < 20]
    if verb == "impute":
        return fitted.impute(frame, n=3)
    options = {"n_samples": 20} if verb == "futures" else {}
    return getattr(fitted, verb)(history, 3, **options)


@pytest.mark.parametrize("verb", ["sample", "impute", "futures"])
@pytest.mark.filterwarnings("ignore:.*steps that are not imputed", "ignore:gaps of up to")
def test_a_part_of_a_frame_is_drawn_like_the_whole(fitted, frame, verb):
    whole = ask(fitted, verb, frame)
    for scenes in ([0], [3, 1], [1, 2, 4]):
        keys = [*KEYS[:3], "future_id" if verb == "futures" else "sample_id"]
        own = ask(fitted, verb, part(frame, scenes))
        assert_same_frame(own, part(whole, scenes), 2e-4, keys)


def test_batches_change_nothing_and_seeds_do(fitted, frame):
    expected = ask(fitted, "sample", frame)
    fitted.set_params(batch_size=2)
    assert_same_frame(ask(fitted, "sample", frame), expected, 2e-4, KEYS)
    fitted.set_params(batch_size=64, seed=fitted.seed + 1)
    other = ask(fitted, "sample", frame)
    fitted.set_params(seed=fitted.seed - 1)
    point = fitted.model_.__class__.__name__ + "_x"
    assert (other[point] != expected[point]).mean() > 0.9


def test_evaluate_draws_alike_in_batches(fitted, frame):
    one = fitted.evaluate(frame, ["energy_score", "min_ade"])
    fitted.set_params(batch_size=1)
    other = fitted.evaluate(frame, ["energy_score", "min_ade"])
    fitted.set_params(batch_size=64)
    pd.testing.assert_frame_equal(one, other, rtol=1e-4)


def crossing(n_scenes: int = 4) -> pd.DataFrame:
    """Scenes of many teams and few roles beside scenes of few teams and many roles."""
    frame = make_frame(n_scenes, missing=0.0)
    series = frame.unique_id.factorize()[0]
    many = frame.scene % 2 == 0
    team = np.where(many, series % 5, series % 2)
    return frame.assign(kind="player", team=team, role=np.where(many, series // 5, series // 2))


@pytest.mark.parametrize("head", [StepsHead(2, 2), LowRankHead(2, 1, group_rank=2)])
def test_crossed_groups_are_drawn_alike_whatever_ways_are_beside(head):
    """In one scene teams are the more groups, in another roles."""
    frame, columns = crossing(), replace(COLUMNS, crossed="role")
    model = HiPerformer(8, 1, 2, patch=4, block="sa3", head=head)
    fitted = tiny(model, columns=columns, trainer=DOUBLE).fit(frame)
    randomize_(fitted.model_)
    whole = ask(fitted, "sample", frame)
    for scene in range(4):
        own = ask(fitted, "sample", part(frame, [scene]))
        assert_same_frame(own, part(whole, [scene]), 1e-9, KEYS)


def test_scenes_of_equal_content_are_drawn_apart():
    frame = make_frame(n_scenes=1)
    both = pd.concat([frame, frame.assign(scene=7)], ignore_index=True)
    drawn = tiny(HiPerformer(8, 1, 2, patch=4)).fit(both).sample(both[both.ds < 20], 3)
    one, other = (drawn[drawn.scene == scene].HiPerformer_x.to_numpy() for scene in (0, 7))
    assert len(one) == len(other) and (one != other).mean() > 0.9


def keys_of(scenes: object, times: object = None) -> list[int]:
    """First numbers of the generators of a window of each scene."""
    rows = pd.DataFrame({"scene": scenes})
    count = len(rows)
    frame = pd.DataFrame(
        {"scene": rows.scene.repeat(4), "ds": np.tile(np.arange(4), count), "unique_id": "a"}
    )
    if times is not None:
        frame["ds"] = np.tile(times, count)
    frame["y"] = 1.0 * np.arange(len(frame))
    columns = Columns(group=None, scene="scene")
    panel = tiny(HiPerformer(8, 1, 2), columns=columns, context_length=2, prediction_length=1)
    read = panel.fit(frame)._read(frame)
    windows = np.array([(s, 2) for s in range(count)])
    return [int(torch.randint(2**40, (), generator=g)) for g in Draws(0).generators(read, windows)]


def test_a_label_is_the_same_in_every_type():
    numbers = [keys_of(pd.Series([3, 4], dtype=dtype)) for dtype in ("int64", "int8", "uint32")]
    assert numbers[0] == numbers[1] == numbers[2] and numbers[0][0] != numbers[0][1]
    words = pd.Series(["a", "b"], dtype=object)
    assert keys_of(words) == keys_of(words.astype("category")) == keys_of(words.astype("string"))
    assert keys_of(pd.Series([3.0, 4.5], dtype="float64"))[0] == numbers[0][0]
    days = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02"]))
    plain = pd.Series([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)], dtype=object)
    assert keys_of(days.dt.as_unit("ns")) == keys_of(days.dt.as_unit("s")) == keys_of(plain)


def test_a_time_is_the_same_in_every_unit():
    times = pd.date_range("2024-01-01", periods=4).to_numpy()
    ours = [keys_of(["a"], times.astype(f"M8[{unit}]")) for unit in ("s", "us", "ns")]
    assert ours[0] == ours[1] == ours[2] != keys_of(["a"])


def test_what_no_scene_has_is_drawn_from_nobodys_generator():
    scene = torch.tensor([1, -1, 0, 1])

    def draw(units: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(units))

    with drawing([seeded(5), seeded(6)]):
        found = by_scene(draw, scene, -1)
    expected = torch.randn(1, generator=seeded(5)), torch.randn(2, generator=seeded(6))
    torch.testing.assert_close(found[[2]], expected[0])
    torch.testing.assert_close(found[[0, 3]], expected[1])


class Careless(SceneDistribution):
    """A family that draws for all scenes at once: what is beside a scene changes its draws."""

    def _draw(self, shape: torch.Size) -> torch.Tensor:
        return torch.randn(*shape, *self.event_shape)


class Careful(Careless):
    def _draw(self, shape: torch.Size) -> torch.Tensor:
        sizes = self.event_shape[1:]
        return by_scene(lambda rows: torch.randn(*shape, len(rows), *sizes), self.scene, -3)


@pytest.mark.parametrize(("family", "alike"), [(Careful, True), (Careless, False)])
def test_the_test_tells_who_draws_by_scene(family, alike):
    both = family(torch.tensor([1, 0, 1]), 2, 3, 1).sample((4,), [seeded(1), seeded(2)])
    alone = family(torch.tensor([0, 0]), 1, 3, 1).sample((4,), [seeded(2)])
    assert torch.equal(both[:, [0, 2]], alone) is alike
