from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl import augment as A

DIMS = (-2, -1)


def noise(n: int = 4, height: int = 33, width: int = 33) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def smooth(n: int = 6, height: int = 65, width: int = 65) -> Tensor:
    """Images on which interpolation hardly errs: a few long waves each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = sum(
        np.cos(rng.uniform(-7, 7, (n, 3, 1, 1)) * x + rng.uniform(-7, 7, (n, 3, 1, 1)) * y + phase)
        for phase in range(3)
    )
    return torch.from_numpy(0.5 + waves / 6).float()


def middle(images: Tensor, share: float = 0.4) -> Tensor:
    """The part that no border reaches."""
    h, w = (round(side * (1 - share) / 2) for side in images.shape[-2:])
    return images[..., h:-h, w:-w]


def angle(*degrees: float) -> dict[str, Tensor]:
    return {"angle": torch.tensor(degrees, dtype=torch.float32)}


class TestRotation:
    def test_right_angles_are_those_of_rot90(self):
        images = noise()
        turned = A.RandomRotation().replay(images, angle(0, 90, 180, -90)).images
        for k in range(4):
            torch.testing.assert_close(turned[k], images[k].rot90(k, DIMS), atol=1e-5, rtol=0)

    @pytest.mark.parametrize(("height", "width"), [(33, 33), (24, 40)])
    def test_agrees_with_scipy(self, height, width):
        """ndimage.rotate turns counter-clockwise, too, about the same centre."""
        images = smooth(3, height, width)
        turned = A.RandomRotation().replay(images, angle(30, -75, 160)).images
        for image, view, degrees in zip(images, turned, (30, -75, 160), strict=True):
            wanted = ndimage.rotate(
                image.numpy(), degrees, axes=(2, 1), reshape=False, order=1, mode="mirror"
            )
            wanted = torch.from_numpy(wanted)
            torch.testing.assert_close(middle(view), middle(wanted), atol=1e-4, rtol=0)

    def test_commutes_with_turns_of_the_image(self):
        images, drawn = noise(), angle(10, 33, -70, 140)
        rotation = A.RandomRotation()
        a = rotation.replay(images.rot90(1, DIMS), drawn).images
        b = rotation.replay(images, drawn).images.rot90(1, DIMS)
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)

    def test_range(self):
        drawn = A.RandomRotation((-20, 50)).draw((2000, 3, 9, 9))["angle"]
        assert -20 <= drawn.min() < -19 and 49 < drawn.max() <= 50
        assert abs(drawn.mean() - 15) < 2

    def test_padding(self):
        white = torch.ones(1, 3, 21, 21)
        for padding, corner in (("zeros", 0.0), ("border", 1.0), ("reflection", 1.0)):
            view = A.RandomRotation(padding=padding).replay(white, angle(45))
            assert view.images[0, 0, 0, 0] == pytest.approx(corner)

    def test_relative_is_wrapped(self):
        related = A.RandomRotation().relative(angle(170.0, -170, 10), angle(-170.0, 170, 50))
        torch.testing.assert_close(related["angle"], torch.tensor([20.0, -20, 40]))


class TestRightAngleTurn:
    def test_is_exact(self):
        images = noise()
        view = A.RightAngleTurn().replay(images, angle(0, 90, 180, 270))
        assert all(torch.equal(view.images[k], images[k].rot90(k, DIMS)) for k in range(4))

    def test_undo_and_relative_are_exact(self):
        images, turn = noise(64), A.RightAngleTurn()
        a, b = turn(images), turn(images)
        assert torch.equal(turn.undo(a.images, a.parameters), images)
        related = turn.relative(a.parameters, b.parameters)
        assert torch.equal(turn.apply(a.images, related), b.images)

    def test_draws_all_four(self):
        drawn = A.RightAngleTurn().draw((4000, 3, 9, 9))["angle"]
        values, counts = drawn.unique(return_counts=True)
        assert values.tolist() == [0, 90, 180, 270]
        assert (counts > 850).all()

    def test_oblong_images(self):
        with pytest.raises(DataError, match="crop them to squares"):
            A.RightAngleTurn()(noise(2, 8, 9))


class TestTranslation:
    def test_whole_pixels_to_the_right_and_down(self):
        images = noise(1, 20, 40)
        view = A.Translation().replay(images, {"translation": torch.tensor([[0.1, -0.25]])})
        torch.testing.assert_close(  # 4 of 40 columns to the right, 5 of 20 rows up
            view.images[..., :15, 4:], images[..., 5:, :36], atol=1e-5, rtol=0
        )

    def test_range(self):
        drawn = A.Translation(0.3).draw((2000, 3, 9, 9))["translation"]
        assert (drawn.amin(0) < -0.29).all() and (drawn.amax(0) > 0.29).all()
        assert drawn.abs().max() <= 0.3
        assert abs(torch.corrcoef(drawn.T)[0, 1]) < 0.1


class TestCrop:
    @pytest.mark.parametrize("size", [None, 16, 65])
    def test_agrees_with_torchs_resizing_of_a_box(self, size):
        """F.interpolate takes whole pixels; at the box's edge it cannot look outside, we can."""
        images = noise(1, 32, 32)
        box = torch.tensor([[4, 8, 20, 12]]) / 32
        view = A.RandomResizedCrop(size).replay(images, {"crop": box}).images
        side = size or 32
        wanted = torch.nn.functional.interpolate(
            images[..., 4:24, 8:20], (side, side), mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(middle(view, 0.8), middle(wanted, 0.8), atol=1e-5, rtol=0)

    def test_whole_image_in_another_size_is_torchs_resizing(self):
        images, crop = noise(2, 20, 30), A.RandomResizedCrop(33)
        view = crop.replay(images, crop.identity(2)).images
        wanted = torch.nn.functional.interpolate(
            images, (33, 33), mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(view, wanted, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("size", [None, 17, 24, 41])
    @pytest.mark.parametrize("k", [1, 2, 3])
    def test_turned_image_and_box_give_the_turned_view(self, size, k):
        images, crop = noise(64), A.RandomResizedCrop(size, (0.05, 1.0), (0.4, 2.5))
        box = crop.draw(images.shape, torch.Generator().manual_seed(0))
        turned_box = box["crop"]
        for _ in range(k):
            top, left, height, width = turned_box.unbind(1)
            turned_box = torch.stack([1 - left - width, top, width, height], 1)
        a = crop.replay(images.rot90(k, DIMS), {"crop": turned_box}).images
        b = crop.replay(images, box).images.rot90(k, DIMS)
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)

    def test_mirrored_image_and_box_give_the_mirrored_view(self):
        images, crop = noise(64), A.RandomResizedCrop()
        box = crop.draw(images.shape)["crop"]
        mirrored = box.clone()
        mirrored[:, 1] = 1 - box[:, 1] - box[:, 3]
        a = crop.replay(images.flip(-1), {"crop": mirrored}).images
        torch.testing.assert_close(
            a, crop.replay(images, {"crop": box}).images.flip(-1), atol=1e-5, rtol=0
        )

    @pytest.mark.parametrize(("height", "width"), [(33, 33), (20, 60)])
    def test_boxes_are_as_promised(self, height, width):
        drawn = A.RandomResizedCrop(scale=(0.1, 0.9), ratio=(0.5, 2)).draw((4000, 3, height, width))
        top, left, high, wide = drawn["crop"].double().unbind(1)
        for start, side in ((top, high), (left, wide)):
            assert (start >= 0).all() and (start + side <= 1 + 1e-6).all()
        area = high * wide
        assert area.min() > 0.0999 and area.max() < 0.9001
        # Uniform: its tenths hold a tenth each.
        assert (torch.histc(area, 8, 0.1, 0.9) - 500).abs().max() < 100
        ratio = wide * width / (high * height)
        if height == width:
            assert ratio.min() > 0.499 and ratio.max() < 2.001
            assert abs(ratio.log().mean()) < 0.03
        else:  # large boxes of an oblong image cannot be that square
            fits = area < 0.15
            assert ratio[fits].min() > 0.499 and ratio[fits].max() < 2.001

    def test_corners_are_uniform(self):
        drawn = A.RandomResizedCrop(scale=(0.25, 0.25), ratio=(1, 1)).draw((4000, 3, 33, 33))
        corners = drawn["crop"][:, :2] / 0.5
        assert (corners.mean(0) - 0.5).abs().max() < 0.03
        assert (corners.amin(0) < 0.01).all() and (corners.amax(0) > 0.99).all()


class TestFlip:
    def test_is_exact(self):
        images = noise(2)
        view = A.HorizontalFlip().replay(images, {"flip": torch.tensor([0.0, 1])})
        assert torch.equal(view.images, torch.stack([images[0], images[1].flip(-1)]))

    def test_sampled_in_a_chain_it_is_the_same(self):
        images, flip = noise(), A.HorizontalFlip()
        drawn = {"flip": torch.tensor([0.0, 1, 1, 0])}
        sampled = super(A.HorizontalFlip, flip).apply(images, drawn)
        torch.testing.assert_close(sampled, flip.apply(images, drawn), atol=1e-5, rtol=0)


UNDOABLE = [
    (A.RandomRotation(40), 0.4),
    (A.RightAngleTurn(), 0.9),
    (A.Translation(0.2), 0.4),
    (A.HorizontalFlip(), 0.9),
]


@pytest.mark.parametrize(("transformation", "share"), UNDOABLE)
def test_undo_restores_the_image(transformation, share):
    images = smooth()
    view = transformation(images, torch.Generator().manual_seed(1))
    back = transformation.undo(view.images, view.parameters)
    error = (middle(back, share) - middle(images, share)).abs().max()
    moved = (middle(view.images, share) - middle(images, share)).abs().max()
    assert error < 5e-3 < 0.1 < moved


def test_undoing_a_crop_puts_it_back_in_its_place():
    images, crop = smooth(), A.RandomResizedCrop(scale=(0.3, 0.6))
    view = crop(images)
    back = crop.undo(view.images, view.parameters)
    for image, restored, box in zip(images, back, view.parameters["crop"], strict=True):
        top, left, height, width = (float(v) * 65 for v in box)
        rows = slice(math.ceil(top) + 2, math.floor(top + height) - 2)
        columns = slice(math.ceil(left) + 2, math.floor(left + width) - 2)
        seen, again = image[:, rows, columns], restored[:, rows, columns]
        torch.testing.assert_close(again, seen, atol=1e-2, rtol=0)


@pytest.mark.parametrize(("transformation", "share"), UNDOABLE)
def test_relative_parameters_take_one_view_to_the_other(transformation, share):
    images = smooth()
    a, b = (transformation(images, torch.Generator().manual_seed(s)) for s in (1, 2))
    related = transformation.relative(a.parameters, b.parameters)
    there = transformation.apply(a.images, related)
    assert (middle(there, share) - middle(b.images, share)).abs().max() < 5e-3
    assert (middle(a.images, share) - middle(b.images, share)).abs().max() > 0.1


def test_relative_box_within_a_box():
    images, crop = smooth(), A.RandomResizedCrop()
    outer = torch.tensor([0.1, 0.2, 0.7, 0.6]).expand(6, 4)
    inner = torch.tensor([0.3, 0.25, 0.4, 0.3]).expand(6, 4)
    a, b = crop.replay(images, {"crop": outer}), crop.replay(images, {"crop": inner})
    related = crop.relative(a.parameters, b.parameters)
    torch.testing.assert_close(
        related["crop"][0], torch.tensor([0.2 / 0.7, 0.05 / 0.6, 0.4 / 0.7, 0.3 / 0.6])
    )
    torch.testing.assert_close(crop.apply(a.images, related), b.images, atol=5e-3, rtol=0)
