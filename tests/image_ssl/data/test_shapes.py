from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hierforecast.image_ssl.data import RenderedShapes, as_float
from hierforecast.image_ssl.data.shapes import (
    CLASSES,
    TEXTURE_NAMES,
    coverage,
    draw_parameters,
    render,
    turn,
)

POSE = ("angle", "center", "scale")


def double(parameters):
    return {k: v.double() if v.is_floating_point() else v for k, v in parameters.items()}


def upright(scale: float = 0.5) -> dict[str, torch.Tensor]:
    """One shape of each class in the middle, unturned, plain, without light."""
    parameters = draw_parameters(np.arange(len(CLASSES)), textures=["plain"], light=0.0)
    parameters["label"] = torch.arange(len(CLASSES))
    parameters |= {"angle": torch.zeros(8), "center": torch.full((8, 2), 0.5)}
    return parameters | {"scale": torch.full((8,), scale)}


def test_a_picture_depends_on_its_seed_and_number_only():
    images, labels = RenderedShapes(600, seed=3).__getitems__(list(range(600)))
    more = RenderedShapes(5000, seed=3)
    shuffled = torch.randperm(600)
    again, same = more.__getitems__(shuffled.tolist())
    torch.testing.assert_close(again, images[shuffled], rtol=0, atol=0)
    torch.testing.assert_close(same, labels[shuffled])
    for index in (0, 1, 63, 64, 599):
        torch.testing.assert_close(more[index][0], images[index], rtol=0, atol=0)
    assert torch.equal(RenderedShapes(600, seed=3).labels, labels)
    other, _ = RenderedShapes(600, seed=4).__getitems__(list(range(600)))
    assert (other != images).flatten(1).float().mean(1).min() > 0.5


def test_random_numbers_are_uniform_and_independent():
    """Labels and angles over many pictures and over many seeds, against their distribution."""
    for parameters in (
        draw_parameters(np.arange(20_000), seed=11),
        {
            name: torch.cat([draw_parameters(np.arange(20), seed)[name] for seed in range(1000)])
            for name in ("label", "angle", "center")
        },
    ):
        n = len(parameters["label"])
        counts = parameters["label"].bincount(minlength=8)
        assert ((counts - n / 8) ** 2 / (n / 8)).sum() < 29.9  # chi-squared, 7 degrees, p = 1e-4
        turns = torch.histc(parameters["angle"], 36, 0, 360)
        assert ((turns - n / 36) ** 2 / (n / 36)).sum() < 80  # 35 degrees, p = 2e-5
        values = torch.column_stack([parameters["angle"], parameters["center"]]).T
        lagged = torch.corrcoef(torch.cat([values[:, 1:], values[:, :-1]]).double())
        assert (lagged - torch.eye(6)).abs().max() < 4.5 / math.sqrt(n)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("size", [33, 32])
def test_a_turned_pose_is_a_turned_picture(dtype, tolerance, size):
    """On a plain background without light, only the pose moves."""
    parameters = RenderedShapes(200, textures=["plain"], light=0.0).parameters(range(200))
    parameters = double(parameters) if dtype == torch.float64 else parameters
    picture = render(parameters, size)
    x, y = parameters["center"].T
    for quarter, center in ((1, (y, 1 - x)), (2, (1 - x, 1 - y)), (3, (1 - y, x))):
        moved = parameters | {
            "angle": parameters["angle"] + 90 * quarter,
            "center": torch.stack(center, dim=1),
        }
        turned = torch.rot90(picture, quarter, (-2, -1))
        assert (render(moved, size) - turned).abs().max() < tolerance
        assert (turned - picture).abs().amax((1, 2, 3)).min() > 0.1


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_scene_is_a_turned_picture_with_textures_and_light(quarters):
    parameters = RenderedShapes(300).parameters(range(300))
    picture = render(double(parameters), 33)
    turned = render(turn(double(parameters), 90.0 * quarters), 33)
    assert (turned - torch.rot90(picture, quarters, (-2, -1))).abs().max() < 1e-10
    unlit = turn(double(parameters), 90.0 * quarters) | {"light_angle": parameters["light_angle"]}
    assert (render(unlit, 33) - turned).abs().amax((1, 2, 3)).median() > 0.1


def test_a_scene_turned_by_any_angle_and_back():
    parameters = double(RenderedShapes(50).parameters(range(50)))
    degrees = torch.rand(50, dtype=torch.float64) * 360
    back = turn(turn(parameters, degrees), -degrees)
    assert (render(back, 33) - render(parameters, 33)).abs().max() < 1e-9


