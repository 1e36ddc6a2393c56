"""`Model`: what `Forecaster` asks of a model, and the few methods that one of your own fills in.

`docs/own_model.md` shows a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from math import nan
from typing import Any, Literal, NamedTuple, Self

from torch import Tensor, nn

from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import SceneDistribution
from hierforecast.task import Task

Origin = Literal["row", "zero", "history"]


class Rung(NamedTuple):
    """What may answer after a training: the trained model, or one that it must beat.

    Attributes:
        name: in reports.
        model: that would answer.
        margin: share by which its distance must be below that of the best without a margin, and of
            every lower one that is not trained.
        learn: learns it anew from windows (batch, future), where it has a closed form; None: it is
            trained.
    """

    name: str
    model: Model
    margin: float = 0.0
    learn: Callable[[SceneBatch, Future], None] | None = None


class Model(nn.Module):
    """A plan made of plain options; `for_task` makes a network of it that fits the data.

    A subclass keeps each option of its constructor under the option's own name, makes its layers in
    `build`, and returns a joint distribution of the horizon from `forward`. The rest has defaults.

    Attributes:
        task: the shapes that the model is built for; None as long as it is a plan.
        hidden: names of submodules that hold the weights between hidden layers. `fit` trains their
            matrices with orthogonalized momentum (see `Muon`), everything else with AdamW.
    """

    task: Task | None = None
    hidden: Sequence[str] = ()

    @property
    def origin(self) -> Origin | None:
        """From where the model wants values counted, see `WindowDataset`; None: as they are."""
        return None

    @property
    def uses_calendar(self) -> bool:
        """Whether `SceneBatch.known` is to end with the features that `Task.calendar` names."""
        return False

    def build(self, task: Task) -> None:
        """Make layers and buffers for the shapes of the data."""
        raise NotImplementedError

    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn units, or the whole of a model without gradients, from training windows."""

    def forward(self, batch: SceneBatch) -> SceneDistribution:
        """The joint distribution of the horizon, (P, H, D) in the units of the batch."""
        raise NotImplementedError

    def loss(self, batch: SceneBatch, future: Future) -> Tensor:
        """What training lowers, a number: the negative log-likelihood per present cell."""
        likelihood = self(batch).log_prob(future.values, future.present).sum()
        return -likelihood / (future.present.sum().clamp(min=1) * future.values.shape[-1])

    def score(self, batch: SceneBatch, future: Future) -> tuple[Tensor, Tensor]:
        """What rungs are compared by: distance from the truth, and negative log-likelihood.

        Both are numbers, means over present cells. Here the first is NaN, the second `loss`.
        """
        loss = self.loss(batch, future)
        return loss.new_tensor(nan), loss

    def rungs(self, start: Self, seen: tuple[SceneBatch, Future] | None) -> list[list[Rung]]:
        """What may answer after this model was trained, from the simplest up.

        `fit` takes the list whose distance is the smallest on held-out windows, and of it the rung
        of the highest likelihood; of equal ones the lower.

        Args:
            start: this model before its training.
            seen: training windows, as for `fit_statistics`; None in a warm start, which keeps what
                was learned from others.

        Returns:
            Lists of rungs whose locs are the same: those of one list have one distance.
        """
        return [[Rung("start", start), Rung("trained", self)]]

    def relearned(self, start: Self, seen: tuple[SceneBatch, Future]) -> list[list[Rung]]:
        """What else may answer after a warm start, from the simplest up: below `rungs`, here none.

        What a warm start goes on with may be further off than what the new windows say by
        themselves, if they are of another kind of data.

        Args:
            start: this model before its training.
            seen: the new training windows.
        """
        return []

    def for_task(self, task: Task) -> Self:
        """A fresh model of the same options, built for a task."""
        fresh = type(self)(**self.get_params())
        fresh.task = task
        fresh.build(task)
        return fresh

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options of the constructor, without the task."""
        parameters = signature(type(self).__init__).parameters.values()
        names = [p.name for p in parameters if p.kind not in _MANY and p.name not in _NO_OPTIONS]
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """The options as plain JSON values, from which the constructor makes the same plan."""
        return self.get_params()


_MANY = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_NO_OPTIONS = ("self", "task")
