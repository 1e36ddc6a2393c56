"""A picture of what a reconstruction makes of two views that it has never seen."""

from __future__ import annotations

from typing import Any

import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import ImageSet, as_float
from hierforecast.image_ssl.data._files import OnError
from hierforecast.image_ssl.data.named import open_set
from hierforecast.image_ssl.objective import Method
from hierforecast.image_ssl.plot import plot_reconstructions
from hierforecast.image_ssl.views import Views

COLUMNS, AMONG = 8, 4  # images of the picture, each one of so many


def images_to_draw(method: str, pairs: str, data: str, size: int, on_error: OnError) -> ImageSet:
    """A few test images; worth opening before the training, which would be in vain without.

    Raises:
        DataError: if the method reconstructs no augmented views, or there are no test images.
    """
    if method != "reconstruction" or pairs != "augmented":
        raise DataError("--plot draws what a reconstruction makes of augmented views: leave it out")
    try:
        found = open_set(data, size, test=True, images=AMONG * COLUMNS, on_error=on_error)
    except ValueError as error:
        raise DataError(f"--plot draws test images, so leave it out: {error}") from error
    # Views of one object may lie side by side.
    return found.subset(
        range(0, len(found), AMONG if len(found) >= AMONG * COLUMNS else 1)[:COLUMNS]
    )


def reconstruction(learning: Method, images: ImageSet, seed: int) -> Any:
    """A figure of images, two views of each, and what is reconstructed of them.

    Args:
        learning: of a `Reconstruction`; put in evaluation mode.
    """
    objective: Any = learning.eval().objective
    originals, _ = images.__getitems__(list(range(len(images))))
    held = next(learning.parameters())
    with torch.no_grad():
        shown = as_float(originals).to(held.dtype)
        views = learning.draw(Views(shown, shown), torch.Generator().manual_seed(seed))
        found = objective.reconstruct(views.first, views.second)
    wanted = views.first if views.between is None else views.between
    # They are standardized: brought to the colors of what they are to show.
    scale, loc = torch.std_mean(wanted, (0, 2, 3), correction=0, keepdim=True)
    return plot_reconstructions(originals, views.second, wanted, found * scale + loc)
