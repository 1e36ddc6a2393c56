"""Training: kept checkpoints, killed and resumed fits, early stopping, precision, the bar."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster, HiPerformer, LastValue
from hierforecast._lightning import cosine
from hierforecast.errors import DataError, Interrupted, NotFittedError
from hierforecast.io.checkpoints import LAST
from hierforecast.training.loop import Keeper
from tests.helpers import EVERYTHING, QUIET, make_frame, tiny, trained_answers


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame()


def model() -> HiPerformer:
    return HiPerformer(8, 1, 2)


def callbacks() -> Any:
    return pytest.importorskip("lightning.pytorch.callbacks")


def call_at(step: int, action: Any) -> Any:
    """A callback that acts after this step."""

    class At(callbacks().Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any, **options: Any) -> None:
            if trainer.global_step == step:
                action(trainer)

    return At()


def checkpoint(folder: Path, name: str = LAST) -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)


def stop_at(step: int, error: BaseException | None = None) -> Any:
    """A callback that ends a training after this step."""

    def stop(trainer: Any) -> None:
        raise KeyboardInterrupt if error is None else error

    return call_at(step, stop)


def kept_in(folder: Path, *more: Any) -> dict[str, Any]:
    """Trainer options: checkpoints there, and callbacks."""
    return {**QUIET, "default_root_dir": str(folder), "callbacks": [*more]}


def same_weights(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def noisy_frame() -> pd.DataFrame:
    return make_frame(seed=1)


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


# --- stopping ------------------------------------------------------------------------------------


def best_of(forecaster: Forecaster) -> int:
    """The step of the best validation."""
    return int(forecaster.history_.set_index("step").val_loss.idxmin())


def test_an_interrupt_leaves_the_best_weights_and_a_working_forecaster(frame, tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    trainer = kept_in(tmp_path, stop_at(30))
    forecaster = tiny(model(), max_steps=100, trainer=trainer)
    with pytest.raises(Interrupted, match="interrupted at step 30; the best weights so far"):
        forecaster.fit(frame)
    assert signal.getsignal(signal.SIGINT) is handler
    assert forecaster.history_.step.tolist() == list(range(1, 31))
    best = checkpoint(tmp_path)["callbacks"]["Keeper"]["best"]
    for name, x in forecaster.model_.state_dict().items():
        assert torch.equal(x, best[f"model.{name}"])
    before = forecaster.predict(frame)
    forecaster.save(tmp_path / "f")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "f").predict(frame), before)


class Break(callbacks().Callback):
    """Ends a training before its first step."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_train_batch_start(self, *args: Any) -> None:
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("disk on fire")])
def test_nothing_changes_before_the_first_step_or_by_an_error(error, frame):
    handler = signal.getsignal(signal.SIGINT)
    trainer = {**QUIET, "callbacks": [Break(error)]}
    forecaster = tiny(model(), trainer=trainer)
    with pytest.raises(type(error), match=r"before the first step|disk on fire"):
        forecaster.fit(frame)
    assert {k for k in vars(forecaster) if k.endswith("_")} == set()
    for verb in (forecaster.predict, forecaster.save):
        with pytest.raises(NotFittedError):
            verb(frame)
    forecaster.set_params(trainer=QUIET).fit(frame)
    kept = {k: v for k, v in vars(forecaster).items() if k.endswith("_")}
    for callback in (Break(error), stop_at(2, RuntimeError("disk on fire"))):
        forecaster.set_params(trainer={**QUIET, "callbacks": [callback]}, seed=1)
        with pytest.raises(type(error) if callback.__class__ is Break else RuntimeError):
            forecaster.fit(noisy_frame())
        assert all(vars(forecaster)[k] is v for k, v in kept.items())
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("turn", [30, 60])
def test_early_stopping_keeps_the_best_weights(frame, monkeypatch, turn):
    """Held-out losses that rise from a step on: training stops long before the end."""
    from hierforecast.training.loop import Training

    def log(training: Any) -> None:
        away = torch.tensor(abs(training.global_step - turn), dtype=torch.float32)
        training.log("val_loss", away, batch_size=1)

    trained_answers(monkeypatch)
    monkeypatch.setattr(Training, "on_validation_epoch_end", log)
    forecaster = tiny(model(), max_steps=100).fit(frame)
    losses, best = forecaster.history_, best_of(forecaster)
    assert best == turn
    assert len(losses) == max(best, 50) + 5 * 5 < 100, "five validations in the second half"
    short = tiny(model(), max_steps=100)
    short.trainer = {**QUIET, "callbacks": [stop_at(best + 1)]}
    with pytest.raises(Interrupted):
        short.fit(frame)
    # What was interrupted is not calibrated: buffers may differ.
    weights = zip(short.model_.parameters(), forecaster.model_.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)


