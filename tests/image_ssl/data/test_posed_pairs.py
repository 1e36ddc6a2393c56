"""Pairs of posed views, to learn from: of one object each, and the way between them is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from scipy.spatial.transform import Rotation

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import (
    ArrayImages,
    PosedImages,
    PosedPairs,
    PosedSet,
    RenderedObjects,
)
from hierforecast.image_ssl.views import Views

VIEWS, SIZE = 4, 7


def objects(count=12, **options):
    return RenderedObjects(count, VIEWS, size=SIZE, **options)


def turn_of(quaternion) -> Rotation:
    return Rotation.from_quat(np.roll(quaternion.numpy(), -1))


def assert_right(pairs: Views, images: PosedSet) -> None:
    """Row by row, by scipy's matrices, and the images asked for one by one."""
    for row, (first, second) in enumerate(pairs.numbers.T.tolist()):
        assert first != second and first // VIEWS == second // VIEWS == int(pairs.objects[row])
        for shown, number in ((pairs.first, first), (pairs.second, second)):
            assert torch.equal(shown[row], images[number][0])
            assert int(pairs.labels[row]) == int(images[number][1])
        before, after = (images.parameters([number]) for number in (first, second))
        start, end = (turn_of(one["quaternion"][0]).as_matrix() for one in (before, after))
        turn = turn_of(pairs.relative["rotation"][row]).as_matrix()
        reached = turn @ start if images.frame == "world" else start @ turn
        np.testing.assert_allclose(reached, end, atol=1e-5)
        for name in ("background_hue", "light_hue", "light_theta", "light_phi"):
            change = float(pairs.relative[name][row, 0])
            assert float(before[name][0]) + change == pytest.approx(float(after[name][0]), abs=1e-5)


@pytest.mark.parametrize("frame", ["world", "object"])
@pytest.mark.parametrize("kept", [False, True])
def test_pairs_are_of_one_object_and_the_way_is_right(frame, kept):
    images = objects(frame=frame)
    pairs = (images.in_memory() if kept else images).pairs(range(48))
    assert type(pairs) is Views and pairs.numbers[0].tolist() == list(range(48))
    assert_right(pairs, images)
    assert_right(images.pairs([-1]), images)


def test_the_other_view_is_drawn_anew_by_the_global_generator():
    images = objects().in_memory()

    def drawn(seed):
        torch.manual_seed(seed)
        return [images.pairs(range(48)).numbers for _ in range(2)]

    first, second = drawn(0)
    assert not torch.equal(first, second)
    assert all(torch.equal(*both) for both in zip(drawn(0), [first, second], strict=True))
    assert not torch.equal(drawn(1)[0], first)


def test_lightning_moves_a_batch_whole():
    batch = move_data_to_device(objects().pairs([0, 5]), torch.device("meta"))
    assert type(batch) is Views
    tensors = [value for value in batch if torch.is_tensor(value)] + [*batch.relative.values()]
    assert len(tensors) == 10 and all(tensor.device.type == "meta" for tensor in tensors)


def test_a_set_in_memory_is_the_set():
    images = objects(frame="object")
    kept = images.in_memory(batch_size=5)
    assert type(kept) is PosedImages and isinstance(kept, ArrayImages)
    assert (len(kept), kept.n_objects, kept.views, kept.frame) == (48, 12, VIEWS, "object")
    numbers = [3, 0, -1]
    for one, other in zip(kept.__getitems__(numbers), images.__getitems__([3, 0, 47]), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(kept.labels, images.labels) and kept.classes == images.classes
    here, there = kept.parameters(numbers), images.parameters(numbers)
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], value) for name, value in there.items())
    draws = [one.pairs(range(48), torch.Generator().manual_seed(3)) for one in (kept, images)]
    assert torch.equal(draws[0].numbers, draws[1].numbers)
    assert torch.equal(draws[0].second, draws[1].second)


def test_a_set_in_memory_needs_a_row_for_every_view():
    kept = objects().in_memory()
    for shown, views in ((kept.parameters(range(47)), VIEWS), (kept.shown, 5)):
        with pytest.raises(DataError, match="every view a row"):
            PosedImages(kept.images, kept.labels, kept.classes, shown, views)


def test_a_set_stands_for_its_pairs():
    images = objects()
    with pytest.warns(DeprecationWarning, match=r"PosedPairs\(images\) is images"):
        assert PosedPairs(images) is images
