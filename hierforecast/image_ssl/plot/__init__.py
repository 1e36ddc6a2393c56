"""Pictures of images and features. Each returns its axes or figure; nothing is shown or saved.

A `title` is set in bold at the top left; `ax` are axes to draw on, of a new figure if None.
"""

from hierforecast.image_ssl.plot.images import (
    plot_images,
    plot_neighbors,
    plot_reconstructions,
    plot_turning_map,
)
from hierforecast.image_ssl.plot.space import plot_features, principal_axes
from hierforecast.image_ssl.plot.tables import plot_comparison, plot_learning_curves, plot_r2

__all__ = [
    "plot_comparison",
    "plot_features",
    "plot_images",
    "plot_learning_curves",
    "plot_neighbors",
    "plot_r2",
    "plot_reconstructions",
    "plot_turning_map",
    "principal_axes",
]
