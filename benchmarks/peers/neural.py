"""neuralforecast's iTransformer, TSMixer, SOFTS and TimesNet: their modules, our windows.

Each coordinate of each agent is one of their series: 22 for a basketball scene. Values are shown
relative to the last position, in one unit, and their own normalisation is switched off: it would
divide a standing player's noise by itself. The multivariate three get the last position on the
court as one more input step, without which they could not know of hoops and side lines.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.base import Peer
from benchmarks.peers.scenes import Rectangle, of_one_size
from hierforecast.batch import SceneBatch
from hierforecast.errors import import_extra
from hierforecast.nn.scaled import Scaled
from hierforecast.task import Task


def their(name: str, **options: Any) -> nn.Module:
    """One of neuralforecast's modules.

    Raises:
        MissingExtraError: if neuralforecast is not installed.
    """
    models = import_extra("neuralforecast.models", "peers", f"for {name}")
    return getattr(models, name)(**options)


class Multivariate(Peer):
    """A module of theirs that forecasts `n_series` series at once.

    Args:
        agents: in a scene; their `n_series` is so many times the number of targets.
    """

    name: ClassVar[str]

    def __init__(self, agents: int = 11) -> None:
        super().__init__()
        self.agents = agents

    def their_options(self) -> dict[str, Any]:
        """Options of their constructor, besides the shapes."""
        raise NotImplementedError

    def build(self, task: Task) -> None:
        """Make their module, for one input step more than the context: the position."""
        super().build(task)
        self.module = their(
            self.name,
            h=task.prediction_length,
            input_size=task.context_length + 1,
            n_series=self.agents * task.n_targets,
            **self.their_options(),
        )

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Peer`; scenes of unlike sizes go to their module one size after the other."""
        shown = torch.cat([scaled.relative, scaled.absolute[:, -1:]], dim=1)
        steps, targets = len(self.horizon_scale), shown.shape[-1]
        out = shown.new_zeros(len(shown), steps, targets)
        for rows in of_one_size(batch):
            series = shown[rows].permute(0, 2, 1, 3).flatten(2)
            ahead = self.module({"insample_y": series, "futr_exog": None})
            ahead = ahead.unflatten(-1, (rows.shape[1], targets)).permute(0, 2, 1, 3)
            out[rows.flatten()] = ahead.flatten(0, 1)
        return out


class ITransformer(Multivariate):
    """Series as tokens, attention among them (Liu et al., arXiv 2310.06625).

    Args:
        agents: as in `Multivariate`.
        width: features of a token.
        depth: layers.
    """

    name = "iTransformer"
    hidden = ("module.encoder",)

    def __init__(self, agents: int = 11, width: int = 104, depth: int = 2) -> None:
        super().__init__(agents)
        self.width, self.depth = width, depth

    def their_options(self) -> dict[str, Any]:
        """See `Multivariate`."""
        sizes = {"hidden_size": self.width, "d_ff": 4 * self.width, "e_layers": self.depth}
        return {**sizes, "dropout": 0.0, "use_norm": False}


class SOFTS(ITransformer):
    """Series as tokens that meet in one core (Han et al., arXiv 2404.14197)."""

    name = "SOFTS"

    def their_options(self) -> dict[str, Any]:
        """See `Multivariate`."""
        return {**super().their_options(), "d_core": self.width}


class TSMixer(Multivariate):
    """Perceptrons along time and across series in turn (Chen et al., arXiv 2303.06053).

    Args:
        agents: as in `Multivariate`.
        width: of the perceptron across series.
        depth: mixing layers.
    """

    name = "TSMixer"
    hidden = ("module.mixing_layers",)

    def __init__(self, agents: int = 11, width: int = 512, depth: int = 8) -> None:
        super().__init__(agents)
        self.width, self.depth = width, depth

    def their_options(self) -> dict[str, Any]:
        """See `Multivariate`."""
        return {"ff_dim": self.width, "n_block": self.depth, "dropout": 0.0, "revin": False}


class FilledTSMixer(TSMixer):
    """TSMixer where agents are missing: blank ones, at rest at the centre, take their places.

    Agents stand in the order of the batch: the ball, then the teams, the smaller one first.
    """

    def __init__(self, agents: int = 23, width: int = 512, depth: int = 8) -> None:
        super().__init__(agents, width, depth)

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Peer`."""
        shown = torch.cat([scaled.relative, scaled.absolute[:, -1:]], dim=1)
        layout, targets = Rectangle.of(batch), shown.shape[-1]
        series = layout.forth(shown) * layout.there[..., None, None]
        series = F.pad(series, (0, 0, 0, 0, 0, self.agents - series.shape[1]))
        ahead = self.module({"insample_y": series.permute(0, 2, 1, 3).flatten(2)})
        return layout.back(ahead.unflatten(-1, (-1, targets)).permute(0, 2, 1, 3))


class TimesNet(Peer):
    """Convolutions over periods of each series on its own (Wu et al., arXiv 2210.02186).

    Args:
        width: features of a step, and of the convolutions.
        depth: blocks.
        kernels: sizes of convolution in an inception block.
        periods: how many of a batch's strongest periods are looked at.
    """

    def __init__(self, width: int = 16, depth: int = 1, kernels: int = 3, periods: int = 2) -> None:
        super().__init__()
        self.width, self.depth, self.kernels, self.periods = width, depth, kernels, periods

    def build(self, task: Task) -> None:
        """Make their module; a series is one coordinate of one agent."""
        super().build(task)
        self.module = their(
            "TimesNet",
            h=task.prediction_length,
            input_size=task.context_length,
            hidden_size=self.width,
            conv_hidden_size=self.width,
            encoder_layers=self.depth,
            num_kernels=self.kernels,
            top_k=self.periods,
            dropout=0.0,
        )

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Peer`."""
        rows = scaled.relative.mT.flatten(0, 1)[..., None]
        ahead = self.module({"insample_y": rows, "futr_exog": None})
        return ahead[..., 0].unflatten(0, (-1, scaled.relative.shape[-1])).mT