def test_without_windows_to_stop_by_the_last_weights_are_kept(tmp_path):
    short = make_frame(2, 15)
    forecaster = tiny(model(), max_steps=20, trainer=kept_in(tmp_path)).fit(short)
    assert forecaster.history_.val_loss.isna().all() and len(forecaster.history_) == 20
    last = checkpoint(tmp_path)["state_dict"]
    for name, x in forecaster.model_.state_dict().items():
        assert torch.equal(x, last[f"model.{name}"])


# --- losses, and other data ----------------------------------------------------------------------


def test_history_and_the_user_s_logger_tell_the_losses(frame, tmp_path):
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    logger = loggers.CSVLogger(tmp_path)
    trainer = {**QUIET, "logger": logger, "log_every_n_steps": 1}
    forecaster = tiny(model(), max_steps=40, trainer=trainer).fit(frame)
    history = forecaster.history_
    assert list(history) == ["step", "loss", "val_loss"] and history.step.tolist() == [
        *range(1, 41)
    ]
    assert history.val_loss.notna().tolist() == [step % 2 == 0 for step in history.step]
    assert history.loss.iloc[-5:].mean() < history.loss.iloc[:5].mean()
    logged = pd.read_csv(Path(logger.log_dir) / "metrics.csv")
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(logged[name].dropna(), history[name].dropna(), rtol=1e-6)
    plain = tiny(model(), max_steps=40).fit(frame)
    pd.testing.assert_frame_equal(plain.history_, history)
    assert tiny(LastValue()).fit(frame).history_.empty


def test_accumulated_batches_make_one_step_of_the_history(frame):
    trainer = {**QUIET, "accumulate_grad_batches": 3}
    history = tiny(model(), max_steps=6, trainer=trainer).fit(frame).history_
    assert history.step.tolist() == [1, 2, 3, 4, 5, 6] and history.notna().all().all()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_warm_start_goes_on_with_the_weights_on_other_data(library, frame):
    other = make_frame(seed=7)
    other["role"] = other["role"].replace("guard", "coach")  # a category that was never seen
    given = other
    if library != "pandas":
        nw = pytest.importorskip("narwhals")
        pytest.importorskip(library)
        given = nw.from_dict(other.to_dict("list"), backend=library).to_native()
    columns = replace(EVERYTHING, static=["role", "size"])
    forecaster = tiny(model(), columns=columns, max_steps=30, learning_rate=0.01).fit(frame)
    first, vocabulary = forecaster.model_, forecaster.vocabulary_
    before = {name: x.clone() for name, x in first.state_dict().items()}
    forecaster.set_params(max_steps=1, learning_rate=1e-9).fit(given, warm_start=True)
    assert forecaster.model_ is not first and forecaster.vocabulary_ == vocabulary
    for name, x in forecaster.model_.state_dict().items():
        if name != "unseen.wider":  # what held-out windows of the other data ask for
            torch.testing.assert_close(x, before[name], rtol=0, atol=1e-6)
    assert all(torch.equal(x, before[name]) for name, x in first.state_dict().items())


