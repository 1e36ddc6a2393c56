"""Features of two views, and what probes predict of the way between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, Unpack

import pandas as pd
import torch
from rich.progress import track
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Parameters
from hierforecast.image_ssl.evaluation.features import (
    FeatureOptions,
    Features,
    Pool,
    check_finite,
    flatten_group,
)
from hierforecast.image_ssl.evaluation.probe import Probe
from hierforecast.image_ssl.evaluation.regression import MLPProbe, RidgeProbe
from hierforecast.image_ssl.evaluation.targets import (
    POOLED,
    TARGETS,
    Outcome,
    Target,
    known_targets,
)

# An outcome and a seed to a probe, such as a probe's class.
NumberProbe: TypeAlias = Callable[[Outcome, int], Probe]

EQUIVARIANT: Mapping[str, Pool] = {"equivariant": flatten_group}
PROBES: Mapping[str, NumberProbe] = {"linear": RidgeProbe, "MLP": MLPProbe}
COLUMNS = [
    "features", "target", "probe", "metric", "score", POOLED, "dimensions", "inputs", "settings",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pairs:
    """Features of two views of each image, and the way from the first view to the second.

    Args:
        first, second: features of the views, (n, ...).
        relative: parameters that take the first view to the second, (n,) or (n, k) each.

    Raises:
        DataError: if the numbers of rows differ, or a feature is NaN or infinite.
    """

    first: Tensor
    second: Tensor
    relative: Parameters

    def __post_init__(self) -> None:
        counts = {len(values) for values in (self.first, self.second, *self.relative.values())}
        if len(counts) != 1 or self.first.shape != self.second.shape:
            raise DataError(
                f"features {tuple(self.first.shape)} and {tuple(self.second.shape)} and "
                "parameters must have a row for each pair of views"
            )
        check_finite(torch.stack([self.first, self.second], 1), "pairs")

    def __len__(self) -> int:
        return len(self.first)

    def inputs(self, pool: Pool = flatten_group) -> Tensor:
        """What a probe sees: pooled features of both views side by side, (n, 2 d)."""
        return torch.cat([pool(self.first), pool(self.second)], dim=1)


def part(channels: slice, pool: Pool = flatten_group) -> Pool:
    """A pool that looks at some of the channels only, such as one half of split features."""
    return lambda x: pool(x[:, channels])


def probe_pairs(
    train: Pairs,
    test: Pairs,
    features: Mapping[str, Pool] = EQUIVARIANT,
    *,
    targets: Mapping[str, Target] = TARGETS,
    probes: Mapping[str, NumberProbe] = PROBES,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """What probes predict of the way between two views, from frozen features.

    Args:
        train: the probes learn from them, a fifth held out to choose by.
        features: name -> pool to (b, d); one half of split features is `part`, or what the split
            itself makes of the features.
        targets: name -> what is predicted; those whose parameters the pairs lack are left out.
        probes: name -> what makes a probe of an outcome and a seed; each target has its own.

    Returns:
        A row for each kind of features, target and probe: features, target, probe, metric (R2 or
        accuracy), score, pooled R2 (the definition of SIE's code, see `r2_pooled`; nan for
        accuracy), dimensions (of the target), inputs (columns that the probe sees), settings.

    Raises:
        DataError: if there are too few pairs, no target fits the parameters, a parameter or a
            feature is NaN or infinite, or a target never changes.
    """
    known = known_targets(train.relative, targets)
    wanted = {n: [t.values(pairs.relative) for pairs in (train, test)] for n, t in known.items()}
    jobs = [(kind, name, probe) for kind in features for name in known for probe in probes]
    rows = []
    for kind, name, probe in track(jobs, "probes", disable=not progress, transient=True):
        own, other = (
            Features(pairs.inputs(features[kind]), y)
            for pairs, y in zip((train, test), wanted[name], strict=True)
        )
        found = probes[probe](known[name].outcome, seed).fit(own).score(other)
        scores = [found.metric, found.value, found.others.get(POOLED, float("nan"))]
        sizes = [other.y.shape[1], other.x.shape[1]]
        rows.append([kind, name, probe, *scores, *sizes, found.chosen])
    return pd.DataFrame(rows, columns=COLUMNS)


def probe_sets(
    collect: Callable[..., Pairs],
    train: Any,
    test: Any,
    features: Mapping[str, Pool],
    *,
    targets: Mapping[str, Target],
    probes: Mapping[str, NumberProbe] = PROBES,
    seed: int = 0,
    **how: Unpack[FeatureOptions],
) -> pd.DataFrame:
    """`probe_pairs` of what `collect` makes of two sets and two seeds."""
    own, other = (
        collect(images, seed=2 * seed + number, **how)
        for number, images in enumerate((train, test))
    )
    bar = how.get("progress", True)
    more: dict[str, Any] = {"targets": targets, "probes": probes, "seed": seed}
    return probe_pairs(own, other, features, progress=bar, **more)
