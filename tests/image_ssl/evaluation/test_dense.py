"""The dense probe: its counts against loops and scikit-learn, its maps, its errors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import ShapeMasks
from hierforecast.image_ssl.data.shapes import CLASSES, RenderedShapes
from hierforecast.image_ssl.evaluation import (
    DenseScore,
    SegmentedImages,
    average_maps,
    confusion_of,
    dense_probe,
    flatten_maps,
)
from hierforecast.image_ssl.evaluation.dense import _enlarge
from hierforecast.image_ssl.nn.resnet import small_resnet

IGNORED = 255


class Pixels(nn.Module):
    """Maps that are the image itself at every `stride`-th pixel, (b, 3, 1, h', w')."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def maps(self, images: Tensor) -> Tensor:
        return images[:, :, None, :: self.stride, :: self.stride]


def halves(n: int = 16, size: int = 9, seed: int = 0) -> SegmentedImages:
    """Noise, reddish left of a border and bluish right of it, which is what the masks say."""
    rng = np.random.default_rng(seed)
    border = rng.integers(2, size - 2, n)
    masks = (np.arange(size) >= border[:, None, None]).repeat(size, axis=1).astype(np.int64)
    images = rng.integers(0, 100, (n, 3, size, size))
    images[:, 0] += 100 * (1 - masks)
    images[:, 2] += 100 * masks
    return SegmentedImages(
        torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(masks), ("left", "right")
    )


def guesses(classes: int = 5, absent: int | None = None) -> tuple[Tensor, Tensor]:
    masks = torch.randint(classes, (4, 6, 7))
    predicted = torch.where(torch.rand(4, 6, 7) < 0.6, masks, torch.randint(classes, (4, 6, 7)))
    if absent is not None:
        masks[masks == absent], predicted[predicted == absent] = 0, 0
    masks[torch.rand(4, 6, 7) < 0.1] = IGNORED
    return predicted, masks


@pytest.mark.parametrize("absent", [None, 3])
def test_scores_against_scikit_learn_and_loops(absent):
    predicted, masks = guesses(absent=absent)
    counted = masks != IGNORED
    confusion = confusion_of(predicted, masks, 5, IGNORED)
    truth, said = masks[counted].numpy(), predicted[counted].numpy()
    assert np.array_equal(confusion, confusion_matrix(truth, said, labels=range(5)))
    score = DenseScore(confusion, tuple("abcde"))
    assert score.mean_iou == pytest.approx(jaccard_score(truth, said, average="macro"))
    assert score.mean_accuracy == pytest.approx(recall_score(truth, said, average="macro"))
    assert score.pixel_accuracy == pytest.approx(float((truth == said).mean()))
    ious = []
    for label in range(5):
        both = sum(t == label and s == label for t, s in zip(truth, said, strict=True))
        any_ = sum(t == label or s == label for t, s in zip(truth, said, strict=True))
        ious.append(both / any_ if any_ else float("nan"))
    assert np.allclose(score.iou, ious, equal_nan=True)
    assert list(score.iou.isnan().nonzero().flatten()) == ([] if absent is None else [absent])
    assert list(score.table().metric) == ["mIoU", "mAcc", "aAcc"]
    assert list(score.table().score) == [score.mean_iou, score.mean_accuracy, score.pixel_accuracy]


def test_a_class_that_is_only_predicted_counts_for_iou_and_not_for_accuracy():
    masks, predicted = torch.zeros(1, 2, 2).long(), torch.tensor([[[0, 0], [0, 1]]])
    score = DenseScore(confusion_of(predicted, masks, 3), tuple("abc"))
    assert score.iou[:2].tolist() == [0.75, 0.0] and score.iou[2].isnan()
    assert score.mean_iou == 0.375 and score.mean_accuracy == 0.75


def test_counts_add_up_over_batches():
    predicted, masks = guesses()
    parts = [confusion_of(predicted[i : i + 1], masks[i : i + 1], 5, IGNORED) for i in range(4)]
    assert torch.equal(sum(parts), confusion_of(predicted, masks, 5, IGNORED))


def test_a_linear_map_tells_colours():
    got = dense_probe(Pixels(), halves(), halves(seed=1), progress=False)
    assert got.pixel_accuracy > 0.9 and got.classes == ("left", "right")
    assert int(got.confusion.sum()) == 16 * 81
    wrong = halves(seed=1)
    wrong = SegmentedImages(wrong.images, 1 - wrong.masks, wrong.classes)
    assert dense_probe(Pixels(), halves(), wrong, progress=False).pixel_accuracy < 0.1


