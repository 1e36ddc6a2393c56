"""Many samples at once: a cloud for each group, denser where more sampled paths pass."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from scipy.ndimage import gaussian_filter

from hierforecast.plot.look import look, tone
from hierforecast.plot.scene import SceneView
from hierforecast.plot.style import HOME

CELLS = 240  # along the longer side of the axes
WIDTH = 0.008  # of the smoothing, as a share of that side
OPAQUE = 0.6  # of the densest place


def draw_density(
    ax: Axes, view: SceneView, colors: Mapping[Hashable, str]
) -> Iterator[tuple[Hashable, AxesImage]]:
    """Draw the clouds of the samples within the limits that the axes have.

    Every series weighs the same at its densest place, so that one which is sure of its way does not
    hide the others. Paths are filled in between their steps.

    Yields:
        a group (None for series without one) and its image, over which nothing else is moved.
    """
    limits = np.array([ax.get_xlim(), ax.get_ylim()])
    cell = float(np.diff(limits).max()) / CELLS
    shape = np.maximum(np.ceil(np.diff(limits)[:, 0] / cell), 1).astype(int)
    clouds: dict[Hashable, np.ndarray] = {}
    for series, (_, draws) in view.samples.items():
        points = _filled(draws, cell) if draws.shape[1] > 1 else draws.reshape(-1, 2)
        counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=shape, range=limits)
        cloud = gaussian_filter(counts, WIDTH * CELLS)
        cloud /= cloud.max() or 1.0
        group = view.group.get(series)
        clouds[group] = np.maximum(clouds.get(group, 0.0), cloud)
    for group, cloud in clouds.items():
        rgba = np.empty((*cloud.T.shape, 4))
        rgba[..., :3] = to_rgb(tone(colors.get(group, look().muted) if colors else HOME))
        rgba[..., 3] = OPAQUE * np.sqrt(cloud.T)
        image = AxesImage(
            ax,
            extent=(*limits[0], *limits[1]),
            origin="lower",
            interpolation="bilinear",
            zorder=1.5,
        )
        image.set_data(rgba)
        ax.add_image(image)
        image.set_clip_path(ax.patch)
        yield group, image


def _filled(draws: np.ndarray, cell: float) -> np.ndarray:
    """Points (m, 2) along the paths (K, H, 2), about as close as the cells are."""
    steps = np.linalg.norm(np.diff(draws, axis=1), axis=-1)
    between = int(np.clip(np.nanmedian(steps) / cell, 1, 20))
    share = np.arange(between)[:, None, None, None] / between
    inner = draws[None, :, :-1] * (1 - share) + draws[None, :, 1:] * share
    return np.concatenate([inner.reshape(-1, 2), draws[:, -1]])
