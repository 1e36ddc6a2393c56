from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import ArrayImages, ImageSet, as_float, collate
from hierforecast.image_ssl.groups import ImageAction

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 3, 5, 5), dtype=np.uint8)
LABELS = np.arange(10) % 3
NAMES = ("a", "b", "c")


class OneByOne(ImageSet):
    """A set that only knows how to give one image: everything else must come from the base."""

    classes = NAMES

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        return torch.from_numpy(IMAGES[index]), torch.tensor(LABELS[index])

    @property
    def labels(self):
        return torch.from_numpy(LABELS)


SETS = {"array": lambda: ArrayImages(IMAGES, LABELS, NAMES), "one by one": OneByOne}


@pytest.mark.parametrize("kind", SETS)
def test_a_loader_gives_the_same_batches_either_way(kind):
    loader = DataLoader(SETS[kind](), batch_size=4, collate_fn=collate)
    images, labels = (torch.cat(column) for column in zip(*loader, strict=True))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert images.dtype == torch.uint8 and labels.dtype == torch.int64


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize(
    "indices", [[7, 0, 0, -1], np.array([7, 0, 0, 9]), torch.tensor([7, 0, 0, -1])]
)
def test_subset(kind, indices):
    part = SETS[kind]().subset(indices)
    expected = [7, 0, 0, 9]
    assert len(part) == 4 and part.classes == NAMES and not part.multi_label
    np.testing.assert_array_equal(part.labels, LABELS[expected])
    for position, number in enumerate(expected):
        np.testing.assert_array_equal(part[position][0], IMAGES[number])
    np.testing.assert_array_equal(part.__getitems__([3, 1])[0], IMAGES[[9, 0]])
    np.testing.assert_array_equal(part.subset([1, 3]).in_memory(1).images, IMAGES[[0, 9]])


@pytest.mark.parametrize("kind", SETS)
def test_subset_by_mask_and_its_errors(kind):
    images = SETS[kind]()
    np.testing.assert_array_equal(images.subset(LABELS == 1).labels, [1, 1, 1])
    assert len(images.subset([])) == 0
    with pytest.raises(IndexError, match="no image 10 in a set of 10"):
        images.subset([0, 10])
    with pytest.raises(IndexError, match="mask"):
        images.subset([True, False])


def test_a_subset_is_not_tied_to_the_arrays():
    images = torch.from_numpy(IMAGES.copy())
    part = ArrayImages(images, LABELS, NAMES).subset([0, 1])
    images.zero_()
    np.testing.assert_array_equal(part.images, IMAGES[:2])


def test_in_memory_keeps_several_labels():
    labels = np.array([[0, 1, np.nan]] * 10, np.float32)
    images = ArrayImages(IMAGES, labels, NAMES, multi_label=True)
    kept = images.in_memory(batch_size=3)
    assert kept.multi_label and kept.labels.dtype == torch.float32
    np.testing.assert_array_equal(kept.labels, labels)
    assert images[0][1].shape == (3,)


def triangle(length: int, size: int) -> np.ndarray:
    """Weights (size, length) of a bilinear resize, smoothed where it shrinks, in float64."""
    scale = length / size
    centres = (np.arange(size) + 0.5) * scale
    away = np.abs(np.arange(length) + 0.5 - centres[:, None]) / max(scale, 1)
    weights = np.clip(1 - away, 0, None)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("size", [3, 4, 5, 7, 10])
def test_resized_is_bilinear_and_smoothed(size):
    images = ArrayImages(IMAGES, LABELS, NAMES)
    resized = images.resized(size)
    weights = triangle(5, size)
    exact = np.einsum("yh,nchw,xw->ncyx", weights, IMAGES.astype(float), weights)
    assert resized.images.dtype == torch.uint8 and resized.images.shape == (10, 3, size, size)
    assert np.abs(resized.images.numpy() - exact).max() <= 0.51
    np.testing.assert_array_equal(resized.labels, LABELS)
    assert resized.classes == NAMES and (resized is images) == (size == 5)


@pytest.mark.parametrize(("size", "other"), [(32, 33), (33, 32), (32, 16), (24, 9)])
def test_resizing_commutes_with_turns(size, other):
    images = torch.randint(0, 256, (20, 3, size, size), dtype=torch.uint8)
    action = ImageAction("D4")

    def resize(images):
        return ArrayImages(images, torch.zeros(20, dtype=torch.int64), ["a"]).resized(other).images

    for a in action.elements():
        assert torch.equal(resize(action.act(a, images)), action.act(a, resize(images)))


def test_resized_keeps_labels_of_any_kind_and_refuses_no_size(monkeypatch):
    monkeypatch.setattr("hierforecast.image_ssl.data.arrays._AT_ONCE", 3)
    labels = np.array([[0, 1, np.nan]] * 10, np.float32)
    whole = ArrayImages(IMAGES, labels, NAMES, multi_label=True)
    resized = whole.resized(9)
    np.testing.assert_array_equal(resized.labels, labels)
    assert resized.multi_label and len(whole.subset([]).resized(9)) == 0
    one = whole.subset([7]).resized(9).images
    np.testing.assert_array_equal(resized.images[7:8], one)
    with pytest.raises(ValueError, match="size=0"):
        whole.resized(0)


def test_as_float():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert as_float(images).tolist() == pytest.approx([0, 0.2, 1])
    assert as_float(images).dtype == torch.float32
    with pytest.raises(TypeError, match="already"):
        as_float(as_float(images))


@pytest.mark.parametrize(
    ("images", "labels", "multi_label", "message"),
    [
        (IMAGES.transpose(0, 2, 3, 1), LABELS, False, "channels first"),
        (IMAGES[:, 0], LABELS, False, "shape"),
        (IMAGES / 255.0, LABELS, False, "uint8 from 0 to 255"),
        (IMAGES, LABELS[:9], False, "10 images have 9 labels"),
        (IMAGES, LABELS + 1, False, "number them from 0"),
        (IMAGES, LABELS - 1, False, "number them from 0"),
        (IMAGES, LABELS / 1.0, False, "multi_label=True"),
        (IMAGES, np.zeros((10, 2)), True, r"not \(n, 3\)"),
        (IMAGES, np.full((10, 3), 0.5), True, "0, 1 or NaN"),
    ],
)
def test_what_does_not_fit_is_refused(images, labels, multi_label, message):
    with pytest.raises(DataError, match=message):
        ArrayImages(images, labels, NAMES, multi_label)
