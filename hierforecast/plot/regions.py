"""Regions of a rollout: the ellipse around most samples of a series at the last step."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np

from hierforecast.plot.scene import SceneView

Shape = tuple[np.ndarray, float, float, float]  # center (2,), width, height, angle in degrees


def region_of(view: SceneView, series: Hashable) -> Shape | None:
    """The ellipse of a series at the last step: of its samples, or else of its two intervals.

    Representative futures are too narrow to have one.
    """
    if view.level is None:
        return None
    if series in view.samples and view.shares is None:
        return sample_ellipse(view.samples[series][1][:, -1], view.level)
    if series in view.region:
        low, high = view.region[series]
        if not (high > low).any():
            return None  # what is given has no width
        return ((low + high) / 2, *(high - low), 0.0)
    return None


def box_of(shape: Shape) -> np.ndarray:
    """The two corners (2, 2) of the upright box around an ellipse."""
    center, width, height, angle = shape
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    half = np.hypot([width * cos, width * sin], [height * sin, height * cos]) / 2
    return np.stack([center - half, center + half])


def sample_ellipse(points: np.ndarray, level: float) -> Shape | None:
    """The smallest ellipse of the samples' own shape that holds `level` percent of them.

    Args:
        points: (K, 2).
        level: percent.

    Returns:
        center (2,), width, height and angle in degrees; None for fewer than five points or no
        variance.
    """
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 5:
        return None
    center = points.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(points.T))
    if values[0] <= 1e-12:
        return None
    distance = np.linalg.norm((points - center) @ axes / np.sqrt(values), axis=1)
    width, height = 2 * np.quantile(distance, level / 100) * np.sqrt(values)
    return center, width, height, math.degrees(math.atan2(axes[1, 0], axes[0, 0]))
