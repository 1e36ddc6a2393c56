"""``hierforecast demo``: a first look, without data of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hierforecast._console import option
from hierforecast.cli.options import Seed, Steps


def demo(
    out: Annotated[Path, option("--out", "Folder for what is made.")] = Path("demo"),
    seed: Seed = 0,
    scenes: Annotated[int, option("--scenes", "Scenes to train on.")] = 400,
    steps: Steps = 1200,
    quick: Annotated[bool, option("--quick", "Seconds only, to see that it runs.")] = False,
) -> None:
    """Train on simulated basketball, hide players, draw it."""
    from hierforecast.demo import run

    run(out, seed=seed, scenes=scenes, steps=steps, quick=quick)
