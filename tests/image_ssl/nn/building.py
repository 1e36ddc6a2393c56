"""Backbones with random weights, in double precision."""

from __future__ import annotations

from hierforecast.image_ssl.nn import ResNet, Sampling
from hierforecast.testing import randomize_

STRIDED = (Sampling(3, 2, 1),)


def build(group: str, width: int = 2, **options) -> ResNet:
    return randomize_(ResNet(group, width=width, **options)).double()
