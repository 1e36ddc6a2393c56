"""The pictures of objects against plain second implementations: points one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hierforecast.image_ssl.data import RenderedObjects, objects, relative_rotation
from hierforecast.image_ssl.data._raycasting import (
    AMBIENT,
    OWN_SOFTNESS,
    RADIUS,
    WALL,
    WALL_SOFTNESS,
    light_direction,
)
from hierforecast.image_ssl.data._solids import SOLIDS
from hierforecast.image_ssl.data.objects import (
    CLASSES,
    coverage,
    draw_parameters,
    render,
    turn,
)
from hierforecast.image_ssl.data.rotations import angle_between, matrix

N = len(CLASSES)


def scenes(count: int = N, seed: int = 0) -> dict[str, torch.Tensor]:
    """Views of `count` objects, classes in turn, in float64."""
    parameters = draw_parameters(np.arange(count), np.arange(count) % 3, seed)
    parameters = {k: v.double() if v.is_floating_point() else v for k, v in parameters.items()}
    pose = torch.nn.functional.normalize(parameters["quaternion"], dim=1)  # of float32
    return parameters | {"label": torch.arange(count) % N, "quaternion": pose}


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_scene_turned_by_90_degrees_is_the_picture_turned(size, quarters):
    parameters = scenes(3 * N)
    picture = render(parameters, size)
    turned = turn(parameters, 90.0 * quarters)
    torch.testing.assert_close(
        render(turned, size), torch.rot90(picture, quarters, (2, 3)), rtol=0, atol=1e-9
    )
    relative = relative_rotation(parameters["quaternion"], turned["quaternion"])
    assert angle_between(parameters["quaternion"], turned["quaternion"]).numpy() == pytest.approx(
        90 if quarters != 2 else 180
    )
    assert relative[:, 1:3].abs().max() < 1e-12
    # The light matters: without its turn the pictures differ.
    dark = turned | {"light_phi": parameters["light_phi"]}
    far = (render(dark, size) - render(turned, size)).abs().mean((1, 2, 3))
    assert far.mean() > 0.02


def slow_inside(name: str, points: np.ndarray, t: float) -> np.ndarray:
    """Which points (..., 3) in a solid's own units lie in it, told from its description."""
    x, y, z = np.moveaxis(points, -1, 0)

    def box(cx, cy, cz, hx, hy, hz):
        return (abs(x - cx) <= hx) & (abs(y - cy) <= hy) & (abs(z - cz) <= hz)

    def polygon(sides, first):  # distance to its sides from the axis, which is 1 where inside ends
        sector = 2 * math.pi / sides
        off = (np.arctan2(y, x) - first + sector / 2) % sector - sector / 2
        return np.hypot(x, y) * np.cos(off)

    flat = abs(z) <= 1
    if name == "box":
        return box(0, 0, 0, 1, 1, 1)
    if name == "cross":
        w = 0.2 + 0.16 * t
        return box(0, 0, 0, 1, w, w) | box(0, 0, 0, w, 1, w) | box(0, 0, 0, w, w, 1)
    if name == "ell":
        w = 0.25 + 0.15 * t
        return box(-1 + w, 0, 0, w, 1, 0.5) | box(0, -1 + w, 0, 1, w, 0.5)
    if name == "arch":
        w = 0.2 + 0.12 * t
        legs = box(-1 + w, 0, 0, w, 1, 0.5) | box(1 - w, 0, 0, w, 1, 0.5)
        return legs | box(0, 1 - w, 0, 1, w, 0.5)
    if name == "ring":
        out = polygon(12, math.pi / 12)
        return (out <= 1) & (out >= 0.68 - 0.2 * t) & (abs(z) <= 0.2 + 0.16 * t)
    sides = {"cone": 20, "cylinder": 20, "prism": 3, "tetrahedron": 3, "pyramid": 4}[name]
    out = polygon(sides, math.pi / sides)
    pointed = name in ("cone", "pyramid", "tetrahedron")
    return flat & (out <= (1 - z) / 2 if pointed else out <= 1)


