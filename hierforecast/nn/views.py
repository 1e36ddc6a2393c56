"""What a scale shows a network: each scene in one view, or in several that are mixed again."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.batch import SceneBatch
from hierforecast.distributions import SceneDistribution, SceneMixture
from hierforecast.nn.head import Scenes
from hierforecast.nn.linear import LinearForecast
from hierforecast.nn.scaled import Scaled
from hierforecast.task import Task


class Mixed(NamedTuple):
    """How views become one distribution again.

    Attributes:
        batch: the scenes.
        scene_of: (V,) the scene of each view.
        row_of: the row of each row of the views.
        logits: (V,) log weights of the views.
    """

    batch: SceneBatch
    scene_of: Tensor
    row_of: Tensor
    logits: Tensor


class Views(NamedTuple):
    """A batch in the network's units, a scene in it for each view of a scene.

    Attributes:
        batch: every view a scene.
        scaled: its context in the network's units.
        mixed: which scenes they are views of; None where each scene has one.
    """

    batch: SceneBatch
    scaled: Scaled
    mixed: Mixed | None = None

    def mix(self, base: SceneDistribution) -> SceneDistribution:
        """The distribution of the scenes from that of the views, in the units of the batch."""
        if self.mixed is None:
            return base
        batch, scene_of, row_of, logits = self.mixed
        return SceneMixture(base, scene_of, row_of, logits, batch.scene, batch.n_scenes)


class Scale(nn.Module):
    """From the units of a batch to the network's; made for a number of targets.

    Attributes:
        origin: from where it wants values counted, see `WindowDataset`.
        learns_loc: whether the network moves the loc of the linear forecast. It does not where the
            past says nothing of the direction.
        n_absolute: features of absolute position for each step.
        baseline: what `baselines` are called.
        halfway: whether the mean of the baseline and the linear forecast may answer too.
        head: name of the head that suits such data, see `usual_head`.
        uses_calendar: whether the hour, the weekday or the month says something of such data.
        added: buffers that models saved before did not have; they are as fresh ones there.
    """

    added: tuple[str, ...] = ()
    origin: Literal["row", "zero", "history"] = "row"
    learns_loc = True
    baseline = "baseline"
    halfway = False
    head: str | None = "lowrank"
    uses_calendar = False
    n_absolute: int

    def __init__(self, n_targets: int) -> None:
        super().__init__()

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.added:
            fresh = getattr(type(self)(len(getattr(self, name))), name)
            state.setdefault(f"{prefix}{name}", fresh)
        super()._load_from_state_dict(state, prefix, *rest)

    def fit(self, batch: SceneBatch) -> None:
        """Learn what all series share from training windows."""
        raise NotImplementedError

    def forward(self, batch: SceneBatch) -> Scaled:
        """Scale the context of a batch."""
        raise NotImplementedError

    def baselines(self, task: Task) -> Tensor:
        """Forecasts that every other one must beat, as weights of scaled values: (K, H, L).

        The last value, the mean, and the season before where the step of time has one that fits
        into the context. The closest on training windows counts, see `LinearStart.fit_baseline`.
        """
        length, ahead = task.context_length, torch.arange(task.prediction_length)
        season = task.season if task.season and task.season <= length else 1
        last = [length - lag + ahead % lag for lag in sorted({1, season})]
        found = F.one_hot(torch.stack(last), length).double()
        return torch.cat([found, torch.full_like(found[:1], 1 / length)])

    def totals_apart(self, error: Tensor, present: Tensor, scenes: Scenes) -> Tensor | float:
        """What errors of totals add to the distance that is learned from and chosen by.

        Nothing, unless those who read the forecasts read totals too.

        Args:
            error: (P, H, D) and
            present: (P, H) which of them are known.
            scenes: groups and scenes of the rows.
        """
        return 0.0

    def linear(self, task: Task) -> LinearForecast:
        """The linear forecast that a network starts from, not yet fitted."""
        return LinearForecast(task)

    def drawn(self, batch: SceneBatch) -> Scaled:
        """The same for a loss: of several views of a scene, one at random in training."""
        return self(batch)

    def views(self, batch: SceneBatch) -> Views:
        """The same for a forecast: all views of a scene."""
        return Views(batch, self(batch))
