"""Fits that are begun once: loaded when they are done, gone on with when they were cut off."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from hierforecast import Forecaster
from hierforecast.io.checkpoints import LAST


def fit_or_load(
    forecaster: Forecaster, folder: str | Path, train: Any, val: Any = None
) -> Forecaster:
    """The forecaster fitted, from its folder if it was fitted before.

    Args:
        forecaster: a plan; its trainer options get the folder for checkpoints.
        folder: where checkpoints and the saved forecaster are kept, one fit a folder.
        train: training frame, or a function that makes it, so that a loaded fit need not.
        val: frame for early stopping and the choice of the best weights, or such a function.
    """
    folder = Path(folder)
    saved = folder / "forecaster"
    if saved.exists():
        return Forecaster.load(saved, forecaster.model)
    forecaster.set_params(trainer={"default_root_dir": str(folder), **(forecaster.trainer or {})})
    train, val = (frame() if callable(frame) else frame for frame in (train, val))
    forecaster.fit(train, val, resume=(folder / LAST).exists()).save(saved)
    return forecaster


def arguments(summary: str, folder: str, steps: int) -> argparse.ArgumentParser:
    """A parser with the options that every fit has: folder, steps, seed, threads."""
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--folder", default=folder, help="checkpoints and fitted forecasters")
    parser.add_argument("--steps", type=int, default=steps, help="training steps at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser
