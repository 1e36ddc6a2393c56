"""Parts that once were slow, in seconds."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch

from benchmarks.timing import Arm, interleave, peak
from hierforecast.distributions import LowRankNormal
from hierforecast.image_ssl.augment import contrastive
from hierforecast.image_ssl.data import RenderedObjects, RenderedShapes
from hierforecast.image_ssl.evaluation import Features, LogisticProbe, MLPProbe, RidgeProbe


def likelihood(rows: int) -> Arm:
    """Log-probability of one scene of so many rows and 20 steps, forward + backward."""
    loc, scale = torch.randn(2, rows, 20, 1)
    factors = torch.randn(rows, 20, 1, 8), torch.randn(rows, 20, 1, 4)
    parameters = [x.requires_grad_() for x in (loc, scale.exp(), *factors)]
    scene, value = torch.zeros(rows, dtype=torch.int64), torch.randn(rows, 20, 1)
    return lambda: LowRankNormal(*parameters, scene, 1).log_prob(value).sum().backward()


def classes(rows: int, width: int = 1024) -> Arm:
    """The linear probe on overlapping classes, its penalty chosen."""
    labels = torch.randint(10, (rows,))
    x = torch.randn(10, width)[labels] + 12 * torch.randn(rows, width)
    features = Features(x, labels)
    return lambda: LogisticProbe().fit(features).score(features)


def quantities(rows: int, width: int = 512) -> Arm:
    """Both probes of numbers, on features that tell nothing."""
    data = Features(torch.randn(rows, width), torch.randn(rows, 2))
    return lambda: (RidgeProbe().fit(data), MLPProbe().fit(data))


def views(images: int) -> Arm:
    """A contrastive view of every image, with blur."""
    batch, chain = torch.rand(images, 3, 33, 33), contrastive(blur=(0.1, 1.0))
    return lambda: chain(batch)


def shapes(images: int) -> Arm:
    """Flat shapes, rendered."""
    found = RenderedShapes(images)
    return lambda: found.__getitems__(list(range(images)))


def objects(images: int) -> Arm:
    """Solid objects, rendered."""
    found = RenderedObjects(images)
    return lambda: found.__getitems__(list(range(images)))


# What it is -> the arm for a size, its size, and the unit of the size.
PARTS: dict[str, tuple[Callable[[int], Arm], int, str]] = {
    "likelihood of one scene, 20 steps": (likelihood, 5000, "series"),
    "contrastive views, 33 x 33": (views, 256, "images"),
    "flat shapes, rendered": (shapes, 1024, "images"),
    "solid objects, rendered": (objects, 128, "images"),
    "linear probe, 1,024 features": (classes, 5000, "rows"),
    "ridge and MLP probe, 512 features": (quantities, 2000, "rows"),
}


def parts(rounds: int, shrink: int = 1) -> pd.DataFrame:
    """Seconds of each part, what that is a second, and how many products of matrices it equals.

    Args:
        rounds: interleaved; the slow parts are run in each, too.
        shrink: divide every size by this.
    """
    sizes = {name: size // shrink for name, (_, size, _) in PARTS.items()}
    arms = {name: make(sizes[name]) for name, (make, _, _) in PARTS.items()}
    timings = interleave({**arms, "peak": peak()[0]}, rounds)
    rows = {}
    for name, (_, _, unit) in PARTS.items():
        seconds = timings.median(name)
        rows[name] = {
            "size": f"{sizes[name]:,} {unit}",
            "seconds": f"{seconds:.3g}",
            "a second": f"{sizes[name] / seconds:,.0f}",
            "in products": f"{timings.ratio(name, 'peak'):.3g}",
        }
    return pd.DataFrame(rows).T
