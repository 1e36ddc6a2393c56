"""Colours of even lightness: Oklab's cylinder to a screen's red, green and blue."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Values: TypeAlias = np.ndarray | float


def rgb(lightness: Values, chroma: Values, hue: np.ndarray) -> np.ndarray:
    """Colours (..., 3) in sRGB of those in Oklab's cylinder (Ottosson 2020), cut to a screen's.

    Args:
        lightness: 0 (black) to 1 (white).
        chroma: 0 (grey) to about 0.3.
        hue: degrees.
    """
    linear = linear_rgb(lightness, chroma, hue)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def linear_rgb(lightness: Values, chroma: Values, hue: np.ndarray) -> np.ndarray:
    """The same colours as amounts of light, in which shading is a product."""
    a, b = chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))
    cones = np.stack(np.broadcast_arrays(lightness, a, b), axis=-1) @ _LAB_TO_CONES.T
    return np.clip(cones**3 @ _CONES_TO_RGB.T, 0, 1)


_LAB_TO_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_CONES_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
