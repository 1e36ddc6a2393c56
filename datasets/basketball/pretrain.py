"""Fit the forecaster that `hierforecast.pretrained("basketball")` gives, and measure it.

python datasets/basketball/pretrain.py [--scenes N] [--steps N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from hierforecast.datasets import simulate_basketball
from hierforecast.demo import Size, accuracy_table, compare, fit_models, one_thread

# Scenes of other seeds are not learned from, those of the demo and of the documentation among them.
SEED, TEST_SEED, TESTS, LENGTH = 2303, 2304, 200, 100


def pretrain(scenes: int, steps: int, out: Path) -> None:
    """Write the fitted forecaster into a folder, and its errors on other scenes on the screen."""
    size = Size(scenes, TESTS, steps, LENGTH)
    train = simulate_basketball(size.scenes, n_steps=size.length, seed=SEED)
    test = simulate_basketball(size.tests, n_steps=size.length, seed=TEST_SEED)
    with one_thread():
        forecasters = fit_models(train, size, SEED)
        forecasters["HiPerformer"].save(out)
        Console().print(accuracy_table(compare(forecasters, test)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("hierforecast/weights/basketball"))
    options = parser.parse_args()
    pretrain(options.scenes, options.steps, options.out)
