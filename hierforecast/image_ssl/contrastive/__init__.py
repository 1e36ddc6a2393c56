"""Contrastive and clustering methods: MoCo, SimSiam and SwAV, of any backbone and projector."""

from hierforecast.image_ssl.contrastive.losses import (
    info_nce,
    negative_cosine,
    sinkhorn,
    swapped_prediction,
)
from hierforecast.image_ssl.contrastive.method import ViewMethod
from hierforecast.image_ssl.contrastive.moco import MoCo
from hierforecast.image_ssl.contrastive.parts import KeyQueue, MomentumEncoder, Prototypes
from hierforecast.image_ssl.contrastive.simsiam import SimSiam
from hierforecast.image_ssl.contrastive.swav import SwAV

__all__ = [
    "KeyQueue",
    "MoCo",
    "MomentumEncoder",
    "Prototypes",
    "SimSiam",
    "SwAV",
    "ViewMethod",
    "info_nce",
    "negative_cosine",
    "sinkhorn",
    "swapped_prediction",
]