def box_of(name: str, t: float) -> np.ndarray:
    """Points of a solid on a fine grid, to measure it."""
    grid = np.stack(np.meshgrid(*[np.linspace(-2, 2, 121)] * 3, indexing="ij"), -1)
    return grid[slow_inside(name, grid, t)]


def slow_scene(parameters: dict[str, torch.Tensor], number: int):
    """A function that tells which points of the world lie in a scene's solid."""
    name = CLASSES[int(parameters["label"][number])]
    t, stretch = float(parameters["thickness"][number]), parameters["stretch"][number].numpy()
    points = box_of(name, t) * stretch
    centre = (points.max(0) + points.min(0)) / 2
    radius = np.linalg.norm(points - centre, axis=1).max()
    turned = matrix(parameters["quaternion"][number]).numpy()
    return lambda where: slow_inside(name, (where @ turned * radius + centre) / stretch, t)


def rays(size: int) -> tuple[np.ndarray, np.ndarray]:
    along = (np.arange(2 * size) + 0.5) / (2 * size) - 0.5
    x, y = np.meshgrid(along / RADIUS, -along / RADIUS)
    return x, y


def pixels(fine: np.ndarray) -> np.ndarray:
    return np.stack([fine[i::2, j::2] for i in (0, 1) for j in (0, 1)]).mean(0)


@pytest.mark.parametrize("number", range(N), ids=list(CLASSES))
def test_the_outline_is_that_of_the_solid(number):
    """Points along each ray, one by one, against planes."""
    parameters = scenes()
    inside = slow_scene(parameters, number)
    x, y = rays(24)
    depth = np.linspace(-1, 1, 151)
    where = np.stack(np.broadcast_arrays(x[..., None], y[..., None], depth), -1)
    met = inside(where).any(-1)
    one = {name: value[number : number + 1] for name, value in parameters.items()}
    cover = coverage(one, 24)[0].numpy()
    assert (abs(cover - pixels(met)) > 0.3).mean() < 0.01  # rays that graze, between two points
    assert abs(cover.mean() - met.mean()) < 0.01 and cover.mean() > 0.02


