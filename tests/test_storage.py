"""Saving and loading: bit for bit, all or nothing, and no code from the file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import hierforecast
from hierforecast import (
    ConstantVelocity,
    DataError,
    Forecaster,
    HiPerformer,
    LastValue,
    Ridge,
    SeasonalNaive,
)
from hierforecast.cli import app
from hierforecast.io import atomic
from hierforecast.io.folders import OLD_FORMAT, OLD_WEIGHTS
from hierforecast.models import hiperformer
from hierforecast.nn.heads import LowRankHead, ReturnsHead, StepsHead, make_head
from hierforecast.storage import OPTIONS
from tests.helpers import COLUMNS, DOUBLE, EVERYTHING, make_frame, tiny

NOW = 20
CASES: dict[str, dict[str, Any]] = {
    "lowrank": {"model": HiPerformer(12, 1, 2)},
    "own head": {"model": HiPerformer(12, 1, 2, head=LowRankHead(rank=3, series_rank=1))},
    "everything, float64": {
        "model": HiPerformer(12, 1, 2, head="student"),
        "columns": EVERYTHING,
        "trainer": DOUBLE,
    },
    "last value": {"model": LastValue()},
    "constant velocity, float64": {"model": ConstantVelocity("series"), "trainer": DOUBLE},
    "seasonal": {"model": SeasonalNaive(3)},
    "ridge": {"model": Ridge(0.5)},
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(seed=2, missing=0.0)


@pytest.fixture(scope="module")
def fitted(frame) -> Forecaster:
    return tiny(HiPerformer(12, 1, 2), max_steps=1).fit(frame)


def weights_of(folder: Path) -> Path:
    """The one file of weights in a saved folder."""
    (found,) = folder.glob("weights*.safetensors")
    return found


def answers(forecaster: Forecaster, frame: pd.DataFrame) -> list[pd.DataFrame]:
    history, known = frame[frame.ds < NOW], None
    if forecaster.columns.known_covariates:
        known = frame[frame.ds >= NOW]
    return [
        forecaster.predict(history, [90], known=known),
        forecaster.sample(history, 2, known=known),
        forecaster.backtest(frame),
    ]


@pytest.mark.parametrize("case", CASES)
def test_loading_gives_the_same_forecast_bit_for_bit_and_so_does_saving_again(
    case, frame, tmp_path
):
    forecaster = tiny(**CASES[case], max_steps=2).fit(frame)
    before = answers(forecaster, frame)
    for name in ("once", "twice"):
        forecaster.save(tmp_path / name)
        forecaster = Forecaster.load(tmp_path / name)
        for one, two in zip(before, answers(forecaster, frame), strict=True):
            pd.testing.assert_frame_equal(one, two, check_exact=True)
    first, second = ((tmp_path / n / OPTIONS).read_text() for n in ("once", "twice"))
    assert first == second
    if CASES[case].get("columns") != EVERYTHING:
        forecaster.fit(frame)  # options came back whole
        assert forecaster.get_params()["seed"] == 0 and forecaster.columns == COLUMNS


def test_options_are_json_and_weights_are_safetensors(fitted, tmp_path):
    fitted.save(str(tmp_path / "a" / "b"))
    folder = tmp_path / "a" / "b"
    document = json.loads((folder / OPTIONS).read_text())
    content = weights_of(folder).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    name = f"weights-{digest[:16]}.safetensors"
    assert sorted(p.name for p in folder.iterdir()) == [OPTIONS, name]
    assert document["weights"] == {"file": name, "sha256": digest, "size": len(content)}
    here = {"hierforecast": hierforecast.__version__, "torch": metadata.version("torch")}
    assert document["format"] == 2 and document["saved_by"] == here
    assert document["model"]["class"] == "HiPerformer"
    assert [p.name for p in folder.parent.iterdir()] == ["b"], "no temporary files are left"


def test_saving_over_an_older_save_replaces_it(fitted, frame, tmp_path):
    tiny(LastValue()).fit(frame).save(tmp_path / "f")
    fitted.save(tmp_path / "f")
    assert type(Forecaster.load(tmp_path / "f").model_) is HiPerformer
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_saving_never_removes_what_it_did_not_write(fitted, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    for place in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(DataError, match=r"holds something else than a saved forecaster"):
            fitted.save(place)
    assert (tmp_path / "thesis.tex").read_text() == "years"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_command_line_asks_for_the_place_before_it_trains(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    lengths = ["--context", "3", "--horizon", "1"]
    result = CliRunner().invoke(app, ["fit", "there_is_no.csv", str(tmp_path), *lengths])
    assert result.exit_code == 2 and "holds something else than a saved forec" in result.stderr


def test_an_empty_folder_and_a_relative_path_will_do(fitted, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    fitted.save(tmp_path / "empty")
    monkeypatch.chdir(tmp_path)
    fitted.save("here")
    (tmp_path / "link").symlink_to(tmp_path / "here")
    fitted.save("link")
    assert (tmp_path / "link").is_symlink() and Forecaster.load("link") is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "here", "link"]


@pytest.mark.parametrize("stage", [0, 1, 2, 3], ids=str)
def test_a_save_that_fails_leaves_the_old_one(stage, fitted, frame, tmp_path, monkeypatch):
    """Whichever of its four steps it is: weights written, put in place, options likewise."""
    old = tiny(LastValue()).fit(frame)
    old.save(tmp_path / "f")
    steps = itertools.count()

    def full(real: Any) -> Any:
        def call(*args: Any) -> Any:
            if next(steps) == stage:
                raise OSError(28, "No space left on device")
            return real(*args)

        return call

    monkeypatch.setattr(atomic, "sync_folder", lambda folder: None)
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, full(getattr(os, name)))
    with pytest.raises(OSError, match=r"No space left on device: '.*/f/(weights|forecaster)"):
        fitted.save(tmp_path / "f")
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path / "f")) == [OPTIONS, weights_of(tmp_path / "f").name]
    pd.testing.assert_frame_equal(
        Forecaster.load(tmp_path / "f").predict(frame), old.predict(frame), check_exact=True
    )


@pytest.mark.parametrize("which", ["options", "weights"])
def test_damaged_and_missing_files_are_named(which, fitted, tmp_path):
    fitted.save(tmp_path / "f")
    file = tmp_path / "f" / OPTIONS if which == "options" else weights_of(tmp_path / "f")
    content = file.read_bytes()
    for damage in (b"", content[: len(content) // 2], content[:20], b"\xff\xfe junk \x00"):
        file.write_bytes(damage)
        with pytest.raises(DataError, match=rf"{file}' is damaged .*: save the forecaster again"):
            Forecaster.load(tmp_path / "f")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"holds no {file.name}: is it a folder that save"):
        Forecaster.load(tmp_path / "f")
    (tmp_path / "script.py").touch()
    with pytest.raises(FileNotFoundError, match=r"script\.py' is a file: give the folder"):
        Forecaster.load(tmp_path / "script.py")
    with pytest.raises(FileNotFoundError, match="nowhere holds no"):
        Forecaster.load(tmp_path / "nowhere")


def test_other_formats_and_other_weights_are_named(fitted, frame, tmp_path):
    fitted.save(tmp_path / "f")
    tiny(HiPerformer(16, 1, 2), max_steps=1).fit(frame).save(tmp_path / "g")
    file = tmp_path / "f" / OPTIONS
    options = file.read_text()
    newer = options.replace('"format": 2', '"format": 99').replace(hierforecast.__version__, "9.9")
    for text in (newer, "[]", "{}"):
        file.write_text(text)
        with pytest.raises(DataError, match=rf"{OPTIONS}' has format .*, this version reads 1 a"):
            Forecaster.load(tmp_path / "f")
    file.write_text(newer)
    with pytest.raises(DataError, match=r"saved by hierforecast 9.9, this is .*load it with the v"):
        Forecaster.load(tmp_path / "f")
    file.write_text(options)
    weights_of(tmp_path / "g").replace(weights_of(tmp_path / "f"))
    with pytest.raises(DataError, match=r"weights-.*' is damaged \(it has .* bytes and was saved"):
        Forecaster.load(tmp_path / "f")
    document = json.loads((tmp_path / "g" / OPTIONS).read_text())
    mixed = {**document, "format": OLD_FORMAT, "model": json.loads(options)["model"]}
    (tmp_path / "g" / OPTIONS).write_text(json.dumps(mixed))  # the old format has no checksums
    weights_of(tmp_path / "f").replace(tmp_path / "g" / OLD_WEIGHTS)
    with pytest.raises(DataError, match=r"has other weights than its keys 'model'"):
        Forecaster.load(tmp_path / "g")


class Trap:
    """A pickle that does something when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize("which", ["options", "weights"])
