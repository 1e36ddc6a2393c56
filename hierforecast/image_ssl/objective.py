"""What an objective is, and the method that it makes with a source of views.

A new objective is one file: a class with ``loss(views)`` and ``build(setting, **options)`` in
``contrastive/`` (of two views: `ViewObjective` has all but ``compare``), ``pretext/`` (a
`PretextTask`) or ``split/``. Its name is one line in ``LEARNERS`` of ``contrastive/__init__.py`` or
in ``METHODS`` of ``methods.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hierforecast._random import with_generator
from hierforecast.image_ssl.augment import Transformation
from hierforecast.image_ssl.groups import Group, GroupLike
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.views import Augmented, Poses, Source, Views


class Objective(nn.Module):
    """What a backbone learns by: a loss of `Views`, with the heads that it needs.

    Subclasses give `loss`, and an attribute or property `backbone`: the network that is trained. To
    be built by name they also give a class method ``build(setting, **options)``, from a `Setting`
    and options of their own to a `Method`, and say whether they can learn from posed sets.

    Attributes:
        posed: whether pairs of views of a `PosedSet` can be learned from.
    """

    posed: ClassVar[bool] = False

    def loss(self, views: Views) -> Tensor:
        """Loss of two views, floats in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} must define loss(views)")


class Method(nn.Module):
    """An objective, and the source of its views: what `pretrain` trains.

    Args:
        objective: with `backbone` and ``loss(views)``.
        source: a batch of images, each of them as both views, to the views that are learned from,
            such as `Augmented`; None takes the images as they are.
    """

    generator: torch.Generator | None = None

    def __init__(self, objective: nn.Module, source: Source | None = None) -> None:
        super().__init__()
        self.objective, self.source = objective, source

    @property
    def backbone(self) -> nn.Module:
        """The network that is trained."""
        return self.objective.get_submodule("backbone")

    @property
    def posed(self) -> bool:
        """Whether it learns from pairs of views of a `PosedSet`, and not from single images."""
        return isinstance(self.source, Poses)

    @torch.no_grad()
    def draw(self, batch: Views, generator: torch.Generator | None = None) -> Views:
        """The views that are learned from; drawn in float32, for colors and places need it."""
        if self.source is None:
            return batch
        source, exact = with_generator(self.source), batch.map_images(Tensor.float)
        drawn: Views = source(exact, generator=generator or self.generator)
        return drawn.map_images(lambda images: images.to(batch.first.dtype))

    def loss(self, batch: Views) -> Tensor:
        """Loss of a batch, floats (b, 3, h, w) in [0, 1]."""
        loss: Tensor = self.objective.loss(self.draw(batch))  # type: ignore[operator]
        return loss


@dataclass(frozen=True)
class Setting:
    """What every method is built from, whatever its objective.

    Attributes:
        backbone: what is trained.
        head: group that the heads respect, the backbone's if None.
        symmetry: group that pretext labels are closed under.
        size: side of the images, pixels.
        width: numbers of the vectors that a loss compares.
        hidden: hidden channels of the heads.
    """

    backbone: ResNet
    head: GroupLike | None
    symmetry: Group
    size: int
    width: int
    hidden: int


def source_of(
    augment: Transformation | Poses, known: float | None = None, kind: type[Augmented] = Augmented
) -> Source:
    """The source that `augment` stands for, with a share of known images, or of known objects."""
    if isinstance(augment, Poses):
        return Poses(1.0 if known is None else known)
    return kind(augment, known)
