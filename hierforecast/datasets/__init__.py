"""Data sets, one file each: public name, constants (address, SHA-256, counts) and parser.

To add one, write such a file, list its loader here, and give it a card in top-level `datasets/`.
"""

from hierforecast.datasets._kloppy import from_kloppy
from hierforecast.datasets.basketball import simulate_basketball
from hierforecast.datasets.hierarchical import Demand, load_hierarchical
from hierforecast.datasets.long_horizon import load_long_horizon
from hierforecast.datasets.nba import load_nba
from hierforecast.datasets.nfl import load_nfl
from hierforecast.datasets.panels import load_m5_sample, load_pjm, load_walmart
from hierforecast.datasets.pedestrians import load_pedestrians
from hierforecast.datasets.soccer import load_soccer
from hierforecast.datasets.sportvu import load_sportvu
from hierforecast.datasets.stocks import load_stocks

__all__ = [
    "Demand",
    "from_kloppy",
    "load_hierarchical",
    "load_long_horizon",
    "load_m5_sample",
    "load_nba",
    "load_nfl",
    "load_pedestrians",
    "load_pjm",
    "load_soccer",
    "load_sportvu",
    "load_stocks",
    "load_walmart",
    "simulate_basketball",
]