def test_a_warm_start_is_refused_where_weights_would_not_fit(frame):
    with pytest.raises(NotFittedError):
        tiny(model()).fit(frame, warm_start=True)
    forecaster = tiny(model()).fit(frame)
    kept = forecaster.model_
    for option, named in (({"context_length": 9}, "context_length=11.*context_length=9"),
                          ({"model__width": 16}, "width=8.*width=16")):  # fmt: skip
        forecaster.set_params(**option)
        with pytest.raises(DataError, match=rf"warm_start=True .*{named}.*fit with warm_start=Fal"):
            forecaster.fit(frame, warm_start=True)
        assert forecaster.model_ is kept
        forecaster.set_params(model=model(), context_length=11)
    other = noisy_frame().assign(x=lambda f: 10 * f.x, y=lambda f: 10 * f.y)
    warm = tiny(LastValue()).fit(frame).fit(other, warm_start=True).predict(frame, level=[80])
    cold = tiny(LastValue()).fit(other).predict(frame, level=[80])
    pd.testing.assert_frame_equal(warm, cold, rtol=1e-5)


# --- options of the trainer ----------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true", "32"])
def test_precision(precision, frame):
    forecaster = tiny(model(), trainer={**QUIET, "precision": precision}).fit(frame)
    found = forecaster.predict(frame, level=[90])
    assert found.notna().all().all()
    dtype = "float64" if precision == "64-true" else "float32"
    assert found.HiPerformer_x.dtype == "float64"  # the user's numbers, whatever the weights
    assert {str(p.dtype) for p in forecaster.model_.parameters()} == {f"torch.{dtype}"}
    assert not forecaster.model_.training


def test_the_bar_can_be_turned_off_and_lightning_keeps_quiet(frame, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tiny(model()).fit(frame)
    assert not [w for w in caught if "lightning" in w.filename]
    assert capfd.readouterr() == ("", "")


def test_the_bar_tells_steps_and_losses(frame, capfd):
    tiny(model(), max_steps=5, trainer={"accelerator": "cpu"}).fit(frame)
    out = "".join(capfd.readouterr())
    assert "5/5" in out and "loss" in out


def test_callbacks_of_the_user_are_called(frame):
    steps: list[int] = []
    trainer = {**QUIET, "callbacks": [call_at(3, lambda t: steps.append(t.global_step))]}
    given = trainer["callbacks"]
    tiny(model(), trainer=trainer).fit(frame)
    assert steps == [3]
    assert trainer["callbacks"] is given and len(given) == 1, "the user's options are left alone"


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = [cosine(step, 200) for step in range(201)]
    peak = max(range(201), key=rates.__getitem__)
    assert 0 < rates[0] < 0.1 and 10 <= peak <= 25
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == pytest.approx(1, abs=0.05) and rates[200] < 1e-3
    assert cosine(0, 1) > 0


def test_fewer_windows_than_a_batch(frame):
    short = make_frame(2, 16)
    assert len(tiny(model(), batch_size=500).fit(short).predict(short))


@pytest.mark.parametrize(
    ("losses", "done"),
    [
        ([1.0, *[2.0] * 9], False),  # the best is the first, but the rate was high until now
        ([1.0, *[2.0] * 13], False),
        ([1.0, *[2.0] * 14], True),  # five validations in the second half
        ([2.0] * 12 + [1.0] + [2.0] * 4, False),
        ([2.0] * 12 + [1.0] + [2.0] * 5, True),
        ([1.0, np.nan], True),
    ],
)
def test_a_training_is_stopped_early_in_its_second_half_only(losses, done):
    keeper = Keeper(None, tiny(max_steps=200)._plan(), {})
    assert keeper.every == 10
    keeper.val_losses = {10 * (k + 1): loss for k, loss in enumerate(losses)}
    assert keeper.done == done
