from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl import augment as A
from tests.counting import Operations


def smooth(n: int = 6, size: int = 65) -> Tensor:
    """Plain gradients and a long wave, in three colours."""
    place = torch.linspace(0, 1, size)
    y, x = place[:, None].expand(size, size), place[None].expand(size, size)
    image = torch.stack([0.3 + 0.4 * x, 0.3 + 0.4 * y, 0.5 + 0.2 * torch.cos(6 * (x - y))])
    return image.expand(n, 3, size, size)


def one_after_the_other(chain: A.Compose, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    for step in chain.steps:
        images = step.apply(images, parameters)
    return images


def test_merges_the_parameters_of_all_steps():
    chain = A.Compose([A.RandomRotation(), A.Compose([A.ColorJitter(), A.GaussianBlur()])])
    wanted = ("angle", "brightness", "contrast", "saturation", "hue", "blur")
    assert chain.names == wanted
    assert tuple(chain.draw((2, 3, 9, 9))) == wanted
    assert tuple(chain.identity(2)) == wanted


def test_a_name_may_come_once():
    with pytest.raises(ValueError, match="parameter 'angle'"):
        A.Compose([A.RandomRotation(), A.RightAngleTurn()])


def test_box_and_flip_are_sampled_once():
    images, chain = (
        torch.rand(32, 3, 33, 33),
        A.Compose([A.RandomResizedCrop(), A.HorizontalFlip()]),
    )
    view = chain(images)
    wanted = one_after_the_other(chain, images, view.parameters)
    torch.testing.assert_close(view.images, wanted, atol=1e-5, rtol=0)


def test_a_long_geometric_chain_is_sampled_once_in_the_right_order():
    """On smooth images two interpolations are one, away from the borders."""
    images = smooth(32)
    chain = A.Compose(
        [
            A.RandomRotation(60),
            A.RandomResizedCrop(41, (0.5, 0.6), (0.8, 1.2)),
            A.HorizontalFlip(),
            A.Translation(0.1),
        ]
    )
    view = chain(images, torch.Generator().manual_seed(0))
    assert view.images.shape == (32, 3, 41, 41)
    wanted = one_after_the_other(chain, images, view.parameters)
    inner = (..., slice(15, 26), slice(15, 26))
    torch.testing.assert_close(view.images[inner], wanted[inner], atol=5e-3, rtol=0)
    backwards = A.Compose(chain.steps[::-1]).replay(images, view.parameters).images
    assert (backwards[inner] - wanted[inner]).abs().max() > 0.05


def test_one_sampling_is_sharper_than_several():
    checks = torch.zeros(1, 3, 33, 33)
    checks[..., ::4] = 1
    drawn = {"angle": torch.tensor([5.0]), "translation": torch.tensor([[0.02, 0.0]])}
    chain = A.Compose([A.RandomRotation(), A.Translation()])
    once = chain.replay(checks, drawn).images
    assert once.std() > one_after_the_other(chain, checks, drawn).std()


def test_steps_that_pad_otherwise_are_sampled_apart():
    images = torch.ones(1, 3, 33, 33)
    chain = A.Compose([A.RandomRotation(padding="zeros"), A.RandomResizedCrop()])
    drawn = {"angle": torch.tensor([45.0]), "crop": torch.tensor([[0.0, 0.0, 1.0, 1.0]])}
    view = chain.replay(images, drawn).images
    torch.testing.assert_close(view, one_after_the_other(chain, images, drawn))
    assert view[0, 0, 0, 0] == 0


def test_undo_goes_backwards():
    images = smooth()
    chain = A.Compose(
        [A.RandomRotation(30), A.Translation(0.1), A.HorizontalFlip(), A.ColorJitter(0.1, 0.1, 0.1)]
    )
    view = chain(images, torch.Generator().manual_seed(0))
    inner = (..., slice(24, 41), slice(24, 41))
    back = chain.undo(view.images, view.parameters)
    # The padding moves the mean luma a little, about which contrast is told.
    torch.testing.assert_close(back[inner], images[inner], atol=5e-3, rtol=0)
    assert (view.images[inner] - images[inner]).abs().amax((1, 2, 3)).min() > 0.02
    with pytest.raises(DataError, match=r"use undo\(\)"):
        chain.inverse(view.parameters)


def test_relative_parameters_of_steps_that_commute():
    images = smooth(16)
    chain = A.Compose([A.RandomRotation(30), A.ColorJitter(0.1, 0.0, 0.2, 0.1)])
    a, b = chain(images), chain(images)
    there = chain.apply(a.images, chain.relative(a.parameters, b.parameters))
    inner = (..., slice(20, 45), slice(20, 45))
    torch.testing.assert_close(there[inner], b.images[inner], atol=1e-2, rtol=0)


def test_later_steps_draw_for_the_size_that_they_see():
    """A box within a square view of an oblong image is drawn as in a square."""

    class Recorder(A.Identity):
        def draw(self, images_shape, generator=None):
            self.seen = images_shape
            return {}

    recorder = Recorder()
    A.Compose([A.Compose([A.RandomResizedCrop(9)]), recorder]).draw((2, 3, 20, 40))
    assert recorder.seen == (2, 3, 9, 9)


def test_an_empty_chain_does_nothing():
    images = torch.rand(2, 3, 9, 9)
    view = A.Compose([])(images)
    assert torch.equal(view.images, images) and view.parameters == {}


class TestContrastive:
    def test_draws_what_the_papers_draw(self):
        drawn = A.contrastive(strength=1.0, blur=(0.1, 2.0)).draw((4000, 3, 33, 33))
        box = drawn["crop"]
        assert 0.3 - 1e-5 < (box[:, 2] * box[:, 3]).min() < 0.31
        assert abs(drawn["flip"].mean() - 0.5) < 0.04
        assert abs(drawn["grayscale"].mean() - 0.2) < 0.04
        assert abs((drawn["hue"] != 0).float().mean() - 0.8) < 0.04
        assert abs((drawn["blur"] > 0).float().mean() - 0.5) < 0.04
        assert math.isclose(drawn["brightness"].max(), 1.8, abs_tol=0.01)
        assert math.isclose(drawn["hue"].max(), 0.2, abs_tol=0.01)

    def test_size_and_blur_are_options(self):
        chain = A.contrastive(33)
        assert chain(torch.rand(2, 3, 32, 32)).images.shape == (2, 3, 33, 33)
        assert "blur" not in chain.names

    def test_two_views_differ(self):
        images, chain = torch.rand(8, 3, 33, 33), A.contrastive()
        a, b = chain(images).images, chain(images).images
        assert ((a - b).abs().amax((1, 2, 3)) > 0.05).all()

    def test_draws_and_warps_all_images_at_once(self):
        """As many operations for many images as for few, none of them on copies side by side."""
        chain, found = A.contrastive(blur=(0.1, 1.0)), []
        for count in (16, 64):
            images = torch.rand(count, 3, 33, 33)
            chain(images)
            with Operations() as operations:
                chain(images)
            assert operations.largest == images.numel()
            found.append(operations.by_name.total())
        assert found[0] == found[1] < 500


def moved(point, size, name, value):
    """Where a step brings a point (x, y), fractions of images of this size, in numbers alone."""
    height, width = size
    x, y = point
    right, down = (x - 0.5) * width, (y - 0.5) * height
    if name == "flip":
        return (1 - x if value > 0.5 else x), y
    if name == "translation":
        return x + value[0], y + value[1]
    if name == "crop":
        top, left, tall, wide = value
        return (x - left) / wide, (y - top) / tall
    if name == "shear":
        return (right - value * down) / width + 0.5, y
    cos, sin = math.cos(math.radians(value)), math.sin(math.radians(value))
    right, down = cos * right + sin * down, cos * down - sin * right
    return right / width + 0.5, down / height + 0.5


def walked(point, size, chain, parameters, row):
    for step in chain:
        for name in step.names:
            point = moved(point, size, name, parameters[name][row].tolist())
        size = step.view_size(size)
    return point, size


GEOMETRY = {
    "flip": lambda size: A.HorizontalFlip(),
    "turn": lambda size: A.RandomRotation(180),
    "quarter": lambda size: A.RightAngleTurn(),
    "shift": lambda size: A.Translation(0.4),
    "box": lambda size: A.RandomResizedCrop(size, (0.2, 0.9), (0.4, 2.5)),
}
ORDER = ("flip", "angle", "translation", "crop", "shear")


@pytest.mark.parametrize("size", [(1, 1), (40, 25)])
@pytest.mark.parametrize("seed", range(30))
def test_relative_parameters_of_any_chain_are_exact(seed, size):
    """A point of the image, seen in both views, is where the relative parameters bring it."""
    draw = random.Random(seed)
    turn = draw.choice(["turn", "turn", "quarter"] if size == (1, 1) else ["turn"])
    kinds = draw.sample(["flip", turn, "shift", "box"], draw.randint(2, 4))
    steps = [GEOMETRY[kind](draw.choice([None, 17])) for kind in kinds]
    chain = A.Compose([steps[0], A.ColorJitter(), A.Compose(steps[1:]), A.GaussianBlur()])
    made = torch.Generator().manual_seed(seed)
    a, b = (chain.draw((4, 3, *size), made) for _ in range(2))
    a, b = ({name: values.double() for name, values in one.items()} for one in (a, b))
    related = chain.relative(a, b, size)
    assert tuple(related) == chain.relative_names
    assert ("shear" in related) == ("box" in kinds and turn in kinds)
    for row in range(4):
        point = draw.random(), draw.random()
        (first, view), (second, _) = (walked(point, size, steps, one, row) for one in (a, b))
        for name in ORDER:
            if name in related:
                first = moved(first, view, name, related[name][row].tolist())
        assert first == pytest.approx(second, rel=0, abs=1e-10)


def test_relative_parameters_of_a_chain_leave_what_does_not_change():
    chain = A.Compose(
        [A.HorizontalFlip(), A.RandomRotation(), A.Translation(), A.RandomResizedCrop()]
    )
    a = chain.draw((8, 3, 9, 9))
    neutral = {**chain.identity(8), "shear": torch.zeros(8)}
    for name in (None, "translation", "crop"):
        b = {**a, **({} if name is None else {name: chain.draw((8, 3, 9, 9))[name]})}
        related = chain.relative(a, b)
        for other in related:
            if other == name:
                continue
            torch.testing.assert_close(related[other], neutral[other], atol=1e-5, rtol=0)
    assert all(values.dtype == torch.float32 for values in related.values())


def test_a_chain_of_one_place_and_colours_is_told_step_by_step():
    chain = A.Compose([A.RandomResizedCrop(), A.ColorJitter(), A.GaussianBlur()])
    a, b = (chain.draw((8, 3, 9, 9)) for _ in range(2))
    related = chain.relative(a, b)
    for step in chain.steps:
        for name, values in step.relative(a, b).items():
            assert torch.equal(related[name], values)