def test_loading_runs_no_code(which, fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted.save("f")
    file = Path("f", OPTIONS) if which == "options" else weights_of(Path("f"))
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="damaged"):
        Forecaster.load("f")
    torch.save({"x": Trap()}, file)
    with pytest.raises(DataError, match="damaged"):
        Forecaster.load("f")
    assert not Path("trapped").exists()


@pytest.mark.parametrize("name", ["os.system", "Forecaster", "Module", "Model", "__loader__"])
def test_no_class_but_the_models_is_ever_built(name, fitted, tmp_path):
    fitted.save(tmp_path / "f")
    file = tmp_path / "f" / OPTIONS
    file.write_text(file.read_text().replace('"class": "HiPerformer"', f'"class": "{name}"'))
    with pytest.raises(DataError, match="which this package does not hold: give its class"):
        Forecaster.load(tmp_path / "f")


class Mine(LastValue):
    """A model of the user's own."""


def test_a_model_of_your_own_is_loaded_into_an_instance(frame, tmp_path):
    forecaster = tiny(Mine()).fit(frame)
    forecaster.save(tmp_path / "f")
    with pytest.raises(DataError, match=r"'Mine', .*Forecaster.load\(path, model=Mine\)"):
        Forecaster.load(tmp_path / "f")
    with pytest.raises(DataError, match="holds a Mine, but model is a LastValue"):
        Forecaster.load(tmp_path / "f", model=LastValue())
    loaded = Forecaster.load(tmp_path / "f", model=Mine())
    pd.testing.assert_frame_equal(loaded.predict(frame), forecaster.predict(frame))


