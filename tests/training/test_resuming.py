"""Kept checkpoints, and killed fits that are resumed from them: to the same end, bit for bit."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.errors import DataError
from hierforecast.io.checkpoints import LAST
from tests.helpers import QUIET, tiny
from tests.training.fits import call_at, checkpoint, kept_in, model, noisy_frame, stop_at


def same_weights(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


# --- resuming ------------------------------------------------------------------------------------


class Noisy(HiPerformer):
    """A user's own model: plain dropout, and noise drawn in its loss."""

    def build(self, task: Any) -> None:
        super().build(task)
        self.own = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout(0.5))

    def loss(self, batch: Any, future: Any) -> torch.Tensor:
        noise = self.own(torch.randn(5, 1)).mean()
        return super().loss(batch, future) * (1 + 0.1 * torch.tanh(noise))


@pytest.mark.parametrize("kind", [HiPerformer, Noisy])
@pytest.mark.parametrize("died", [1, 4, 13, 22], ids="died after {}".format)
def test_a_resumed_fit_ends_where_the_uninterrupted_one_ends(kind, died, frame, tmp_path):
    """Bit for bit: before the first validation, between two, and after the best one."""

    def one(folder: Path, *more: Any, resume: bool = False) -> Forecaster:
        options = {"max_steps": 40, "learning_rate": 0.02, "series_dropout": 0.3, "seed": 3}
        trainer = {**kept_in(folder, *more), "val_check_interval": 3}
        forecaster = tiny(kind(8, 1, 2, dropout=0.2, head="lowrank"), trainer=trainer, **options)
        return forecaster.fit(frame, resume=resume)

    whole = one(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        one(tmp_path / "killed", stop_at(died, RuntimeError("killed")))
    later = (tmp_path / "killed" / LAST).exists()
    assert later == (died >= 3)
    found = one(tmp_path / "killed", resume=later)
    assert same_weights(whole.model_, found.model_)
    pd.testing.assert_frame_equal(whole.history_, found.history_, check_exact=True)
    ends = [checkpoint(tmp_path / name) for name in ("whole", "killed")]
    assert ends[0]["callbacks"].keys() == ends[1]["callbacks"].keys()
    for one_, other in zip(
        *(end["optimizer_states"][0]["state"].values() for end in ends), strict=True
    ):
        assert all(torch.equal(one_[k], other[k]) for k in one_)


def test_a_fit_that_was_stopped_early_or_came_to_its_end_resumes_to_the_same(frame, tmp_path):
    for steps, rate in ((100, 0.5), (7, 1e-3)):
        folder = tmp_path / str(steps)
        first, again = (
            tiny(model(), max_steps=steps, learning_rate=rate, trainer=kept_in(folder))
            for _ in range(2)
        )
        first.fit(frame)
        again.fit(frame, resume=True)
        assert same_weights(first.model_, again.model_)
        pd.testing.assert_frame_equal(first.history_, again.history_)
    assert len(again.history_) == 7 and again.history_.step.tolist() == list(range(1, 8))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"learning_rate": 0.5}, "learning_rate was 0.001 and is 0.5"),
        ({"max_steps": 9}, r"max_steps was 4 and is 9 \(the learning rate falls to zero over"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"batch_size": 3}, "batch_size was 8 and is 3"),
        ({"series_dropout": 0.5}, "series_dropout was 0.1 and is 0.5"),
        ({"context_length": 10}, "context_length was 11 and is 10"),
        ({"prediction_length": 3}, "prediction_length was 4 and is 3"),
        ({"model": HiPerformer(8, 1, 2, head="student")}, "model head was 'auto' and is 'st"),
        ({"columns": Columns("unique_id", "ds", ["x", "y"], scene="scene", group=None)},
         "Columns group was 'team' and is None"),
        ({"trainer": {"gradient_clip_val": 2.0}}, r"trainer\['gradient_clip_val'\] was None and"),
        ({"frame": noisy_frame}, "the training frame differs"),
        ({"val": noisy_frame}, "the frame given as val differs"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)  # fmt: skip
