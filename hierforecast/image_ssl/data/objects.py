"""Rendered objects: solids in known poses and lights, many views of each; 3DIEBench in small.

Nothing is downloaded. What the pictures are: ``datasets/objects/README.md``.
"""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from hierforecast._options import number, one_of, whole
from hierforecast.errors import DataError
from hierforecast.image_ssl.data._drawing import (
    Parameters,
    RenderedSet,
    linear_rgb,
    scene_of,
    uniform,
)
from hierforecast.image_ssl.data._raycasting import coverage, render
from hierforecast.image_ssl.data._registry import Request, register
from hierforecast.image_ssl.data._solids import PAINTS, SOLIDS
from hierforecast.image_ssl.data.arrays import ImageSet, Indices, whole_numbers
from hierforecast.image_ssl.data.rotations import Frame, about_axis, compose, uniform_within
from hierforecast.image_ssl.data.views import PosedSet

CLASSES = tuple(SOLIDS)
N_CLASSES = len(CLASSES)
N_PAINTS = PAINTS
SIZE = 33  # odd: a network with strides is exactly equivariant on it
VIEWS = 8
WITHIN = 180.0  # degrees from the upright pose
LIGHT_THETA = (0.15, 1.05)  # radians from the viewer
STRETCH = 1.35  # largest factor along an axis of a solid
COUNTS = 2048, 512  # that `open_set` renders to train and to evaluate on, by default
SOME_VIEWS = 4  # of each of these
_OBJECT_DRAWS, _VIEW_DRAWS = 24, 8
_VIEW_SEEDS = 1 << 32  # seeds of the views' draws lie apart from those of the objects'


