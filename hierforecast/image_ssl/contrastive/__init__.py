"""Methods of two views, of any backbone and projector: MoCo, SwAV, SimSiam and VICReg."""

from hierforecast.image_ssl.contrastive.losses import (
    covariance,
    info_nce,
    invariance,
    negative_cosine,
    sinkhorn,
    swapped_prediction,
    variance,
)
from hierforecast.image_ssl.contrastive.method import ViewMethod
from hierforecast.image_ssl.contrastive.moco import MoCo
from hierforecast.image_ssl.contrastive.parts import KeyQueue, MomentumEncoder, Prototypes
from hierforecast.image_ssl.contrastive.simsiam import SimSiam
from hierforecast.image_ssl.contrastive.swav import SwAV
from hierforecast.image_ssl.contrastive.vicreg import VICReg

__all__ = [
    "KeyQueue",
    "MoCo",
    "MomentumEncoder",
    "Prototypes",
    "SimSiam",
    "SwAV",
    "VICReg",
    "ViewMethod",
    "covariance",
    "info_nce",
    "invariance",
    "negative_cosine",
    "sinkhorn",
    "swapped_prediction",
    "variance",
]
