"""A small network, and fits that keep their checkpoint or end after a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hierforecast import HiPerformer
from hierforecast.io.checkpoints import LAST
from tests.helpers import QUIET, make_frame


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


def noisy_frame() -> pd.DataFrame:
    return make_frame(seed=1)