class RenderedObjects(RenderedSet, PosedSet):
    """Views of solids of ten classes, each in any pose, light and before any color of wall.

    Object `o` of one seed has a class, proportions and colors of its own, the same whatever
    `n_objects` and `views`; its view `v` is a rotation, a light and a wall drawn for it alone. The
    picture's number is ``o * views + v``. Objects of another seed make a test set.

    Args:
        within: largest angle of a pose from the upright one, degrees; poses are spread evenly over
            those (180: over all rotations). Two views are up to twice as far apart.
        frame: about whose axes the relative rotation of a pair is; see `relative_rotation`.
    """

    classes = CLASSES
    render, coverage = staticmethod(render), staticmethod(coverage)

    def __init__(
        self,
        n_objects: int,
        views: int = VIEWS,
        seed: int = 0,
        size: int = SIZE,
        *,
        within: float = WITHIN,
        frame: Frame = "world",
    ) -> None:
        self.n_objects, self.views = whole("n_objects", n_objects), whole("views", views)
        self.seed, self.size = whole("seed", seed, 0, _VIEW_SEEDS - 1), whole("size", size)
        self.within, self.frame = number("within", within, 1e-9, 180), frame
        one_of("frame", frame, get_args(Frame))

    @property
    def labels(self) -> Tensor:
        """The class of every picture, int64 (n,)."""
        draws = uniform(np.arange(self.n_objects, dtype=np.uint64), self.seed, 1)
        return torch.from_numpy(_kinds(draws[:, 0])).repeat_interleave(self.views)

    def parameters(self, indices: Indices) -> dict[str, Tensor]:
        """What the pictures with these numbers show, exactly; see `draw_parameters`."""
        numbers = whole_numbers(indices, len(self)).numpy()
        return draw_parameters(numbers // self.views, numbers % self.views, self.seed, self.within)


def draw_parameters(
    objects: np.ndarray, views: np.ndarray, seed: int = 0, within: float = WITHIN
) -> dict[str, Tensor]:
    """The parameters of views by the numbers of their objects and their own.

    Returns:
        A row a view, float32 unless said otherwise. ``label``: class, and ``object``, int64.
        ``quaternion`` (b, 4): the rotation from the upright pose, w, x, y, z; x points to the
        right, y up and z to the viewer. ``light_theta``: angle of the light from the viewer, and
        ``light_phi``: around the line to the viewer, from x to y, radians. ``light_hue`` and
        ``background_hue``: of Oklab's circle, in [0, 1); ``light_color`` and
        ``background_color`` (b, 3): what they look like, RGB as amounts of light. Of the object:
        ``stretch`` (b, 3), along its axes; ``thickness``, in [0, 1), of its parts; ``paints``
        (b, 6, 3), colors of its sides, RGB as amounts of light.
    """
    numbers = np.asarray(objects, np.uint64)
    once, where = np.unique(numbers, return_inverse=True)
    draws = uniform(once, seed, _OBJECT_DRAWS)
    kinds = _kinds(draws[:, 0])
    floats = {
        "thickness": draws[:, 1],
        "stretch": STRETCH ** (2 * draws[:, 2:5] - 1),
        "paints": _paints(draws[:, 5:19]),
    }
    floats = {name: value[where] for name, value in floats.items()}
    own = uniform(
        np.asarray(views, np.uint64) + (numbers << np.uint64(24)), seed + _VIEW_SEEDS, _VIEW_DRAWS
    )
    floats |= {
        "quaternion": uniform_within(own[:, :3], within),
        "light_theta": LIGHT_THETA[0] + (LIGHT_THETA[1] - LIGHT_THETA[0]) * own[:, 3],
        "light_phi": 2 * math.pi * own[:, 4],
        "light_hue": own[:, 5],
        "background_hue": own[:, 6],
        "light_color": 1.35 * linear_rgb(0.85, 0.065, 360 * own[:, 5]),
        "background_color": linear_rgb(0.58, 0.06, 360 * own[:, 6]),
    }
    whole = {"label": kinds[where], "object": numbers.astype(np.int64)}
    return scene_of(whole, floats)


def turn(parameters: Parameters, degrees: float | Tensor) -> dict[str, Tensor]:
    """The same scenes, turned counter-clockwise before the viewer, light and all.

    By 90 degrees, `render` then gives `torch.rot90` of the picture.

    Args:
        degrees: one angle, or one for each scene (b,).
    """
    phi = parameters["light_phi"]
    degrees = torch.as_tensor(degrees, dtype=phi.dtype, device=phi.device).expand_as(phi)
    axis = parameters["quaternion"].new_tensor([0.0, 0.0, 1.0]).expand(len(phi), 3)
    pose = compose(about_axis(axis, degrees), parameters["quaternion"])
    around = (phi + torch.deg2rad(degrees)) % (2 * math.pi)
    return {**parameters, "quaternion": pose, "light_phi": around}


def _kinds(draws: np.ndarray) -> np.ndarray:
    return np.floor(draws * N_CLASSES).astype(np.int64)


def _paints(draws: np.ndarray) -> np.ndarray:
    """Six colors for each object (n, 6, 3), linear, from 14 random numbers: all well apart.

    Hues lie around one of the object's own, and lightness alternates, so that sides which meet
    differ in both.
    """
    base, spread = 360 * draws[:, :1], 130 + 110 * draws[:, 1:2]
    steps = np.array([0.0, 2.0, 4.0, 1.0, 3.0, 5.0]) / 5 - 0.5
    hue = base + spread * steps + 24 * (draws[:, 2:8] - 0.5)
    lightness = np.array([0.80, 0.66, 0.90, 0.60, 0.86, 0.72]) + 0.1 * (draws[:, 8:14] - 0.5)
    return linear_rgb(lightness, 0.12, hue)


def _open(request: Request, count: int | None = None) -> RenderedObjects:
    if request.split is not None:
        raise DataError(f"objects have no parts: {request.split!r} is none of them")
    try:
        within = float(request.rest or WITHIN)
    except ValueError as error:
        raise DataError(
            f"objects:{request.rest}: give degrees from the upright pose, as objects:45"
        ) from error
    count = COUNTS[request.test] if count is None else count
    return RenderedObjects(count, SOME_VIEWS, int(request.test), request.size, within=within)


def _open_images(request: Request) -> ImageSet:
    if request.images is None:
        return _open(request).in_memory()
    found = _open(request, -(-request.images // SOME_VIEWS))
    return found.subset(range(request.images)).in_memory()


def _open_posed(request: Request) -> PosedSet:
    return _open(request, request.count(COUNTS[request.test], SOME_VIEWS)).in_memory()


register("objects", "objects:DEGREES", openers={ImageSet: _open_images, PosedSet: _open_posed})