def slow_inside(name: str, u: float, v: float) -> bool:
    """Whether a point lies in a shape: corners and circles written down a second time."""

    def polygon(*corners):
        crossings = 0
        for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if (y1 > v) != (y2 > v) and u < x1 + (v - y1) / (y2 - y1) * (x2 - x1):
                crossings += 1
        return crossings % 2 == 1

    def circle(x, y, radius):
        return math.hypot(u - x, v - y) < radius

    if name == "arrow":
        head = polygon((1, 0), (-0.05, 0.86), (-0.05, -0.86))
        return head or polygon((-0.95, -0.28), (0, -0.28), (0, 0.28), (-0.95, 0.28))
    if name == "crescent":
        return circle(0, 0, 0.98) and not circle(0.4, 0, 0.8)
    if name == "ell":
        corners = ((-0.6, -0.78), (0.62, -0.78), (0.62, -0.32), (-0.14, -0.32), (-0.14, 0.78))
        return polygon(*corners, (-0.6, 0.78))
    if name == "half disc":
        return circle(-0.35, 0, 0.93) and u > -0.35
    if name == "heart":
        u += 0.209
        half, lobe = 0.55, 0.55 / math.sqrt(2)
        square = abs(u) + abs(v) < half * math.sqrt(2)
        u, above = u - lobe, math.hypot(u - lobe, abs(v) - lobe) < half
        return square or above
    if name == "open ring":
        return 0.48 < math.hypot(u, v) < 0.98 and not (u > 0 and abs(v) < 0.34)
    if name == "tee":
        bar = polygon((-0.74, -0.67), (-0.28, -0.67), (-0.28, 0.67), (-0.74, 0.67))
        return bar or polygon((-0.3, -0.22), (0.97, -0.22), (0.97, 0.22), (-0.3, 0.22))
    return polygon((1, 0), (-0.8, 0.6), (-0.8, -0.6))


def test_outlines_against_a_second_implementation():
    size = 65
    cover = coverage(upright(), size)
    for number, name in enumerate(CLASSES):
        for row in range(0, size, 2):
            for column in range(size):
                u, v = (2 * column + 1) / size - 1, 1 - (2 * row + 1) / size
                covered = float(cover[number, row, column])
                if covered in (0.0, 1.0):  # away from the outline
                    assert slow_inside(name, u, v) == bool(covered), (name, u, v)


def test_pose_means_what_it_says():
    """Angle counter-clockwise from the right, x from the left, y from the top, in fractions."""
    arrow = {name: value[:1] for name, value in upright(0.2).items()}
    arrow |= {"center": torch.tensor([[0.3, 0.6]]), "angle": torch.tensor([90.0])}
    rows, columns = (coverage(arrow, 100)[0] > 0.5).nonzero().T
    assert rows.min() == pytest.approx(60 - 20, abs=1)  # the tip, up
    assert rows.max() == pytest.approx(60 + 0.95 * 20, abs=1)
    assert (columns.float().mean() + 0.5) == pytest.approx(30, abs=0.1)
    wide = rows[(columns - 29.5).abs() > 12].float().mean()
    assert wide < 60  # the head's barbs lie above the shaft's end


def test_no_class_is_another_one_turned_or_mirrored():
    """The best overlap over 72 turns, mirrored or not: well below one, within a class as well."""
    masks = coverage(upright(), 65) > 0.5
    turned = {}
    for step in range(72):
        parameters = upright() | {"angle": torch.full((8,), 5.0 * step)}
        turned[step] = coverage(parameters, 65) > 0.5
    for a in range(8):
        for b in range(8):
            for mirror in (False, True):
                overlaps = []
                for step, picture in turned.items():
                    other = picture[b].flip(-1) if mirror else picture[b]
                    overlap = (masks[a] & other).sum() / (masks[a] | other).sum()
                    far = 30 < (5 * step) % 360 < 330
                    if a != b or (not mirror and far):
                        overlaps.append(float(overlap))
                assert not overlaps or max(overlaps) < 0.85, (CLASSES[a], CLASSES[b], mirror)


def test_edges_are_anti_aliased():
    """The area of a rendered shape follows its scale smoothly, far below a pixel."""
    for size in (33, 65):
        areas = []
        for scale in (0.3, 0.305, 0.31):
            parameters = upright(scale) | {"angle": torch.full((8,), 20.0)}
            areas.append(coverage(parameters, size).mean((1, 2)) / scale**2)
        spread = torch.stack(areas).std(0) / areas[0]
        assert spread.max() < 0.01


def test_mask_is_where_a_change_of_the_shapes_color_shows():
    shapes = RenderedShapes(100, seed=5)
    parameters = shapes.parameters(range(100))
    other = parameters | {"shape_color": 1 - parameters["shape_color"]}
    changed = (render(other, 33) - render(parameters, 33)).abs().amax(1)
    mask = shapes.mask(range(100))
    assert mask.shape == (100, 33, 33) and mask.dtype == torch.bool
    assert not changed[coverage(parameters, 33) == 0].any()
    assert torch.equal(mask, coverage(parameters, 33) >= 0.5)
    inside = mask.float().mean((1, 2))
    assert inside.min() > 0.02 and inside.max() < 0.6


