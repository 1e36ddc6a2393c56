"""Momentum Contrast (He et al., arXiv 1911.05722), in the form that is symmetric in the views."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast._options import number
from hierforecast.image_ssl.contrastive.losses import info_nce
from hierforecast.image_ssl.contrastive.method import ViewObjective
from hierforecast.image_ssl.contrastive.parts import KeyQueue, MomentumEncoder
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.views import Views


class MoCo(ViewObjective):
    """Find the other view of an image among keys of earlier batches.

    Keys come from a momentum encoder, which is updated before it is used, in training mode only.
    Both views serve as queries and both as keys; negatives are the keys of earlier batches, never
    of this one.

    The authors shuffle images between the norms of several devices; here one norm sees the whole
    batch. So statistics of the batch leak into a query and its key, which the negatives lack: their
    cosine is higher than that with a key normalized among other images, by .02 in batches of 32
    and .004 in batches of 128 (of .63 and .61, after 150 steps of a small network on shapes; what
    ``test_moco_tells_its_own_batch`` measures). With small batches or long trainings give networks
    without batch norms, or several devices.

    Args:
        momentum: of the key encoder, at each step. The authors' .999 is for long training.
        queue_size: keys kept; two enter for each image. Well below twice the training set's size,
            or an image meets its own keys as negatives.
        temperature: of the cosines.
    """

    def __init__(
        self,
        backbone: Backbone,
        projector: nn.Module,
        *,
        momentum: float = 0.99,
        queue_size: int = 2048,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(backbone, projector)
        self.temperature = number("temperature", temperature, 0, ends=False)
        self.key_encoder = MomentumEncoder(backbone, projector, momentum=momentum)
        self.queue = KeyQueue(self.dim, queue_size)

    def compare(self, first: Tensor, second: Tensor, views: Views) -> Tensor:
        """Mean of `info_nce` with either view as the queries and the other as the keys, in nats."""
        queries = [F.normalize(vector, dim=1) for vector in (first, second)]
        if self.training:
            self.key_encoder.update(self.backbone, self.projector)
        with torch.no_grad():
            keys = [F.normalize(self.key_encoder(view), dim=1) for view in views[:2]]
        # A copy: the way back still needs these negatives when the queue has moved on.
        negatives = self.queue.keys.clone()
        one = info_nce(queries[0], keys[1], negatives, self.temperature)
        other = info_nce(queries[1], keys[0], negatives, self.temperature)
        if self.training:
            self.queue.push(torch.cat(keys))
        return (one + other) / 2
