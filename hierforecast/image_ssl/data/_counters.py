"""Random numbers by counters: each is a function of the seed and of what it is drawn for."""

from __future__ import annotations

import numpy as np


def uniform(numbers: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Random numbers in [0, 1), (n, count), that depend on the seed and on `numbers` (n,) only.

    The counters go through the mixing function of SplitMix64 (Steele, Lea, Flood 2014), once for
    the seed, once for the number and once for the draw.
    """
    state = _mixed(np.array([seed], np.uint64))
    state = _mixed(state + numbers[:, None])
    state = _mixed(state + np.arange(count, dtype=np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: np.ndarray) -> np.ndarray:
    """64 bits in, 64 bits out, each depending on all; arithmetic modulo 2^64."""
    state = (state + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
