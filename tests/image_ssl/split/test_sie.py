"""SIE: its terms, what unknown pairs may do, and the identity's matrix."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import RandomRotation, every_kind
from hierforecast.image_ssl.contrastive import covariance, variance
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.split import (
    SIE,
    EquivariantProjector,
    HyperPredictor,
    RelativeParameters,
    SplitBackbone,
    SplitChannels,
    parameters_of,
)
from hierforecast.image_ssl.views import Augmented, Views

SIZE = 9


def build(dim=6, told=("angle",), group="C1", **weights):
    torch.manual_seed(0)
    backbone = ResNet(group, (1, 1), 4, image_size=SIZE)
    halves = SplitBackbone(backbone, SplitChannels(backbone))
    return SIE(
        halves,
        Projector(halves.invariant, (8, 5)),
        EquivariantProjector(halves, (8, dim)),
        HyperPredictor(RelativeParameters(told), dim),
        **weights,
    )


def views_of(known=None, batch=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, SIZE, SIZE, generator=generator)
    views = Augmented(RandomRotation(60.0))(Views(images, images), generator)
    return views if known is None else views._replace(known=torch.tensor(known))


def randomize(predictor):
    """Forget that the matrices represent transformations: what follows is learnt."""
    torch.nn.init.normal_(predictor.hyper.weight, std=predictor.dim**-0.5)
    return predictor


def test_the_predictor_begins_as_a_representation():
    """The identity changes nothing, opposite parameters undo each other, lengths are kept."""
    torch.manual_seed(0)
    told = parameters_of(every_kind())
    relative = every_kind().relative(*[every_kind().identity(5)] * 2)
    generator = torch.Generator().manual_seed(0)
    there = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in relative.items()
        if name in ("angle", "translation", "hue")
    }
    back = {name: -value for name, value in there.items()}
    predictor = HyperPredictor(RelativeParameters(tuple(there)), 22).double()
    assert torch.equal(predictor.identity(), torch.eye(22).double())
    whole = HyperPredictor(told, 60).double()
    torch.testing.assert_close(whole.matrices(relative), torch.eye(60).double().expand(5, 60, 60))
    moved, undone = predictor.matrices(there), predictor.matrices(back)
    assert (moved - torch.eye(22)).abs().amax((1, 2)).min() > 0.05
    torch.testing.assert_close(
        moved @ undone, torch.eye(22).double().expand(5, 22, 22), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        moved.mT @ moved, torch.eye(22).double().expand(5, 22, 22), rtol=0, atol=1e-6
    )


def test_the_predictor_is_linear_in_both_and_has_no_bias():
    torch.manual_seed(0)
    predictor = HyperPredictor(RelativeParameters(["translation", "flip"]), 4).double()
    assert [name for name, _ in predictor.named_parameters()] == ["hyper.weight"]
    relative = {"translation": torch.randn(3, 2).double(), "flip": torch.ones(3).double()}
    vectors = torch.randn(3, 4).double()
    weight = predictor.hyper.weight
    randomize(predictor)
    numbers = predictor.encode(relative)
    for n in range(3):
        matrix = sum(numbers[n, k] * weight[:, k].view(4, 4) for k in range(6))
        torch.testing.assert_close(predictor.matrices(relative)[n], matrix)
        torch.testing.assert_close(predictor(vectors, relative)[n], matrix @ vectors[n])
    none = {"translation": torch.zeros(1, 2), "flip": torch.zeros(1)}
    torch.testing.assert_close(predictor.matrices(none)[0], predictor.identity())


def test_terms_one_by_one():
    method, views = build().double().eval(), views_of().map_images(Tensor.double)
    terms = method.terms(views)
    with torch.no_grad():
        halves = [method.halves.split(method.backbone(images)) for images in views[:2]]
        z = [method.projector(h.invariant) for h in halves]
        y = [method.equivariant_projector(h.equivariant) for h in halves]
        moved = torch.stack(
            [method.predictor(y[0][n : n + 1], {"angle": views.relative["angle"][n : n + 1]})[0]
             for n in range(8)]
        )  # fmt: skip
        whole = [torch.cat(parts, 1) for parts in zip(z, y, strict=True)]
        expected = {
            "invariance": ((z[0] - z[1]) ** 2).mean(),
            "equivariance": ((moved - y[1]) ** 2).mean(),
            "variance": (variance(whole[0]) + variance(whole[1])) / 2,
            "covariance": covariance(whole[0]) + covariance(whole[1]),
            "predictor_variance": variance(moved),
        }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    total = method.loss(views)
    usual = {"invariance": 10, "equivariance": 4.5, "variance": 10, "covariance": 1}
    usual["predictor_variance"] = 10
    torch.testing.assert_close(total, sum(usual[name] * terms[name] for name in usual))
    for name in usual:
        weights = {**dict.fromkeys(usual, 0.0), name: 2.0}
        only = build(**weights).double().eval().loss(views)
        torch.testing.assert_close(only, 2 * terms[name])


@pytest.mark.parametrize("group", ["C1", "C4"])
def test_unknown_pairs_have_no_share_in_the_equivariance(group):
    known = [True, False, True, True, False, False, True, False]
    method, views = build(group=group).eval(), views_of(known)
    terms = method.terms(views)
    wrong = views.relative["angle"].clone()
    wrong[~views.known] = torch.nan
    other = method.terms(views._replace(relative={"angle": wrong}))
    for name in terms:
        assert torch.equal(terms[name], other[name])
    relative, known = views.known_relative()
    alone = method.terms(Views(views.first[known], views.second[known], relative))
    torch.testing.assert_close(terms["equivariance"], alone["equivariance"])
    torch.testing.assert_close(terms["predictor_variance"], alone["predictor_variance"])
    assert (terms["invariance"] - alone["invariance"]).abs() > 1e-6
    # Nor do gradients.
    gradients = []
    for relative in (views.relative, {"angle": wrong}):
        method.zero_grad()
        method.loss(views._replace(relative=relative)).backward()
        gradients.append([p.grad.clone() for p in method.parameters()])
    for one, two in zip(*gradients, strict=True):
        assert torch.equal(one, two) and one.isfinite().all()


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_known_pair(count):
    method = build()
    views = views_of([n < count for n in range(8)])
    terms = method.terms(views)
    assert (terms["equivariance"] == 0) == (count == 0) and terms["predictor_variance"] == 0
    method.loss(views).backward()
    assert all(p.grad.isfinite().all() for p in method.parameters())


def test_the_predictor_learns_a_relation_that_holds():
    """Vectors that do turn with the image: all matrices are found to 0.01."""
    torch.manual_seed(0)
    predictor = randomize(HyperPredictor(RelativeParameters(["angle"]), 6))
    assert (predictor.identity() - torch.eye(6)).abs().max() > 0.5
    optimizer = torch.optim.Adam(predictor.parameters(), 3e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, 400)

    def turn(vectors, degrees):
        radians = 2 * degrees.deg2rad()[:, None]
        cos, sin = radians.cos(), radians.sin()
        x, y = vectors[:, :3], vectors[:, 3:]
        return torch.cat([cos * x - sin * y, sin * x + cos * y], 1)

    for _ in range(400):
        vectors = torch.randn(64, 6)
        degrees = torch.where(torch.rand(64) < 0.25, 0.0, 180 * (2 * torch.rand(64) - 1))
        error = F.mse_loss(predictor(vectors, {"angle": degrees}), turn(vectors, degrees))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        schedule.step()
    assert (predictor.identity() - torch.eye(6)).abs().max() < 0.01
    for degrees in (90.0, -37.0):
        expected = turn(torch.eye(6), torch.full((6,), degrees)).T
        found = predictor.matrices({"angle": torch.tensor([degrees])})[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


def test_the_identity_is_the_identity_after_training():
    """Network and predictor together, on turns of one picture: nothing else can make views vary.

    Of half the pairs both views are the same. The tolerance is 0.25 of the vectors' length, more
    than above, for this network's features only nearly turn; before training the error is above 1.
    """
    method, generator = build(), torch.Generator().manual_seed(1)
    randomize(method.predictor)
    picture = F.interpolate(torch.rand(1, 3, 4, 4, generator=generator), SIZE, mode="bilinear")
    shown, turns = picture.repeat(32, 1, 1, 1), RandomRotation(90.0)

    def views():
        a, b = (turns.draw(shown.shape, generator)["angle"] for _ in range(2))
        angles = {"angle": a}, {"angle": torch.where(torch.arange(32) % 2 == 0, a, b)}
        first, second = (turns.replay(shown, one) for one in angles)
        return Views(first.images, second.images, turns.relative(*angles))

    def moved(degrees):
        with torch.no_grad():
            vectors = method.eval().embed(views().first)[1]
            predicted = method.predictor(vectors, {"angle": torch.full((32,), degrees)})
        assert vectors.std(0).min() > 0.2 or degrees == 0.0
        return float((predicted - vectors).norm() / vectors.norm())

    assert moved(0.0) > 1
    optimizer = torch.optim.Adam(method.parameters(), 3e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, 300)
    for _ in range(300):
        loss = method.train().loss(views())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert moved(0.0) < 0.25, moved(0.0)
    assert moved(90.0) > 1, "a turn is no identity"


def test_what_does_not_fit_is_told():
    method = build()
    with pytest.raises(ValueError, match="takes 3 numbers and the equivariant projector gives 6"):
        SIE(method.halves, method.projector, method.equivariant_projector,
            HyperPredictor(RelativeParameters(["angle"]), 3))  # fmt: skip
    with pytest.raises(ValueError, match="equivariance=-1"):
        build(equivariance=-1)
    with pytest.raises(DataError, match="no parameter 'blur', only"):
        build(told=("blur",)).loss(views_of())
