"""Layers and networks that commute with turns and mirror images."""

from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.nn.conv import GroupConv2d, GroupLinear, LiftingConv2d
from hierforecast.image_ssl.nn.resnet import (
    EVEN,
    ODD,
    SMALL_STEM,
    Halving,
    ResNet,
    SpatialMaxPool,
    matched_width,
    resnet18,
    resnet50,
    small_resnet,
)
from hierforecast.image_ssl.nn.sizes import Sampling, SizeError

__all__ = [
    "EVEN",
    "ODD",
    "SMALL_STEM",
    "Backbone",
    "GroupConv2d",
    "GroupLinear",
    "Halving",
    "LiftingConv2d",
    "ResNet",
    "Sampling",
    "SizeError",
    "SpatialMaxPool",
    "matched_width",
    "resnet18",
    "resnet50",
    "small_resnet",
]
