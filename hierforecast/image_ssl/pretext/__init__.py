"""Pretext tasks whose labels move with the image."""

from hierforecast.image_ssl.pretext.context import ContextPrediction
from hierforecast.image_ssl.pretext.jigsaw import Jigsaw
from hierforecast.image_ssl.pretext.rotation import RotationPrediction
from hierforecast.image_ssl.pretext.task import Draw, Pretext, PretextHead, PretextTask

__all__ = [
    "ContextPrediction",
    "Draw",
    "Jigsaw",
    "Pretext",
    "PretextHead",
    "PretextTask",
    "RotationPrediction",
]
