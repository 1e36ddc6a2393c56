"""Training: interrupts, early stopping, losses, warm starts, precision, the bar."""

from __future__ import annotations

import signal
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Forecaster, LastValue
from hierforecast._lightning import cosine
from hierforecast.errors import DataError, Interrupted, NotFittedError
from hierforecast.training.loop import Keeper
from tests.helpers import EVERYTHING, QUIET, make_frame, tiny, trained_answers
from tests.training.fits import call_at, callbacks, checkpoint, kept_in, model, noisy_frame, stop_at

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
