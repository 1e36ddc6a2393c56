"""Objectives of two views, of any backbone and projector: MoCo, SwAV, SimSiam and VICReg."""

from hierforecast.image_ssl.contrastive.losses import (
    covariance,
    info_nce,
    invariance,
    negative_cosine,
    sinkhorn,
    swapped_prediction,
    variance,
)
from hierforecast.image_ssl.contrastive.method import ViewObjective
from hierforecast.image_ssl.contrastive.moco import MoCo
from hierforecast.image_ssl.contrastive.parts import KeyQueue, MomentumEncoder, Prototypes
from hierforecast.image_ssl.contrastive.simsiam import SimSiam
from hierforecast.image_ssl.contrastive.swav import SwAV
from hierforecast.image_ssl.contrastive.vicreg import VICReg

__all__ = [
    "LEARNERS",
    "KeyQueue",
    "MoCo",
    "MomentumEncoder",
    "Prototypes",
    "SimSiam",
    "SwAV",
    "VICReg",
    "ViewObjective",
    "covariance",
    "info_nce",
    "invariance",
    "negative_cosine",
    "sinkhorn",
    "swapped_prediction",
    "variance",
]

# An objective is a class in a file of its own; here it gets its name.
LEARNERS: dict[str, type[ViewObjective]] = {
    "moco": MoCo,
    "swav": SwAV,
    "simsiam": SimSiam,
    "vicreg": VICReg,
}
