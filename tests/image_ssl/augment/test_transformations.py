"""What holds for every transformation."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F

from hierforecast.errors import DataError, MissingExtraError
from hierforecast.image_ssl import augment as A

ALL = [
    A.Identity(),
    A.RandomRotation(90),
    A.RandomRotation((10, 40), padding="zeros"),
    A.RightAngleTurn(),
    A.Translation(0.3),
    A.RandomResizedCrop(),
    A.RandomResizedCrop(17),
    A.HorizontalFlip(),
    A.ColorJitter(p=1),
    A.RandomGrayscale(0.5),
    A.GaussianBlur((0.5, 2)),
    A.contrastive(blur=(0.1, 1)),
    A.Compose([A.RandomRotation(30), A.Translation(), A.Identity(), A.HorizontalFlip()]),
]
SOMETIMES = [
    lambda p: A.RandomRotation((20, 40), p=p),
    lambda p: A.Translation(p=p),
    lambda p: A.RandomResizedCrop(scale=(0.2, 0.5), p=p),
    lambda p: A.HorizontalFlip(p=p),
    lambda p: A.ColorJitter(p=p),
    lambda p: A.RandomGrayscale(p=p),
    lambda p: A.GaussianBlur((0.5, 1), p=p),
]
NAMES = {
    "angle": (),
    "translation": (2,),
    "crop": (4,),
    "flip": (),
    "brightness": (),
    "contrast": (),
    "saturation": (),
    "hue": (),
    "grayscale": (),
    "blur": (),
}


def some_images(n: int = 8, height: int = 33, width: int = 33) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("augmentation", ALL, ids=lambda a: type(a).__name__)
class TestEvery:
    def test_returns_one_row_of_parameters_for_each_image(self, augmentation):
        view = augmentation(some_images())
        side = 17 if getattr(augmentation, "size", None) else 33
        assert view.images.shape == (8, 3, side, side)
        assert tuple(view.parameters) == augmentation.names
        for name, values in view.parameters.items():
            assert values.shape == (8, *NAMES[name])
            assert values.dtype == torch.float32

    def test_views_stay_images(self, augmentation):
        low, high = augmentation(some_images()).images.aminmax()
        assert low >= -1e-6 and high <= 1 + 1e-6

    def test_replay_is_bit_identical(self, augmentation):
        images = some_images()
        view = augmentation(images)
        again = augmentation.replay(images, view.parameters)
        assert torch.equal(again.images, view.images)
        assert again.parameters.keys() == view.parameters.keys()

    def test_parameters_serve_other_images(self, augmentation):
        view = augmentation(some_images())
        others = some_images(16)[8:]
        moved = augmentation.replay(others, view.parameters)
        assert moved.images.shape == view.images.shape
        alone = augmentation.replay(others[2:3], {k: v[2:3] for k, v in view.parameters.items()})
        torch.testing.assert_close(alone.images[0], moved.images[2])

    def test_same_seed_same_view(self, augmentation):
        images = some_images()

        def seeded(seed: int) -> A.View:
            return augmentation(images, torch.Generator().manual_seed(seed))

        a, b, other = seeded(1), seeded(1), seeded(2)
        assert torch.equal(a.images, b.images)
        for name in a.parameters:
            assert torch.equal(a.parameters[name], b.parameters[name])
            assert not torch.equal(a.parameters[name], other.parameters[name])
        torch.manual_seed(3)
        first = augmentation(images)
        torch.manual_seed(3)
        assert torch.equal(first.images, augmentation(images).images)

    def test_a_generator_leaves_the_global_one_alone(self, augmentation):
        before = torch.get_rng_state()
        augmentation(some_images(), torch.Generator().manual_seed(0))
        assert torch.equal(torch.get_rng_state(), before)

    def test_identity_changes_nothing(self, augmentation):
        images = some_images()
        side = getattr(augmentation, "size", None) or 33
        wanted = F.interpolate(images, (side, side), mode="bilinear", align_corners=False)
        view = augmentation.replay(images, augmentation.identity(8))
        torch.testing.assert_close(view.images, wanted, atol=1e-5, rtol=0)

    def test_a_view_is_related_to_itself_by_the_identity(self, augmentation):
        drawn = augmentation.draw((8, 3, 33, 33))
        drawn = {k: v.clamp(min=0.1) if k in ("saturation",) else v for k, v in drawn.items()}
        related, neutral = augmentation.relative(drawn, drawn), augmentation.identity(8)
        assert related.keys() == neutral.keys()
        for name in neutral:
            torch.testing.assert_close(related[name], neutral[name])

    def test_images_stay_as_they_are(self, augmentation):
        images = some_images()
        augmentation(images)
        assert torch.equal(images, some_images())

    def test_images_in_float64(self, augmentation):
        images = some_images()
        view = augmentation(images)
        double = augmentation.replay(images.double(), view.parameters).images
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), view.images, atol=1e-4, rtol=0)

    def test_mixed_precision_leaves_views_alone(self, augmentation):
        images = some_images()
        view = augmentation(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(augmentation.replay(images, view.parameters).images, view.images)

    def test_no_images(self, augmentation):
        view = augmentation(torch.zeros(0, 3, 33, 33))
        assert len(view.images) == 0
        assert all(len(values) == 0 for values in view.parameters.values())

    def test_gradients_reach_the_images(self, augmentation):
        images = some_images().requires_grad_()
        augmentation(images).images.sum().backward()
        assert images.grad is not None and images.grad.isfinite().all()


@pytest.mark.parametrize("make", SOMETIMES, ids=lambda make: type(make(0)).__name__)
class TestProbability:
    def test_untouched_images_have_the_parameters_of_the_identity(self, make):
        augmentation, images = make(0.5), some_images(200)
        view = augmentation(images, torch.Generator().manual_seed(0))
        neutral = augmentation.identity(200)
        touched = torch.zeros(200, dtype=torch.bool)
        for name, values in view.parameters.items():
            touched |= (values != neutral[name]).reshape(200, -1).any(1)
        assert 70 < touched.sum() < 130
        moved = (view.images - images).abs().amax((1, 2, 3))
        assert (moved[~touched] < 1e-5).all()
        assert (moved[touched] > 1e-3).sum() > 0.9 * touched.sum()

    def test_never_and_always(self, make):
        neutral = make(0).identity(64)
        never, always = make(0).draw((64, 3, 9, 9)), make(1).draw((64, 3, 9, 9))
        for name in neutral:
            assert torch.equal(never[name], neutral[name])
            assert (always[name] != neutral[name]).reshape(64, -1).any(1).all()

    def test_no_probability(self, make):
        with pytest.raises(ValueError, match="between 0 and 1"):
            make(1.5)


class TestErrors:
    @pytest.mark.parametrize(
        ("images", "remedy"),
        [
            (torch.zeros(2, 9, 9, 3), r"permute\(0, 3, 1, 2\)"),
            (torch.zeros(3, 9, 9), r"images\[None\]"),
            (torch.zeros(2, 1, 9, 9), r"not \(b, 3, h, w\)"),
            (torch.zeros(2, 3, 9, 9, dtype=torch.uint8), r"as_float"),
            (torch.zeros(2, 3, 9, 9, dtype=torch.float16), r"images\.float\(\)"),
            (torch.full((2, 3, 9, 9), 255.0), r"divide bytes by 255"),
            (torch.randn(2, 3, 9, 9), r"standardize after"),
            (torch.full((2, 3, 9, 9), torch.nan), r"run from nan"),
        ],
    )
    def test_images(self, images, remedy):
        with pytest.raises(DataError, match=remedy):
            A.Identity()(images)

    def test_a_little_beyond_the_range_is_no_error(self):
        A.Identity()(torch.full((1, 3, 9, 9), 1.01))

    def test_parameters_of_another_augmentation(self):
        images, rotation = some_images(), A.RandomRotation()
        with pytest.raises(DataError, match=r"no parameter 'angle' among \['blur'\]"):
            rotation.replay(images, {"blur": torch.zeros(8)})
        with pytest.raises(DataError, match=r"shape \(7,\) for 8 images"):
            rotation.replay(images, {"angle": torch.zeros(7)})

    def test_a_part_takes_the_parameters_of_the_whole(self):
        images, whole = some_images(), A.contrastive()
        view = A.HorizontalFlip().replay(images, whole(images).parameters)
        assert list(view.parameters) == ["flip"]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: A.RandomRotation((40, 10)), "low <= high"),
            (lambda: A.RandomRotation(padding="mirror"), "padding 'mirror'"),
            (lambda: A.Translation(2), "fraction=2"),
            (lambda: A.ColorJitter(hue=1), "hue=1"),
            (lambda: A.ColorJitter(contrast=-1), "contrast=-1"),
            (lambda: A.GaussianBlur((-1, 1)), "sigma"),
            (lambda: A.RandomResizedCrop(scale=(0.0, 1.0)), "scale"),
            (lambda: A.RandomResizedCrop(0), "size=0"),
        ],
    )
    def test_settings(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()

    @pytest.mark.parametrize("augmentation", [A.GaussianBlur(), A.RandomGrayscale()])
    def test_what_cannot_be_undone_says_so(self, augmentation):
        view = augmentation(some_images())
        with pytest.raises(DataError, match="cannot be undone"):
            augmentation.undo(view.images, view.parameters)

    def test_blur_without_kornia_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "kornia.filters", None)
        with pytest.raises(MissingExtraError, match=r"hierforecast\[image\]"):
            A.GaussianBlur()(some_images())
        A.contrastive()(some_images())  # needs none
