"""Training: kept checkpoints, killed and resumed fits, early stopping, precision, the bar."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hierforecast import Forecaster, HiPerformer
from hierforecast._lightning import LAST
from hierforecast.training import BEST, Schedule
from hierforecast.windows import WindowDataset
from tests.helpers import QUIET, make_frame, tiny
from tests.killing import kill_after_a_checkpoint


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


# --- checkpoints ---------------------------------------------------------------------------------

KILLED = """
    from tests.helpers import QUIET, make_frame, tiny
    from hierforecast import HiPerformer
    trainer = {**QUIET, "default_root_dir": "folder"}
    tiny(HiPerformer(8, 1, 2), max_steps=1000, seed=3, trainer=trainer).fit(make_frame())
"""


def test_a_killed_fit_goes_on_from_its_last_checkpoint(frame, tmp_path):
    kill_after_a_checkpoint(KILLED, tmp_path)
    folder = tmp_path / "folder"
    reached = checkpoint(folder)["global_step"]
    assert 0 < reached < 1000
    seen: list[int] = []

    class Watch(callbacks().Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any, **options: Any) -> None:
            seen.append(trainer.global_step)

    trainer = {**QUIET, "default_root_dir": str(folder), "callbacks": [Watch()]}
    forecaster = tiny(model(), max_steps=reached + 7, seed=3, trainer=trainer)
    forecaster.fit(frame, resume=True)
    assert seen == list(range(reached + 1, reached + 8))
    assert forecaster.predict(frame).notna().all().all()


def test_a_resumed_fit_keeps_its_optimiser_and_its_best_weights(frame, tmp_path):
    trainer = {**QUIET, "default_root_dir": str(tmp_path)}
    tiny(model(), max_steps=20, trainer=trainer).fit(frame)
    before = checkpoint(tmp_path)
    steps: list[float] = []
    watch = call_at(
        21, lambda t: steps.append(float(t.optimizers[0].state_dict()["state"][0]["step"]))
    )
    more = {**trainer, "callbacks": [watch]}
    tiny(model(), max_steps=25, trainer=more).fit(frame, resume=True)
    assert before["global_step"] == 20 and steps == [21]
    assert checkpoint(tmp_path)["global_step"] == 25


def test_a_fit_resumed_with_another_schedule_writes_over_its_checkpoint(frame, tmp_path):
    trainer = {**QUIET, "default_root_dir": str(tmp_path)}
    tiny(model(), max_steps=5, trainer=trainer).fit(frame)
    tiny(model(), max_steps=60, trainer=trainer).fit(frame, resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [BEST, LAST]
    assert checkpoint(tmp_path)["global_step"] > 5


def test_a_resumed_fit_draws_windows_of_its_own(frame, tmp_path, monkeypatch):
    """And not those again that the fit began with."""
    drawn: list[list[int]] = []
    plain = WindowDataset.__getitems__

    def watched(self: WindowDataset, indices: list[int]) -> Any:
        if self.hide is not None:  # windows to train on
            drawn.append(list(indices))
        return plain(self, indices)

    monkeypatch.setattr(WindowDataset, "__getitems__", watched)
    trainer = {**QUIET, "default_root_dir": str(tmp_path)}
    tiny(model(), max_steps=5, trainer=trainer).fit(frame)
    first = drawn[1:]  # the first batch of each fit teaches units, and should be the same
    drawn.clear()
    tiny(model(), max_steps=10, trainer=trainer).fit(frame, resume=True)
    assert len(drawn) > 5 and not any(batch in first for batch in drawn[1:])


def test_resuming_needs_a_checkpoint(frame, tmp_path):
    for trainer in (QUIET, {**QUIET, "default_root_dir": str(tmp_path / "new")}):
        with pytest.raises(FileNotFoundError, match=r"nothing to resume: .*default_root_dir"):
            tiny(model(), trainer=trainer).fit(frame, resume=True)


def test_checkpoints_are_kept_where_they_are_asked_for(frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny(model()).fit(frame)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    tiny(model(), trainer={**QUIET, "default_root_dir": tmp_path / "a" / "b"}).fit(frame)
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [BEST, LAST]


def test_an_older_fit_s_checkpoints_are_never_taken_for_this_one_s(frame, tmp_path):
    trainer = {**QUIET, "default_root_dir": str(tmp_path)}
    tiny(model(), max_steps=10, trainer=trainer).fit(frame)

    def stop(trainer: Any) -> None:
        raise KeyboardInterrupt

    forecaster = tiny(
        model(), seed=5, max_steps=200, trainer={**trainer, "callbacks": [call_at(1, stop)]}
    )
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(frame)
    assert not (tmp_path / BEST).exists()
    fresh = tiny(model(), seed=5, max_steps=200, trainer=trainer)
    with pytest.raises(FileNotFoundError):
        fresh.fit(frame, resume=True)


# --- stopping ------------------------------------------------------------------------------------


def test_an_interrupt_leaves_the_best_weights_and_a_working_forecaster(frame, tmp_path):
    def stop(trainer: Any) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    trainer = {**QUIET, "default_root_dir": str(tmp_path), "callbacks": [call_at(30, stop)]}
    forecaster = tiny(model(), max_steps=100, trainer=trainer)
    with pytest.raises(KeyboardInterrupt, match="interrupted at step 30; the best weights so far"):
        forecaster.fit(frame)
    assert signal.getsignal(signal.SIGINT) is handler
    best = checkpoint(tmp_path, BEST)["state_dict"]
    for name, x in forecaster.model_.state_dict().items():
        assert torch.equal(x, best[f"model.{name}"])
    before = forecaster.predict(frame)
    forecaster.save(tmp_path / "f")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "f").predict(frame), before)


def test_an_error_in_a_callback_comes_through(frame):
    def stop(trainer: Any) -> None:
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        tiny(model(), trainer={**QUIET, "callbacks": [call_at(2, stop)]}).fit(frame)


def test_early_stopping_keeps_the_best_weights(frame, tmp_path):
    """A learning rate that ruins the model: training stops long before the end."""
    steps: list[int] = []
    watch = callbacks().LambdaCallback(on_fit_end=lambda t, m: steps.append(t.global_step))
    trainer = {**QUIET, "default_root_dir": str(tmp_path), "callbacks": [watch]}
    forecaster = tiny(model(), max_steps=100, learning_rate=0.5, trainer=trainer).fit(frame)
    assert steps[0] < 100
    best = checkpoint(tmp_path, BEST)
    assert best["global_step"] < steps[0]
    for name, x in forecaster.model_.state_dict().items():
        assert torch.equal(x, best["state_dict"][f"model.{name}"])


def test_without_windows_to_stop_by_the_last_weights_are_kept(tmp_path):
    short = make_frame(2, 15)
    trainer = {**QUIET, "default_root_dir": str(tmp_path)}
    forecaster = tiny(model(), max_steps=20, trainer=trainer).fit(short)
    assert not (tmp_path / BEST).exists()
    last = checkpoint(tmp_path)["state_dict"]
    for name, x in forecaster.model_.state_dict().items():
        assert torch.equal(x, last[f"model.{name}"])


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
    tiny(model(), max_steps=20, trainer={"accelerator": "cpu"}).fit(frame)
    out = "".join(capfd.readouterr())
    assert "20/20" in out and "loss" in out


def test_callbacks_of_the_user_are_called(frame):
    steps: list[int] = []
    trainer = {**QUIET, "callbacks": [call_at(3, lambda t: steps.append(t.global_step))]}
    given = trainer["callbacks"]
    tiny(model(), trainer=trainer).fit(frame)
    assert steps == [3]
    assert trainer["callbacks"] is given and len(given) == 1, "the user's options are left alone"


def test_the_learning_rate_warms_up_and_falls_to_zero():
    schedule = Schedule(1e-3, max_steps=200, batch_size=8, seed=0)
    rates = [schedule.factor(step) for step in range(201)]
    peak = max(range(201), key=rates.__getitem__)
    assert 0 < rates[0] < 0.1 and 10 <= peak <= 25
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == pytest.approx(1, abs=0.05) and rates[200] < 1e-3
    assert Schedule(1e-3, 1, 8, 0).factor(0) > 0


def test_fewer_windows_than_a_batch(frame):
    short = make_frame(2, 16)
    assert len(tiny(model(), batch_size=500).fit(short).predict(short))
