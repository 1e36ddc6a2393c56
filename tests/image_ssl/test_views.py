"""Views, the parameters between them, and how a network is conditioned on these."""

import math

import pytest
import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Compose, HorizontalFlip, RandomRotation, RightAngleTurn
from hierforecast.image_ssl.split import KINDS, RelativeParameters, every_kind, parameters_of
from hierforecast.image_ssl.views import Augmented, Between, OneAtATime, Views


def images(batch=64, size=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (batch, 3, size, size), generator=generator)
    return pixels.float() / 255


def drawn(source, shown=None, seed=0):
    shown = images() if shown is None else shown
    return source(Views(shown, shown), torch.Generator().manual_seed(seed))


def test_views_are_what_their_parameters_say():
    recipe, shown = every_kind(), images()
    views = drawn(Augmented(recipe))
    parameters = Augmented(recipe).draw(shown.shape, torch.Generator().manual_seed(0))
    for view, own in zip(views[:2], parameters, strict=True):
        assert torch.equal(recipe.replay(shown, own).images, view)
    expected = recipe.relative(*parameters)
    assert expected.keys() == views.relative.keys() == {*parameters[0], "shear"}
    assert all(torch.equal(views.relative[name], value) for name, value in expected.items())
    assert not torch.equal(views.first, views.second)
    relative, known = views.known_relative()
    assert known.all() and views.between is None
    assert all(torch.equal(relative[name], value) for name, value in expected.items())


def test_relative_parameters_take_the_first_view_to_the_second():
    views = drawn(Augmented(RightAngleTurn()))
    moved = RightAngleTurn().apply(views.first, views.relative)
    torch.testing.assert_close(moved, views.second)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_images_are_known_whenever_they_come_or_never(share):
    source, shown = Augmented(RightAngleTurn(), share), images(2000, 5)
    known = drawn(source, shown).known_relative()[1]
    assert float(known.float().mean()) == pytest.approx(share, abs=0.03)
    order = torch.randperm(2000)
    assert torch.equal(drawn(source, shown[order], seed=1).known_relative()[1], known[order])
    # Also where a training in half precision has rounded the pixels: the same ones each time.
    rounded = shown.bfloat16().float()
    once, again = (drawn(source, rounded, seed).known_relative()[1] for seed in (0, 1))
    assert torch.equal(once, again)


def test_one_at_a_time_is_one_step():
    recipe = every_kind()
    source = OneAtATime(recipe)
    views = drawn(source, images(600, 9))
    first, second = source.draw(images(600, 9).shape, torch.Generator().manual_seed(0))
    neutral = recipe.identity(600) | {"shear": torch.zeros(600)}
    changed = []
    for step in recipe.steps:
        differs = torch.zeros(600, dtype=torch.bool)
        for name in step.names:
            off = (first[name] - second[name]).abs()
            differs |= off.view(600, -1).max(1).values > 1e-5
        changed.append(differs)
    counts = torch.stack(changed).sum(0)
    assert counts.max() == 1
    turned = changed[0] | changed[1]  # which brings shifts along, in boxes off the middle
    for name, values in views.relative.items():
        own = [c for c, s in zip(changed, recipe.steps, strict=True) if name in s.names]
        still = ~torch.stack([turned, *own]).any(0)
        torch.testing.assert_close(values[still], neutral[name][still], atol=1e-5, rtol=0)
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


def test_views_bring_the_image_between():
    recipe = Compose([RandomRotation(90.0), HorizontalFlip()])
    source = Augmented(recipe, between=Between((0.5, 0.5)))
    views = drawn(source)
    middle = Between((0.5, 0.5))(*source.draw(images().shape, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(views.between, recipe.replay(images(), middle).images)
    assert views.map_images(torch.Tensor.double).between.dtype == torch.float64


def test_the_identity_is_one_row_and_no_sum_of_columns_is_constant():
    recipe = every_kind()
    told = parameters_of(recipe)
    neutral = recipe.relative(recipe.identity(3), recipe.identity(3))
    torch.testing.assert_close(told(neutral), told.identity().expand(3, -1))
    found = told(drawn(Augmented(recipe), images(2000)).relative)
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
    assert told("translation", [0.2, -0.1]) == pytest.approx([1.2, -0.6])
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
    assert names == set(recipe.relative_names) == set(parameters_of(recipe).names)
    with pytest.raises(ValueError, match="kind 'colour' is none of all, rotation, color"):
        parameters_of(recipe, "colour")
    with pytest.raises(ValueError, match="makes no change of blur: it has angle"):
        parameters_of(RandomRotation(), "blur")
    with pytest.raises(ValueError, match="give one or more of angle"):
        RelativeParameters([])
    with pytest.raises(DataError, match="no parameter 'blur', only"):
        RelativeParameters(["blur"])({"angle": torch.zeros(2)})
