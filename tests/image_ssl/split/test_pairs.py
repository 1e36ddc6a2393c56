"""Pairs, what they say of themselves, and how a network is told."""

import math

import pytest
import torch
from torch import nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Compose, HorizontalFlip, RandomRotation, RightAngleTurn
from hierforecast.image_ssl.split import (
    KINDS,
    Between,
    OneAtATimePairs,
    PairsWithParameters,
    RelativeParameters,
    ViewPairs,
    every_kind,
    parameters_of,
)


def images(batch=64, size=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (batch, 3, size, size), generator=generator)
    return pixels.float() / 255


def drawn(pairs, shown=None, seed=0):
    return pairs(images() if shown is None else shown, torch.Generator().manual_seed(seed))


def test_views_are_what_their_parameters_say():
    recipe, shown = every_kind(), images()
    pair = drawn(ViewPairs(recipe))
    for view in (pair.first, pair.second):
        assert torch.equal(recipe.replay(shown, view.parameters).images, view.images)
    expected = recipe.relative(pair.first.parameters, pair.second.parameters)
    assert expected.keys() == pair.relative.keys() == pair.first.parameters.keys()
    assert all(torch.equal(pair.relative[name], value) for name, value in expected.items())
    assert not torch.equal(pair.first.images, pair.second.images)
    assert pair.known.all() and pair.between is None


def test_relative_parameters_take_the_first_view_to_the_second():
    pair = drawn(ViewPairs(RightAngleTurn()))
    moved = RightAngleTurn().apply(pair.first.images, pair.relative)
    torch.testing.assert_close(moved, pair.second.images)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_images_are_known_whenever_they_come_or_never(share):
    pairs, shown = ViewPairs(RightAngleTurn(), share), images(2000, 5)
    known = drawn(pairs, shown).known
    assert float(known.float().mean()) == pytest.approx(share, abs=0.03)
    order = torch.randperm(2000)
    assert torch.equal(drawn(pairs, shown[order], seed=1).known, known[order])
    # Also where a training in half precision has rounded the pixels: the same ones each time.
    rounded = shown.bfloat16().float()
    assert torch.equal(drawn(pairs, rounded).known, drawn(pairs, rounded, seed=1).known)


def test_one_at_a_time_is_one_step():
    recipe = every_kind()
    pair = drawn(OneAtATimePairs(recipe), images(600, 9))
    neutral = recipe.identity(600)
    changed = []
    for step in recipe.steps:
        differs = torch.zeros(600, dtype=torch.bool)
        for name in step.names:
            off = (pair.relative[name] - neutral[name]).abs().view(600, -1).max(1).values
            differs |= off > 1e-5
        changed.append(differs)
    counts = torch.stack(changed).sum(0)
    assert counts.max() == 1
    # Every kind has its turn; a flip or a blur may come out the same for both views.
    assert all(0.05 < float(differs.float().mean()) < 0.25 for differs in changed)


def test_between_is_on_the_way():
    first = {"angle": torch.tensor([170.0, 0.0]), "flip": torch.tensor([1.0, 0.0])}
    second = {"angle": torch.tensor([-170.0, 40.0]), "flip": torch.tensor([0.0, 1.0])}
    found = Between((0.25, 0.25))(first, second)
    torch.testing.assert_close(found["angle"], torch.tensor([175.0, 10.0]))
    assert torch.equal(found["flip"], first["flip"])
    for share, end in ((0.0, first), (1.0, second)):
        ends = Between((share, share))(first, second)
        assert torch.allclose(ends["angle"] % 360, end["angle"] % 360)
    box = {"crop": torch.tensor([[0.0, 0.0, 1.0, 1.0]])}
    small = {"crop": torch.tensor([[0.2, 0.4, 0.5, 0.5]])}
    expected = torch.tensor([[0.1, 0.2, 0.75, 0.75]])
    torch.testing.assert_close(Between((0.5, 0.5))(box, small)["crop"], expected)
    with pytest.raises(ValueError, match="0 <= low <= high <= 1"):
        Between((0.5, 0.2))