@pytest.mark.parametrize("ignored", [IGNORED, 2])
def test_ignored_pixels_neither_teach_nor_count(ignored):
    """Whether their number is beyond the classes or that of one, as ADE20K has it."""
    names = ("left", "right", "nothing")
    train, test = halves(), halves(seed=1)
    spoilt, queried = train.masks.clone(), test.masks.clone()
    spoilt[:, :3], queried[:, :, 4:] = ignored, ignored
    seen = SegmentedImages(train.images, spoilt, names, ignored)
    got = dense_probe(
        Pixels(), seen, SegmentedImages(test.images, queried, names, ignored), progress=False
    )
    assert int(got.confusion.sum()) == 16 * 9 * 4 and got.pixel_accuracy > 0.9
    assert int(got.confusion[2].sum()) == int(got.confusion[:, 2].sum()) == 0
    assert got.iou.isnan().tolist() == [False, False, True]
    nothing = SegmentedImages(train.images, torch.full_like(spoilt, ignored), names, ignored)
    with pytest.raises(DataError, match="none is evaluated"):
        dense_probe(Pixels(), nothing, nothing, progress=False)


def test_maps_are_enlarged_where_they_were_sampled():
    ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    assert torch.allclose(_enlarge(ramp[..., ::4, ::4], (9, 9)), ramp)  # a plane stays a plane
    even = torch.rand(1, 2, 4, 4)
    found = _enlarge(even, (8, 8))
    assert torch.allclose(found.rot90(1, (2, 3)), _enlarge(even.rot90(1, (2, 3)), (8, 8)))
    assert _enlarge(torch.rand(1, 2, 1, 1), (5, 5)).shape == (1, 2, 5, 5)


def test_pools():
    x = torch.rand(2, 3, 4, 5, 5)
    assert torch.equal(flatten_maps(x)[:, 4 * 2 + 1], x[:, 2, 1])
    assert torch.equal(average_maps(x)[:, 2], x[:, 2].mean(1))


def test_masks_kept_in_memory_are_those_of_the_set():
    shapes = ShapeMasks(RenderedShapes(12, seed=3, size=17))
    got = SegmentedImages.of(shapes, batch_size=5)
    assert got.classes == ("background", *CLASSES) and len(got) == 12 and got.ignored is None
    for row in range(12):
        assert all(torch.equal(a, b) for a, b in zip(got[row], shapes[row], strict=True))
    network = small_resnet("C1", 2)
    here, there = (dense_probe(network, s, s, epochs=1, progress=False) for s in (got, shapes))
    assert torch.equal(here.confusion, there.confusion)


@pytest.mark.parametrize("pool", [flatten_maps, average_maps])
def test_a_network_is_probed_and_left_as_it_was(pool):
    network = small_resnet("C4", 2).train()
    network.stages[1].eval()
    state, modes = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()]
    train, test = (ShapeMasks(RenderedShapes(30, seed, 17)) for seed in (0, 1))
    first = dense_probe(network, train, test, pool, epochs=2, batch_size=8, progress=False)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [m.training for m in network.modules()] == modes
    torch.manual_seed(5)
    again = dense_probe(network, train, test, pool, epochs=2, batch_size=8, progress=False)
    assert torch.equal(first.confusion, again.confusion)
    assert int(first.confusion.sum()) == 30 * 17 * 17


def test_sets_and_masks_that_do_not_fit():
    good = halves()
    with pytest.raises(DataError, match=r"masks are torch\.uint8 \(16, 9, 8\).*own size"):
        SegmentedImages(good.images, good.masks[..., 1:], good.classes)
    with pytest.raises(DataError, match="a mask has class 2, but there are 2"):
        SegmentedImages(good.images, good.masks + 1, good.classes)
    with pytest.raises(DataError, match=r"masks are torch\.float32"):
        SegmentedImages(good.images, good.masks.float(), good.classes)
    with pytest.raises(DataError, match="give uint8"):
        SegmentedImages(good.images.float(), good.masks, good.classes)
    with pytest.raises(DataError, match="there are 0 classes"):
        SegmentedImages(good.images, good.masks, ())
    other = SegmentedImages(good.images, good.masks, ("a", "b"))
    with pytest.raises(DataError, match="other classes"):
        dense_probe(Pixels(), good, other, progress=False)
    with pytest.raises(
        DataError, match=r"masks are \(9, 9\), the images that the network sees \(7, 7\)"
    ):
        crop = lambda x: x[..., 1:-1, 1:-1].float() / 255  # noqa: E731
        dense_probe(Pixels(), good, good, prepare=crop, progress=False)
    with pytest.raises(DataError, match=r"a pool gives \(b, d, h, w\)"):
        dense_probe(Pixels(), good, good, lambda x: x, progress=False)
    with pytest.raises(DataError, match="differ in size"):
        confusion_of(torch.zeros(2, 3), torch.zeros(2, 4), 2)


def test_a_map_that_never_varies_is_harmless():
    class Dead(Pixels):
        def maps(self, images: Tensor) -> Tensor:
            found = super().maps(images).clone()
            found[:, 1] = 0.3
            return found

    got = dense_probe(Dead(), halves(), halves(seed=1), progress=False)
    assert got.pixel_accuracy > 0.9
