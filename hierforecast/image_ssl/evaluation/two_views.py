"""Features of two views, and what a probe makes of them: the part that all such probes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from rich.progress import track
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Parameters
from hierforecast.image_ssl.evaluation.features import Pool, flatten_group
from hierforecast.image_ssl.evaluation.regression import PROBES, RegressionProbe, agreement
from hierforecast.image_ssl.evaluation.targets import TARGETS, Target

EQUIVARIANT: Mapping[str, Pool] = {"equivariant": flatten_group}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Features of two views of each image, and the way from the first view to the second.

    Args:
        first, second: what the network says of the views, (n, ...).
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
        bad = ~torch.stack([self.first, self.second]).isfinite().flatten(2).all(dim=2).all(dim=0)
        if bad.any():
            raise DataError(
                f"features of {int(bad.sum())} of {len(self)} pairs are NaN or infinite: did the "
                "network's training diverge?"
            )

    def __len__(self) -> int:
        return len(self.first)

    def inputs(self, pool: Pool = flatten_group) -> Tensor:
        """What a probe sees: pooled features of both views side by side, (n, 2 d)."""
        return torch.cat([pool(self.first), pool(self.second)], dim=1)


def part(channels: slice, pool: Pool = flatten_group) -> Pool:
    """A pool that looks at some of the channels only, such as one half of split features.

    Args:
        channels: of features (b, c, ...).
        pool: of these, to (b, d).
    """
    return lambda x: pool(x[:, channels])


def probe_pairs(
    train: Pairs,
    test: Pairs,
    features: Mapping[str, Pool] = EQUIVARIANT,
    *,
    targets: Mapping[str, Target] = TARGETS,
    probes: Mapping[str, RegressionProbe] = PROBES,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """What probes tell of the way between two views, from features that are there already.

    Args:
        train: teaches the probes, a fifth of it held out to choose by.
        test: judges them.
        features, targets, probes, progress: as for `probe_transformations`.
        seed: of the probes.

    Returns:
        As `probe_transformations`.

    Raises:
        DataError: as `probe_transformations` does.
    """
    known = asked_of(train.relative, targets)
    wanted = {n: (t.values(train.relative), t.values(test.relative)) for n, t in known.items()}
    jobs = [(kind, name, probe) for kind in features for name in known for probe in probes]
    rows = []
    for kind, name, probe in track(jobs, "probes", disable=not progress, transient=True):
        x, asked = (pairs.inputs(features[kind]) for pairs in (train, test))
        y, truth = wanted[name]
        binary = known[name].binary
        learnt = probes[probe](x, y, binary, seed)
        score = agreement(learnt.predict(asked), truth, binary)
        settings = ", ".join(f"{key} {value:g}" for key, value in learnt.settings.items())
        head = [kind, name, probe, score.metric, score.value]
        rows.append([*head, truth.shape[1], x.shape[1], settings])
    names = ["features", "target", "probe", "metric", "score", "dimensions", "inputs", "settings"]
    return pd.DataFrame(rows, columns=names)


def asked_of(names: Iterable[str], targets: Mapping[str, Target]) -> dict[str, Target]:
    """The targets that can be asked where these parameters are known.

    Raises:
        DataError: if there is none.
    """
    known = {n: t for n, t in targets.items() if set(t.encodings) <= set(names)}
    if not known:
        raise DataError(
            f"the views have the parameters {sorted(names)}, which no target of {list(targets)} "
            "asks for: give other views, or a Target of your own"
        )
    return known