def encoded(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("number", range(0, N, 3), ids=list(CLASSES[::3]))
def test_the_wall_is_dark_where_the_solid_stands_before_the_light(number):
    parameters = scenes(seed=5)
    parameters["light_theta"] = torch.full((N,), 0.5, dtype=torch.float64)
    inside = slow_scene(parameters, number)
    one = {name: value[number : number + 1] for name, value in parameters.items()}
    picture, cover = render(one, 24)[0].numpy(), coverage(one, 24)[0].numpy()
    light = light_direction(one)[0].numpy()
    x, y = rays(24)
    along, step = np.linspace(0, 4, 401), 0.01
    start = np.stack(np.broadcast_arrays(x, y, WALL), -1)
    blocked = step * inside(start[..., None, :] + along[:, None] * light).sum(-1)
    ground = one["background_color"][0].numpy()[:, None, None]
    away = x * light[0] + y * light[1]
    direct = one["light_color"][0].numpy()[:, None, None] * (light[2] + 0.18 * away)
    bright = encoded(np.stack([pixels(c) for c in ground * (AMBIENT + direct)]))
    dark = encoded(np.stack([pixels(c) for c in ground * AMBIENT * 0.7 + 0 * direct]))
    wall = cover == 0
    full = wall & (pixels(blocked > WALL_SOFTNESS + 0.1) == 1)
    free = wall & (pixels(blocked == 0) == 1)
    # Single rays that graze a corner fall between the points that are tried.
    assert free.sum() > 40 and (abs(picture - bright).max(0)[free] > 0.02).mean() < 0.02
    assert not full.any() or (abs(picture - dark).max(0)[full] > 1e-6).mean() < 0.02


def test_a_side_has_its_paint_times_its_light():
    """A box seen from the front: its nearest side fills the middle of the picture."""
    parameters = {name: value[:1] for name, value in scenes().items()}
    parameters["label"] = torch.tensor([CLASSES.index("box")])
    parameters["quaternion"] = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    theta = float(parameters["light_theta"][0])
    shine = parameters["light_color"][0].numpy() * math.cos(theta)
    middle = render(parameters, 9)[0, :, 4, 4].numpy()
    expected = encoded(parameters["paints"][0, 2].numpy() * (AMBIENT + shine))
    assert middle == pytest.approx(expected, abs=1e-9)
    # Turned by 90 degrees about y, its +z side looks to the right: -x faces the viewer.
    parameters["quaternion"] = torch.tensor([[1.0, 0, 1.0, 0]], dtype=torch.float64) / math.sqrt(2)
    middle = render(parameters, 9)[0, :, 4, 4].numpy()
    assert middle == pytest.approx(
        encoded(parameters["paints"][0, 3].numpy() * (AMBIENT + shine)), abs=1e-9
    )


@pytest.mark.parametrize("kind", ["arch", "cross", "ring"])
def test_one_part_shades_another(kind):
    """What stands in the solid's own light shows the room's light alone; the rest shows more."""
    number = CLASSES.index(kind)
    parameters = scenes()
    parameters["light_theta"] = torch.full((N,), 1.0, dtype=torch.float64)
    inside = slow_scene(parameters, number)
    one = {name: value[number : number + 1] for name, value in parameters.items()}
    seen = coverage(one, 24)[0].numpy() == 1
    light = light_direction(one)[0].numpy()
    x, y = rays(24)
    depth = np.linspace(-1, 1, 401)
    met = inside(np.stack(np.broadcast_arrays(x[..., None], y[..., None], depth), -1))
    top = np.where(met.any(-1), depth[-1 - met[..., ::-1].argmax(-1)], 0) + 0.005
    along = np.linspace(0, 2, 201)[:, None] * light
    blocked = 0.01 * inside(np.stack([x, y, top], -1)[..., None, :] + along).sum(-1)
    extra = (render(one, 24) - render(one | {"light_color": torch.zeros(1, 3)}, 24))[0].sum(0)
    full = seen & (pixels(blocked > OWN_SOFTNESS + 0.03) == 1)
    free = seen & (pixels(blocked == 0) == 1)
    assert full.sum() > 3 and (abs(extra.numpy())[full] > 1e-9).mean() < 0.03
    assert free.sum() > 10 and (extra.numpy()[free] < 0.02).mean() < 0.03


def test_solids_lie_wholly_within_the_picture():
    cover = coverage(RenderedObjects(500, views=1).parameters(range(500)), 33)
    pixel = (torch.arange(33) - 16) / 33
    far = torch.hypot(pixel, pixel[:, None]) > RADIUS + 1 / 33
    assert not cover[:, far].any()


def test_hues_show():
    """Light and wall of other hues change the picture; the wall's alone leaves the solid."""
    parameters = RenderedObjects(40, views=1).parameters(range(40))
    cover = coverage(parameters, 33)
    other = parameters | {"background_color": parameters["background_color"].roll(1, 0)}
    changed = (render(other, 33) - render(parameters, 33)).abs().amax(1)
    assert not changed[cover == 1].any() and changed[cover == 0].mean() > 0.03
    other = parameters | {"light_color": parameters["light_color"].roll(1, 0)}
    changed = (render(other, 33) - render(parameters, 33)).abs().amax(1)
    assert changed[cover == 1].mean() > 0.02 and changed[cover == 0].mean() > 0.02


def test_every_side_has_a_paint():
    for name, solid in SOLIDS.items():
        planes, _ = solid.build(torch.rand(2))
        assert planes.shape == (2, len(solid.paints), len(solid.paints[0]), 4), name
        used = {paint for body in solid.paints for paint in body}
        assert used <= set(range(objects.N_PAINTS)) and len(used) >= 5
