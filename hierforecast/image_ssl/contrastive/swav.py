"""SwAV (Caron et al., arXiv 2006.09882), with two views and without its small extra crops."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast._options import number, whole
from hierforecast.image_ssl.contrastive.losses import sinkhorn, swapped_prediction
from hierforecast.image_ssl.contrastive.method import ViewObjective
from hierforecast.image_ssl.contrastive.parts import KeyQueue, Prototypes
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.views import Views


class SwAV(ViewObjective):
    """Predict, from one view, which prototypes the other view is assigned to.

    The authors keep a queue for each view. Here both views' vectors enter one: they are drawn by
    the same augmentation, so that either queue would hold the same distribution, and the loss stays
    the same for both orders of the views. By default there is no queue, as in the authors' large
    batches: 128 images are more than enough for 64 prototypes.

    Args:
        prototypes: how many; a few times the number of classes, and fewer than a batch or its queue
            holds images, since each gets an equal share of them.
        epsilon: smoothness of the assignment.
        iterations: of the assignment's scalings.
        temperature: of the prediction.
        queue_size: vectors of earlier batches that are assigned together with a small batch, once
            there are so many; 0 for none. Both views enter.
        frozen_steps: training steps in which the prototypes stay as they are; the default is about
            an epoch of 5,000 images in batches of 128.
    """

    steps: Tensor

    def __init__(
        self,
        backbone: Backbone,
        projector: nn.Module,
        *,
        prototypes: int = 64,
        epsilon: float = 0.05,
        iterations: int = 3,
        temperature: float = 0.1,
        queue_size: int = 0,
        frozen_steps: int = 40,
    ) -> None:
        super().__init__(backbone, projector)
        self.temperature = number("temperature", temperature, 0, ends=False)
        self.epsilon = number("epsilon", epsilon, 0, ends=False)
        self.iterations = whole("iterations", iterations)
        self.frozen_steps = frozen_steps
        self.prototypes = Prototypes(self.dim, prototypes)
        self.queue = KeyQueue(self.dim, queue_size) if queue_size else None
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def compare(self, first: Tensor, second: Tensor, views: Views) -> Tensor:
        """Mean of `swapped_prediction` in both directions, in nats."""
        vectors = [F.normalize(vector, dim=1) for vector in (first, second)]
        frozen = int(self.steps) < self.frozen_steps
        if self.training and not frozen:
            self.prototypes.normalize_()
        one, other = (self.prototypes(vector, frozen) for vector in vectors)
        there = swapped_prediction(one, self._codes(other), self.temperature)
        back = swapped_prediction(other, self._codes(one), self.temperature)
        if self.training:
            self.steps += 1
            if self.queue is not None:
                self.queue.push(torch.cat(vectors))
        return (there + back) / 2

    @torch.no_grad()
    def _codes(self, scores: Tensor) -> Tensor:
        """Assignments (b, k) of a view, made evenly among it and what the queue holds."""
        everyone = scores
        if self.queue is not None and self.queue.is_full:
            everyone = torch.cat([scores, self.prototypes(self.queue.keys).to(scores.dtype)])
        return sinkhorn(everyone, self.epsilon, self.iterations)[: len(scores)]