def test_a_pair_brings_the_image_between():
    recipe = Compose([RandomRotation(90.0), HorizontalFlip()])
    pair = drawn(ViewPairs(recipe, between=Between((0.5, 0.5))))
    middle = Between((0.5, 0.5))(pair.first.parameters, pair.second.parameters)
    torch.testing.assert_close(pair.between, recipe.replay(images(), middle).images)
    assert pair.to(torch.float64).between.dtype == torch.float64


def test_the_identity_is_one_row_and_no_sum_of_columns_is_constant():
    recipe = every_kind()
    told = parameters_of(recipe)
    assert told(recipe.identity(3)).shape == (3, told.width)
    torch.testing.assert_close(told(recipe.identity(3)), told.identity().expand(3, -1))
    found = told(drawn(ViewPairs(recipe), images(2000)).relative)
    blocks = found.unflatten(1, (-1, 2))
    torch.testing.assert_close(blocks.norm(dim=2), torch.ones(blocks.shape[:2]))
    # Features that tell nothing ask for a constant: none is near the span of one block.
    for columns in blocks.round(decimals=5).double().unbind(1):
        best = torch.linalg.lstsq(columns, torch.ones(len(columns), 1).double()).solution
        assert (columns @ best - 1).square().mean() > 0.3


def test_columns_by_hand():
    def told(name, *values):
        """Angles of the unit vectors, radians."""
        row = RelativeParameters([name])({name: torch.tensor([*values])})[0].view(-1, 2)
        assert row.norm(dim=1).tolist() == pytest.approx([1] * len(row))
        return torch.atan2(row[:, 1], row[:, 0]).tolist()

    assert told("angle", 45.0) == pytest.approx([math.pi / 2], abs=1e-6)
    assert told("hue", -0.125) == pytest.approx([-math.pi / 2], abs=1e-6)
    assert told("translation", [0.2, -0.1]) == pytest.approx([1.5, -0.75])
    assert told("flip", 1.0) == pytest.approx([-math.pi], abs=1e-6) or told(
        "flip", 1.0
    ) == pytest.approx([math.pi], abs=1e-6)
    assert told("blur", -0.7) == pytest.approx([-1.75])
    assert told("contrast", 1.5) == pytest.approx([3.5 * math.log(1.5)])
    limit = math.remainder(3.5 * math.log(8), 2 * math.pi)
    assert told("brightness", math.inf) == pytest.approx([limit], abs=1e-5)
    assert told("brightness", 0.0) == pytest.approx([-limit], abs=1e-5)
    assert told("saturation", math.nan) == [0]
    box = told("crop", [0.25, 0.05, 0.7, 0.8])
    expected = [16 * 0.1, 16 * -0.05, 8 * math.log(0.7), 8 * math.log(0.8)]
    assert box == pytest.approx([math.remainder(a, 2 * math.pi) for a in expected], abs=1e-5)


def test_kinds_and_names():
    recipe = every_kind()
    names = {name for kind in KINDS for name in parameters_of(recipe, kind).names}
    assert names == set(recipe.names) == set(parameters_of(recipe).names)
    with pytest.raises(ValueError, match="kind 'colour' is none of all, rotation, color"):
        parameters_of(recipe, "colour")
    with pytest.raises(ValueError, match="makes no change of blur: it has angle"):
        parameters_of(RandomRotation(), "blur")
    with pytest.raises(ValueError, match="give one or more of angle"):
        RelativeParameters([])
    with pytest.raises(DataError, match="no parameter 'blur', only"):
        RelativeParameters(["blur"])({"angle": torch.zeros(2)})


class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(1, 1)

    def pair_loss(self, pair):
        self.pair = pair
        assert not pair.first.images.requires_grad
        return self.backbone.weight.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_method_is_handed_both_views_with_parameters(dtype):
    listener = Listener()
    method = PairsWithParameters(listener, ViewPairs(every_kind()))
    loss = method.loss(images().to(dtype).requires_grad_())
    loss.backward()
    assert method.backbone is listener.backbone
    assert listener.pair.first.images.dtype == listener.pair.second.images.dtype == dtype
    assert listener.pair.relative["angle"].dtype == torch.float32
