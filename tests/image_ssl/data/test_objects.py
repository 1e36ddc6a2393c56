from __future__ import annotations

import math

import pytest
import torch
from torch.utils.data import DataLoader

from hierforecast.image_ssl.data import PosedSet, RenderedObjects, collate, objects
from hierforecast.image_ssl.data.objects import CLASSES, coverage, render
from hierforecast.image_ssl.data.rotations import angle_between, compose

N = len(CLASSES)


def test_a_view_depends_on_its_seed_object_and_number_only():
    few, many = RenderedObjects(30, views=4, seed=3), RenderedObjects(900, views=7, seed=3)
    images, labels = few.__getitems__(list(range(120)))
    there = torch.tensor([7 * (n // 4) + n % 4 for n in range(120)])
    order = torch.randperm(120)
    again, same = many.__getitems__(there[order].tolist())
    torch.testing.assert_close(again, images[order], rtol=0, atol=0)
    assert torch.equal(same, labels[order]) and torch.equal(few.labels, labels)
    for number in (0, 1, 63, 119):
        torch.testing.assert_close(few[number][0], images[number], rtol=0, atol=0)
    other, _ = RenderedObjects(30, views=4, seed=4).__getitems__(list(range(120)))
    assert (other != images).flatten(1).float().mean(1).min() > 0.5


def test_views_are_of_one_object_and_differ():
    rendered = RenderedObjects(50, views=6)
    assert isinstance(rendered, PosedSet) and len(rendered) == 300
    parameters = rendered.parameters(range(300))
    assert torch.equal(parameters["object"], torch.arange(300) // 6)
    for name in ("label", "stretch", "thickness", "paints"):
        by_object = parameters[name].reshape(50, 6, -1)
        assert (by_object == by_object[:, :1]).all()
        assert len(by_object[:, 0].unique(dim=0)) > 5
    for name in ("quaternion", "light_phi", "light_theta", "light_hue", "background_hue"):
        assert len(parameters[name].unique(dim=0)) == 300
    images, _ = rendered.__getitems__(list(range(300)))
    assert images.shape == (300, 3, 33, 33) and images.dtype == torch.uint8


def test_it_is_a_set_of_images_like_any_other():
    rendered = RenderedObjects(20, views=3, size=17)
    images, labels = next(iter(DataLoader(rendered, batch_size=60, collate_fn=collate)))
    assert images.shape == (60, 3, 17, 17) and torch.equal(labels, rendered.labels)
    part = rendered.subset([5, 5, -1]).in_memory()
    assert torch.equal(part.images, images[[5, 5, 59]]) and part.classes == CLASSES
    assert torch.equal(rendered[-1][0], images[59])
    with pytest.raises(IndexError, match="no image 60 in a set of 60"):
        rendered[60]


def test_parameters_stay_within_their_ranges_and_use_all_of_them():
    parameters = RenderedObjects(2000, views=2).parameters(range(4000))
    counts = parameters["label"][::2].bincount(minlength=N)
    assert ((counts - 200) ** 2 / 200).sum() < 33.7  # chi-squared, 9 degrees, p = 1e-4
    ranges = {
        "light_theta": objects.LIGHT_THETA,
        "light_phi": (0, 2 * math.pi),
        "light_hue": (0, 1),
        "background_hue": (0, 1),
        "thickness": (0, 1),
        "stretch": (1 / objects.STRETCH, objects.STRETCH),
    }
    for name, (low, high) in ranges.items():
        value, room = parameters[name], 0.005 * (high - low)
        assert low - 1e-6 <= value.min() < low + room and high - room < value.max() <= high + 1e-6
    for value in parameters.values():
        assert len(value) == 4000 and value.dtype in (torch.int64, torch.float32)
    assert parameters["paints"].min() >= 0 and parameters["paints"].max() <= 1


@pytest.mark.parametrize("within", [180.0, 60.0])
def test_poses_are_within_the_angle(within):
    poses = RenderedObjects(300, views=4, within=within).parameters(range(1200))["quaternion"]
    upright = torch.tensor([1.0, 0, 0, 0]).expand(1200, 4)
    angles = angle_between(upright, poses)
    assert 0.97 * within < angles.max() <= within + 1e-3
    share = (angles <= 0.7 * within).double().mean()
    a, b = math.radians(0.7 * within), math.radians(within)
    assert share == pytest.approx((a - math.sin(a)) / (b - math.sin(b)), abs=0.05)


@pytest.mark.parametrize("frame", ["world", "object"])
def test_pairs(frame):
    rendered = RenderedObjects(40, views=5, size=9, frame=frame)
    pairs = rendered.pairs(range(200), torch.Generator().manual_seed(0))
    first, second = pairs.numbers
    assert torch.equal(first, torch.arange(200)) and (first != second).all()
    assert torch.equal(first // 5, second // 5) and torch.equal(pairs.labels, rendered.labels)
    for images, numbers in ((pairs.first, first), (pairs.second, second)):
        assert torch.equal(images, rendered.__getitems__(numbers.tolist())[0])
    before, after = (rendered.parameters(numbers) for numbers in pairs.numbers)
    start, end, rotation = before["quaternion"], after["quaternion"], pairs.relative["rotation"]
    again = compose(rotation, start) if frame == "world" else compose(start, rotation)
    torch.testing.assert_close(again, end, rtol=0, atol=1e-5)
    assert (rotation[:, 0] >= 0).all()
    for name in ("background_hue", "light_theta", "light_phi", "light_hue"):
        change = pairs.relative[name]
        assert change.shape == (200, 1)
        torch.testing.assert_close(change[:, 0] + before[name], after[name], rtol=0, atol=1e-6)
    same = rendered.pairs(range(200), torch.Generator().manual_seed(0))
    assert torch.equal(same.numbers, pairs.numbers)


def test_every_other_view_comes_as_often():
    rendered = RenderedObjects(1, views=4, size=1)
    second = rendered.pairs([2] * 3000, torch.Generator().manual_seed(1)).numbers[1]
    counts = second.bincount(minlength=4)
    assert counts[2] == 0 and (counts[[0, 1, 3]] - 1000).abs().max() < 110
    with pytest.raises(ValueError, match="views=2"):
        RenderedObjects(3, views=1).pairs([0])


def test_mask_is_where_a_change_of_paint_shows():
    rendered = RenderedObjects(60, views=2, seed=5)
    parameters = rendered.parameters(range(120))
    other = parameters | {"paints": 1 - parameters["paints"]}
    changed = (render(other, 33) - render(parameters, 33)).abs().amax(1)
    mask, cover = rendered.mask(range(120)), coverage(parameters, 33)
    assert mask.shape == (120, 33, 33) and mask.dtype == torch.bool
    assert torch.equal(mask, cover >= 0.5) and not changed[cover == 0].any()
    assert (changed[cover > 0.5] > 0).double().mean() > 0.97
    share = mask.float().mean((1, 2))
    assert share.min() > 0.02 and share.max() < 0.7


@pytest.mark.parametrize(
    "options",
    [
        {"n_objects": 0},
        {"views": 0},
        {"size": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"within": 0.0},
        {"within": 181.0},
        {"frame": "camera"},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RenderedObjects(**({"n_objects": 4} | options))