def test_other_options_or_data_are_refused_by_name(options, named, frame, tmp_path):
    tiny(model(), trainer=kept_in(tmp_path)).fit(frame)
    before = (tmp_path / LAST).read_bytes()
    options = dict(options)
    other, val = options.pop("frame", lambda: frame)(), options.pop("val", lambda: None)()
    trainer = kept_in(tmp_path) | options.pop("trainer", {})
    forecaster = tiny(**{"model": model(), "trainer": trainer, **options})
    with pytest.raises(DataError, match=rf"last\.ckpt is of another fit: .*{named}"):
        forecaster.fit(other, val, resume=True)
    assert (tmp_path / LAST).read_bytes() == before and not hasattr(forecaster, "model_")


def test_a_checkpoint_of_a_version_with_other_layers_is_refused(frame, tmp_path, monkeypatch):
    tiny(model(), trainer=kept_in(tmp_path)).fit(frame)
    build = HiPerformer.build

    def with_one_more(self: HiPerformer, task: Any) -> None:
        build(self, task)
        self.register_buffer("later", torch.zeros(3))

    monkeypatch.setattr(HiPerformer, "build", with_one_more)
    message = "is of another fit: the network of this version differs. .* resume=False"
    with pytest.raises(DataError, match=message):
        tiny(model(), trainer=kept_in(tmp_path)).fit(frame, resume=True)


def test_the_same_frame_in_other_clothes_is_the_same(frame, tmp_path):
    polars = pytest.importorskip("polars")
    tiny(model(), trainer=kept_in(tmp_path)).fit(frame)
    shuffled = polars.from_pandas(frame.sample(frac=1, random_state=0))
    tiny(model(), trainer=kept_in(tmp_path)).fit(shuffled, resume=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", None], ids=["empty", "cut", "old"])
def test_a_checkpoint_that_cannot_be_read_is_named(content, frame, tmp_path):
    forecaster = tiny(model(), trainer=kept_in(tmp_path)).fit(frame)
    if content is None:  # of a version that did not say what made it
        torch.save({"global_step": 3}, tmp_path / LAST)
    else:
        (tmp_path / LAST).write_bytes(content)
    with pytest.raises(DataError, match=r"last\.ckpt is damaged.*start the fit again with resume"):
        forecaster.fit(frame, resume=True)
    forecaster.fit(frame, resume=False)
    assert checkpoint(tmp_path)["global_step"] == 4


def test_resuming_needs_a_checkpoint(frame, tmp_path):
    for trainer in (QUIET, {**QUIET, "default_root_dir": str(tmp_path / "new")}):
        with pytest.raises(FileNotFoundError, match=r"nothing to resume: .*default_root_dir"):
            tiny(model(), trainer=trainer).fit(frame, resume=True)


# --- checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_is_kept_where_it_is_asked_for(frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    tiny(model()).fit(frame)
    assert [*tmp_path.rglob("*")] == [tmp_path / "tmp"], "nothing is written at all"
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / f".{LAST}.{16 * 'a'}.part").write_text("of a fit that was killed while it wrote")
    tiny(model(), trainer={**QUIET, "default_root_dir": folder}).fit(frame)
    assert [p.name for p in folder.iterdir()] == [LAST] and not [*(tmp_path / "tmp").iterdir()]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_checkpoint_before_and_the_fit_goes_on(
    call, frame, tmp_path, monkeypatch
):
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fill = call_at(4, lambda trainer: monkeypatch.setattr(os, call, full))
    with pytest.warns(UserWarning, match=r"no checkpoint of step 4 .*No space left.*last\.ckpt"):
        tiny(model(), trainer=kept_in(tmp_path, fill)).fit(frame)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == [LAST]
    assert checkpoint(tmp_path)["global_step"] == 3
    resumed = tiny(model(), trainer=kept_in(tmp_path)).fit(frame, resume=True)
    assert same_weights(resumed.model_, tiny(model()).fit(frame).model_)


def test_an_older_fit_s_checkpoints_are_never_taken_for_this_one_s(frame, tmp_path):
    tiny(model(), max_steps=10, trainer=kept_in(tmp_path)).fit(frame)
    forecaster = tiny(model(), seed=5, max_steps=200, trainer=kept_in(tmp_path, stop_at(1)))
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(frame)
    fresh = tiny(model(), seed=5, max_steps=200, trainer=kept_in(tmp_path))
    with pytest.raises(FileNotFoundError):
        fresh.fit(frame, resume=True)