def test_trainer_options_that_json_cannot_hold_stay_behind(frame, tmp_path):
    forecaster = tiny(LastValue(), trainer={"accelerator": "cpu", "callbacks": [object()]})
    forecaster.fit(frame).save(tmp_path / "f")
    assert Forecaster.load(tmp_path / "f").trainer == {"accelerator": "cpu"}


@pytest.mark.parametrize("named", [True, False], ids=["by name", "with options"])
@pytest.mark.parametrize("head", [StepsHead(group_rank=0), ReturnsHead(groups_last=False)])
def test_heads_are_what_they_were_when_they_were_saved(named, head, frame, tmp_path, monkeypatch):
    """Files of before latents of groups, or before groups came last, say nothing of them."""
    name = "steps" if isinstance(head, StepsHead) else "returns"
    saved = name if named else {"name": name, "options": {"rank": 8}}
    was = tiny(HiPerformer(12, 1, 2, head=head, scale="returns"), max_steps=1).fit(frame)
    with monkeypatch.context() as patch:
        patch.setattr(hiperformer, "head_to_dict", lambda head: saved)
        was.save(tmp_path / "f")
    history = frame[frame.ds < NOW]
    loaded = Forecaster.load(tmp_path / "f")
    assert loaded.model_._head == head != make_head(name)
    asked = {"n": 2, "seed": 0}
    pd.testing.assert_frame_equal(loaded.sample(history, **asked), was.sample(history, **asked))


def test_a_head_that_was_replaced_warns_and_is_saved_as_it_is(frame, tmp_path):
    with pytest.warns(DeprecationWarning, match="head='steps' is replaced by head='returns'") as at:
        plan = HiPerformer(12, 1, 2, head="steps")
    assert at[0].filename == __file__
    today = tiny(plan, max_steps=1).fit(frame)
    today.save(tmp_path / "g")
    assert make_head(Forecaster.load(tmp_path / "g").model_.head) == StepsHead()