def test_shapes_lie_wholly_within_the_picture():
    shapes = RenderedShapes(2000, size=17)
    parameters = shapes.parameters(range(2000))
    center, scale = parameters["center"], parameters["scale"][:, None]
    assert (center - scale).min() > -1e-6 and (center + scale).max() < 1 + 1e-6
    pixels = (torch.arange(65) + 0.5) / 65
    from_center = torch.hypot(pixels - center[:, :1, None], pixels[:, None] - center[:, 1:, None])
    cover = coverage(parameters, 65)
    assert not (cover[from_center > scale[:, :, None] + 1e-6] >= 0.5).any()
    assert cover[from_center > scale[:, :, None] + 2 / 65].max() == 0  # a sharp tip's faint edge


def test_shape_and_background_differ_visibly():
    parameters = RenderedShapes(20_000).parameters(range(20_000))
    shape, ground = parameters["shape_color"], parameters["background_color"]
    assert min(shape.min(), ground.min()) >= 0 and max(shape.max(), ground.max()) <= 1
    assert (shape - ground).norm(dim=1).min() > 0.25
    luma = torch.tensor([0.2126, 0.7152, 0.0722])
    assert ((shape - ground) @ luma).abs().quantile(0.02) > 0.1


def test_parameters_stay_within_their_ranges_and_use_all_of_them():
    shapes = RenderedShapes(4000, textures=["plain", "dots"], scales=(0.2, 0.3), light=0.2)
    parameters = shapes.parameters(range(4000))
    assert all(len(value) == 4000 for value in parameters.values())
    allowed = {TEXTURE_NAMES.index("plain"), TEXTURE_NAMES.index("dots")}
    for what in ("shape", "background"):
        assert set(parameters[f"{what}_texture"].tolist()) == allowed
    assert 0.2 <= parameters["scale"].min() < 0.201 and 0.299 < parameters["scale"].max() <= 0.3
    assert parameters["light_strength"].min() >= 0 and parameters["light_strength"].max() > 0.19
    assert 0 <= parameters["angle"].min() < 1 and 359 < parameters["angle"].max() < 360
    for value in parameters.values():
        assert value.dtype in (torch.int64, torch.float32) and value.isfinite().all()


@pytest.mark.parametrize("name", TEXTURE_NAMES)
def test_textures(name):
    """Each varies as its name says, about the plain color."""
    parameters = RenderedShapes(64, textures=[name], light=0.0).parameters(range(64))
    parameters |= {
        "center": torch.full((64, 2), 3.0),  # the shape is out of the picture
        "background_color": torch.full((64, 3), 0.5),
        "background_contrast": torch.full((64,), 0.2),
    }
    pattern = (render(parameters, 65) / 0.5 - 1) / 0.2
    assert (pattern - pattern[:, :1]).abs().max() < 1e-5 and pattern.abs().max() < 1 + 1e-5
    if name == "plain":
        assert pattern.abs().max() < 1e-5
        return
    assert pattern.flatten(1).std(1).min() > 0.2
    # One period further along the texture's own axis, the same picture comes again.
    again = parameters | {"background_phase": parameters["background_phase"] + 2}
    repeats = (render(again, 65) - render(parameters, 65)).abs().max() < 1e-3
    assert repeats == (name != "clouds")
    along = parameters | {
        "background_phase": parameters["background_phase"] + torch.tensor([0, 0.3])
    }
    assert torch.equal(render(along, 65), render(parameters, 65)) == (name == "stripes")


def test_raw_pixels_do_not_tell_the_class():
    """A linear model on pixels stays near chance (1/8): the set needs a representation."""
    train, test = RenderedShapes(2000).in_memory(), RenderedShapes(1000, seed=1).in_memory()
    pixels, held_out = (as_float(part.images).flatten(1) - 0.5 for part in (train, test))
    wanted = torch.nn.functional.one_hot(train.labels, 8).float()
    kernel = pixels @ pixels.T
    kernel.diagonal().add_(1000.0)
    scores = held_out @ pixels.T @ torch.linalg.solve(kernel, wanted - wanted.mean(0))
    assert (scores.argmax(1) == test.labels).double().mean() < 0.3


@pytest.mark.parametrize(
    "options",
    [
        {"n": 0},
        {"seed": -1},
        {"size": 0},
        {"textures": ["plaid"]},
        {"textures": []},
        {"scales": (0.3, 0.2)},
        {"scales": (0.3, 0.6)},
        {"light": 1.0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RenderedShapes(**({"n": 4} | options))


def test_no_picture_beyond_the_end():
    with pytest.raises(IndexError, match="no image 4 in a set of 4"):
        RenderedShapes(4)[4]
    assert torch.equal(RenderedShapes(4)[-1][0], RenderedShapes(4)[3][0])
