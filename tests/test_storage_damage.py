"""Saved folders that were damaged, edited, made to do harm, or written by an older version."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import hierforecast
from hierforecast import ConstantVelocity, DataError, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.image_ssl.nn import small_resnet
from hierforecast.image_ssl.storage import load_backbone, read_made_by, save_backbone
from hierforecast.io.folders import LARGEST_JSON, OLD_WEIGHTS
from hierforecast.storage import OPTIONS
from tests.damage import damages
from tests.helpers import EVERYTHING, QUIET, make_frame, newest, tiny
from tests.hostile import HOSTILE, edit, set_in

NOW = 20
GOLDEN = Path(__file__).parent / "golden"
CORRUPTIONS = int(os.environ.get("HIERFORECAST_CORRUPTIONS", 40))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(seed=2, missing=0.0)


@pytest.fixture(scope="module")
def folders(frame, tmp_path_factory) -> Path:
    """Two forecasters of one architecture, `a` and `b`, and two backbones, `c` and `d`."""
    root = tmp_path_factory.mktemp("saved")
    for name, seed in (("a", 0), ("b", 1)):
        model = HiPerformer(8, 1, 2, patch=4)
        tiny(model, max_steps=1, seed=seed, columns=EVERYTHING).fit(frame).save(root / name)
    for name, steps in (("c", 1), ("d", 2)):
        save_backbone(small_resnet("C2", 2), root / name, {"steps": steps})
    return root


def weights_of(folder: Path) -> Path:
    (found,) = folder.glob("weights*.safetensors")
    return found


def forecast(folder: Path, frame: pd.DataFrame) -> pd.DataFrame:
    known = frame[frame.ds >= NOW]
    return Forecaster.load(folder).predict(frame[frame.ds < NOW], [90], known=known)


def test_damaged_forecasters_are_refused_by_name_or_forecast_the_same(folders, frame, tmp_path):
    right, refused = forecast(folders / "a", frame), 0
    for what, copy in damages(folders / "a", folders / "b", tmp_path, CORRUPTIONS):
        try:
            found = forecast(copy, frame)
        except (DataError, FileNotFoundError) as error:
            assert f"{copy}" in str(error), (what, error)
            assert OPTIONS in str(error) or "weights-" in str(error), (what, error)
            refused += 1
            continue
        pd.testing.assert_frame_equal(found, right, check_exact=True, obj=what)
    assert refused > 0.9 * CORRUPTIONS


def test_damaged_backbones_are_refused_by_name_or_give_the_same_features(folders, tmp_path):
    images, refused = torch.rand(2, 3, 33, 33), 0
    right = load_backbone(folders / "c")(images).detach()
    for what, copy in damages(folders / "c", folders / "d", tmp_path, CORRUPTIONS, seed=1):
        try:
            found, made_by = load_backbone(copy)(images).detach(), read_made_by(copy)
        except (DataError, FileNotFoundError) as error:
            assert f"{copy}" in str(error), (what, error)
            refused += 1
            continue
        assert torch.equal(found, right) and made_by == {"steps": 1}, what
    assert refused > 0.9 * CORRUPTIONS


def test_damaged_checkpoints_are_refused_by_name_or_resumed_to_the_same_end(frame, tmp_path):
    def forecaster(root: Path, seed: int = 0) -> Forecaster:
        trainer = {**QUIET, "default_root_dir": str(root)}
        return tiny(HiPerformer(8, 1, 2, patch=4), max_steps=2, seed=seed, trainer=trainer)

    fitted = [forecaster(tmp_path / name, seed).fit(frame) for name, seed in (("a", 0), ("b", 1))]
    right, refused = fitted[0].predict(frame[frame.ds < NOW]), 0
    count = max(20, CORRUPTIONS // 4)
    for what, copy in damages(tmp_path / "a", tmp_path / "b", tmp_path, count, seed=4):
        try:
            found = forecaster(copy).fit(frame, resume=True).predict(frame[frame.ds < NOW])
        except DataError as error:
            assert f"{copy}" in str(error) and "last.ckpt" in str(error), (what, error)
            refused += 1
            continue
        pd.testing.assert_frame_equal(found, right, check_exact=True, obj=what)
    assert refused > 0.7 * count


@pytest.fixture
def saved(folders, tmp_path) -> Path:
    shutil.copytree(folders / "a", tmp_path / "f")
    return tmp_path / "f"


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_document_is_named_with_its_key_before_anything_is_built(case, saved):
    change, key = HOSTILE[case]
    edit(saved, change)
    if key is None:  # harmless or refused: never another error
        try:
            Forecaster.load(saved)
        except DataError as error:
            assert OPTIONS in str(error)
        return
    with pytest.raises(DataError, match=r"forecaster\.json'") as caught:
        Forecaster.load(saved)
    assert key in str(caught.value) and hierforecast.__version__ in str(caught.value)


@pytest.mark.parametrize("key", ["model", "task", "dtype", "columns", "vocabulary", "step"])
def test_a_missing_key_is_named(key, saved):
    edit(saved, lambda document: document.pop(key))
    with pytest.raises(DataError, match=rf"forecaster.json' has no key '{key}'"):
        Forecaster.load(saved)


def test_an_edit_by_hand_is_named_with_its_key(saved):
    edit(saved, set_in("options", "learning_rate", 0.5), checksums=False)
    with pytest.raises(DataError, match=r"was changed after it was saved: its key 'options'"):
        Forecaster.load(saved)


def test_a_newer_version_is_named(saved):
    edit(saved, set_in("saved_by", "hierforecast", "7.5.0"))
    assert Forecaster.load(saved) is not None, "what this version understands it loads"
    edit(saved, set_in("columns", "clock", "quartz"))
    with pytest.raises(DataError, match=r"'clock'.*saved by hierforecast 7\.5\.0.*load it with th"):
        Forecaster.load(saved)


@pytest.mark.parametrize("where", ["options", "weights"])
@pytest.mark.parametrize("thing", ["pipe", "folder", "device", "loop"])
def test_what_is_no_file_is_refused_and_not_waited_for(thing, where, saved):
    file = saved / OPTIONS if where == "options" else weights_of(saved)
    file.unlink()
    if thing == "pipe":
        os.mkfifo(file)
    elif thing == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if thing == "device" else file)
    with pytest.raises(DataError, match=rf"{file.name}'.*give a file"):
        Forecaster.load(saved)


def test_json_that_is_deep_or_large_is_refused(saved):
    for text in ("[" * 10**5, '{"a":' * 10**5, "[" * 10**5 + "]" * 10**5):
        (saved / OPTIONS).write_text(text)
        with pytest.raises(DataError, match=r"forecaster.json' is damaged .(nested|cut short)"):
            Forecaster.load(saved)
    with (saved / OPTIONS).open("wb") as stream:
        stream.truncate(LARGEST_JSON + 1)
    with pytest.raises(DataError, match=r"forecaster.json' has 64.0 MiB, and at most 64 MiB"):
        Forecaster.load(saved)


@newest
def test_weights_of_another_kind_or_number_are_named(saved):
    weights = dict(Forecaster.load(saved).model_.state_dict())
    edit(saved, set_in("format", 1))
    weights_of(saved).rename(saved / OLD_WEIGHTS)
    name = next(iter(weights))
    for odd in (
        {**weights, name: weights[name].double()},
        {**weights, name: weights[name].to(torch.complex64)},
        {**weights, name: weights[name][None]},
        {**weights, "more": torch.zeros(1)},
        {key: value for key, value in weights.items() if key != name},
    ):
        save_file(odd, saved / OLD_WEIGHTS)
        with pytest.raises(DataError, match=rf"other weights than .*: '({name}|more)' is"):
            Forecaster.load(saved)


def test_loading_draws_no_random_numbers(saved):
    before = torch.get_rng_state()
    Forecaster.load(saved)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["hiperformer", "ridge", "fourier", "returns", "demand"])
def test_a_folder_of_an_older_version_forecasts_as_it_did(name, frame, tmp_path):
    shutil.copytree(GOLDEN / name, tmp_path / name)
    expected = pd.read_csv(GOLDEN / f"{name}.csv")
    for _ in range(2):  # as it was, and saved anew over it
        forecaster = Forecaster.load(tmp_path / name)
        known = frame[frame.ds >= NOW] if forecaster.columns.known_covariates else None
        found = forecaster.predict(frame[frame.ds < NOW], [90], known=known)
        found = found[found.scene == 0].reset_index(drop=True)
        np.testing.assert_allclose(
            found.iloc[:, 3:].to_numpy(), expected.iloc[:, 3:].to_numpy(), atol=2e-4
        )
        assert found.unique_id.tolist() == expected.unique_id.tolist()
        forecaster.save(tmp_path / name)
        assert sorted(os.listdir(tmp_path / name)) == [OPTIONS, weights_of(tmp_path / name).name]
        assert weights_of(tmp_path / name).name != OLD_WEIGHTS


def test_a_backbone_of_the_first_format_loads(tmp_path):
    shutil.copytree(GOLDEN / "backbone", tmp_path / "net")
    torch.manual_seed(0)
    expected = small_resnet("C1", 2).eval()
    found = load_backbone(tmp_path / "net")
    assert read_made_by(tmp_path / "net") == {"steps": 3}
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_a_stranger_s_weights_are_not_removed(frame, tmp_path):
    (tmp_path / OLD_WEIGHTS).write_bytes(b"somebody else's")
    with pytest.raises(DataError, match="something else than a saved forecaster"):
        tiny(LastValue()).fit(frame).save(tmp_path)
    assert os.listdir(tmp_path) == [OLD_WEIGHTS]


@pytest.mark.parametrize("model", [ConstantVelocity(), Ridge()], ids=["velocity", "ridge"])
def test_a_context_edited_in_the_old_format_is_refused(model, frame, tmp_path):
    tiny(model).fit(frame).save(tmp_path / "f")
    weights_of(tmp_path / "f").rename(tmp_path / "f" / OLD_WEIGHTS)
    edit(tmp_path / "f", set_in("format", 1))
    Forecaster.load(tmp_path / "f")
    edit(tmp_path / "f", set_in("options", "context_length", 40))
    with pytest.raises(DataError, match=r"has context_length=11 in its key 'task', and 40"):
        Forecaster.load(tmp_path / "f")
