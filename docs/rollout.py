"""The scene on the first page, which plays: `python docs/rollout.py FILE`; `make docs` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import hierforecast
from hierforecast.datasets import simulate_basketball
from hierforecast.plot import rollout_page


def main(path: Path) -> None:
    """One scene of simulated basketball with a hidden player, by the fitted forecaster."""
    forecaster = hierforecast.pretrained("basketball")
    play = simulate_basketball(n_scenes=1, n_steps=60, seed=1)
    history = play[(play.ds < 50) & (play.unique_id != "away_3")]
    forecast, samples = forecaster.predict(history, level=[90]), forecaster.sample(history, 20)
    title = "away_3 is hidden; the others are forecast, with twenty joint samples"
    rollout_page(history, forecast, play, samples, path=path, rate=6.25, title=title)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
