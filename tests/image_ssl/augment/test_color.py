from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl import augment as A


def dull(n: int = 16, size: int = 17) -> Tensor:
    """Images in the middle of the range, so that nothing is clipped."""
    return 0.4 + 0.2 * torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def colors(n: int = 1, **values: float) -> dict[str, Tensor]:
    drawn = A.ColorJitter().identity(n)
    return drawn | {name: torch.full((n,), value) for name, value in values.items()}


def step_by_step(image: np.ndarray, b: float, c: float, s: float, h: float) -> np.ndarray:
    """One image (3, h, w), one change after the other, chroma as a complex number."""

    def luma(x: np.ndarray) -> np.ndarray:
        return 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]

    image = image * b
    image = luma(image).mean() + c * (image - luma(image).mean())
    image = luma(image) + s * (image - luma(image))
    y = luma(image)
    chroma = 0.492 * (image[2] - y) + 1j * 0.877 * (image[0] - y)
    chroma = chroma * np.exp(2j * math.pi * h)
    blue, red = y + chroma.real / 0.492, y + chroma.imag / 0.877
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return np.stack([red, green, blue]).clip(0, 1)


class TestJitter:
    @pytest.mark.parametrize("bright", [False, True])
    def test_is_what_one_change_after_the_other_gives(self, bright):
        images = torch.rand(16, 3, 9, 9) if bright else dull()
        jitter = A.ColorJitter(0.8, 0.8, 0.8, 0.5, p=1)
        view = jitter(images.double())
        for image, changed, *drawn in zip(
            images.double().numpy(), view.images.numpy(), *view.parameters.values(), strict=True
        ):
            wanted = step_by_step(image, *(float(value) for value in drawn))
            np.testing.assert_allclose(changed, wanted, atol=1e-6)

    def test_the_order_of_changes_does_not_matter(self):
        images, jitter = dull().double(), A.ColorJitter(0.1, 0.1, 0.1, 0.5, p=1)
        drawn = jitter.draw(images.shape)
        at_once, one_by_one = jitter.apply(images, drawn), images
        for name in ("hue", "contrast", "brightness", "saturation"):
            one_by_one = jitter.apply(one_by_one, jitter.identity(16) | {name: drawn[name]})
        assert ((at_once > 0) & (at_once < 1)).all()
        torch.testing.assert_close(at_once, one_by_one, atol=1e-9, rtol=0)

    def test_a_third_of_a_turn_takes_red_to_green_to_blue(self):
        red = torch.tensor([0.6, 0.4, 0.4]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
        view = A.ColorJitter().replay(red, colors(hue=1 / 3)).images[0, :, 0, 0].tolist()
        again = A.ColorJitter().replay(red, colors(hue=2 / 3)).images[0, :, 0, 0].tolist()
        assert abs(colorsys.rgb_to_hsv(*view)[0] - 1 / 3) < 0.06
        assert abs(colorsys.rgb_to_hsv(*again)[0] - 2 / 3) < 0.06

    def test_greys_have_no_hue(self):
        grey = torch.rand(2, 1, 5, 5).expand(2, 3, 5, 5)
        view = A.ColorJitter().replay(grey, colors(2, hue=0.3, saturation=1.7))
        torch.testing.assert_close(view.images, grey, atol=1e-6, rtol=0)

    def test_the_identity_changes_no_bit(self):
        images = torch.rand(4, 3, 9, 9)
        assert torch.equal(A.ColorJitter().replay(images, colors(4)).images, images)

    def test_undo(self):
        images, jitter = dull(), A.ColorJitter(0.2, 0.3, 0.3, 0.5, p=1)
        view = jitter(images)
        assert (view.images - images).abs().max() > 0.05
        back = jitter.undo(view.images, view.parameters)
        torch.testing.assert_close(back, images, atol=1e-5, rtol=0)

    def test_relative(self):
        images, jitter = dull(), A.ColorJitter(0.2, 0.3, 0.3, 0.5, p=1)
        a, b = jitter(images), jitter(images)
        related = jitter.relative(a.parameters, b.parameters)
        assert related["hue"].abs().max() <= 0.5
        there = jitter.apply(a.images, related)
        torch.testing.assert_close(there, b.images, atol=1e-5, rtol=0)

    def test_lost_colors_cannot_be_undone(self):
        with pytest.raises(DataError, match="saturation 0 cannot be undone"):
            A.ColorJitter().inverse(colors(saturation=0.0))

    def test_ranges(self):
        drawn = A.ColorJitter(0.2, 0.4, 1.5, 0.1, p=1).draw((4000, 3, 9, 9))
        wanted = {
            "brightness": (0.8, 1.2),
            "contrast": (0.6, 1.4),
            "saturation": (0.0, 2.5),
            "hue": (-0.1, 0.1),
        }
        for name, (low, high) in wanted.items():
            slack = 0.01 * (high - low)
            assert low - 1e-6 <= drawn[name].min() < low + slack
            assert high - slack < drawn[name].max() <= high + 1e-6


class TestGrayscale:
    def test_agrees_with_kornia(self):
        color = pytest.importorskip("kornia.color")
        images = torch.rand(2, 3, 9, 9)
        view = A.RandomGrayscale().replay(images, {"grayscale": torch.tensor([1.0, 0])})
        grey = color.rgb_to_grayscale(images[:1]).expand(1, 3, 9, 9)
        torch.testing.assert_close(view.images[:1], grey)
        assert torch.equal(view.images[1], images[1])

    def test_relative(self):
        a, b = torch.tensor([0.0, 0, 1, 1]), torch.tensor([0.0, 1, 0, 1])
        related = A.RandomGrayscale().relative({"grayscale": a}, {"grayscale": b})
        assert related["grayscale"].tolist() == [0, 1, -1, 0]


class TestBlur:
    def test_agrees_with_scipy(self):
        pytest.importorskip("kornia")
        images = torch.rand(4, 3, 21, 25, dtype=torch.float64)
        sigma = torch.tensor([0.0, 0.6, 1.1, 2.0])
        blur = A.GaussianBlur((0.1, 2.0))
        view = blur.replay(images, {"blur": sigma})
        assert torch.equal(view.images[0], images[0])
        for image, blurred, s in zip(images[1:], view.images[1:], sigma[1:], strict=True):
            wanted = ndimage.gaussian_filter(
                image.numpy(), float(s), mode="mirror", radius=blur.radius, axes=(1, 2)
            )
            np.testing.assert_allclose(blurred.numpy(), wanted, atol=1e-6)

    def test_commutes_with_turns(self):
        pytest.importorskip("kornia")
        images, blur = torch.rand(4, 3, 17, 17), A.GaussianBlur((0.5, 1.5), p=1)
        view = blur(images)
        turned = blur.replay(images.rot90(1, (-2, -1)), view.parameters).images
        torch.testing.assert_close(turned, view.images.rot90(1, (-2, -1)))

    def test_relative(self):
        """Blurs add up by their variances, on images that the pixel grid resolves."""
        pytest.importorskip("kornia")
        blur = A.GaussianBlur((0.1, 3.0))
        images = blur.replay(torch.rand(2, 3, 65, 65), {"blur": torch.full((2,), 2.0)}).images
        a = blur.replay(images, {"blur": torch.tensor([0.0, 1.0])})
        b = blur.replay(images, {"blur": torch.tensor([2.0, 2.0])})
        related = blur.relative(a.parameters, b.parameters)
        there = blur.apply(a.images, related)[..., 9:-9, 9:-9]
        torch.testing.assert_close(there, b.images[..., 9:-9, 9:-9], atol=1e-3, rtol=0)
        back = blur.relative(b.parameters, a.parameters)
        torch.testing.assert_close(back["blur"], -related["blur"])

    def test_small_images(self):
        pytest.importorskip("kornia")
        with pytest.raises(DataError, match="more than 6 pixels"):
            A.GaussianBlur((0.1, 2))(torch.rand(2, 3, 6, 6))
