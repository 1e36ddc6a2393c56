"""The decoder paints, and each loss teaches its own half."""

import pytest
import torch
from torch.nn import functional as F

from hierforecast.image_ssl.augment import every_kind
from hierforecast.image_ssl.contrastive import MoCo, SimSiam, SwAV, VICReg
from hierforecast.image_ssl.methods import build_method
from hierforecast.image_ssl.nn import ResNet, small_resnet
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.split import (
    CrossAttentionDecoder,
    MapTokens,
    PooledTokens,
    Reconstruction,
    SplitBackbone,
    SplitChannels,
    SplitGroup,
    squared_error,
    standardized,
    whitened_error,
)
from hierforecast.image_ssl.views import Augmented, Between, Views

SIZE = 9
LEARNERS = {
    "vicreg": VICReg,
    "moco": lambda *parts: MoCo(*parts, queue_size=16),
    "swav": lambda *parts: SwAV(*parts, prototypes=4),
    "simsiam": SimSiam,
}


def build(learner="vicreg", tokens=PooledTokens, group="C1", split=SplitChannels, **options):
    torch.manual_seed(0)
    backbone = ResNet(group, (1, 1), 4, image_size=SIZE)
    halves = SplitBackbone(backbone, split(backbone))
    decoder = CrossAttentionDecoder(SIZE, patch=4, dim=16, heads=2)
    return Reconstruction(
        LEARNERS[learner](halves.invariant, Projector(halves.invariant, (8, 8))),
        tokens(halves.split, decoder.dim, decoder.grid),
        decoder,
        **options,
    )


def views(batch=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, batch, 3, SIZE, SIZE, generator=generator)


@pytest.mark.parametrize("size", [5, 8, 9, 33])
@pytest.mark.parametrize("patch", [1, 3, 4])
def test_patches_lie_where_they_belong(size, patch):
    if size == 33 and patch == 1:
        return
    decoder = CrossAttentionDecoder(size, patch=patch, dim=4, layers=0, heads=1).double()
    grid = decoder.grid
    assert (grid - 1) * patch < size <= grid * patch
    tokens = torch.randn(2, grid**2, 4).double()
    image = decoder(tokens, tokens)
    assert image.shape == (2, 3, size, size)
    # Without layers between them, patches are painted one by one; a slow second painter:
    blended = decoder.cross(tokens + decoder.positions, tokens + decoder.positions)
    painted = decoder.to_patches(blended).view(2, grid, grid, 3, patch, patch)
    before = (grid * patch - size) // 2
    for y in range(size):
        for x in range(size):
            (row, i), (column, j) = divmod(y + before, patch), divmod(x + before, patch)
            expected = painted[:, row, column, :, i, j]
            torch.testing.assert_close(image[:, :, y, x], expected)


def test_cross_attention_is_a_softmax_over_the_other_view():
    torch.manual_seed(0)
    layer = CrossAttentionDecoder(4, dim=6, heads=1, layers=0).double().cross
    asking, asked = torch.randn(2, 2, 3, 6).double()
    q_weight, k_weight, v_weight = layer.attention.in_proj_weight.chunk(3)
    q = layer.norms[0](asking) @ q_weight.T
    keys = layer.norms[1](asked)
    k, v = keys @ k_weight.T, keys @ v_weight.T
    expected = torch.empty_like(asking)
    for b in range(2):
        for i in range(3):
            weights = torch.stack([q[b, i] @ k[b, j] / 6**0.5 for j in range(3)]).softmax(0)
            expected[b, i] = sum(weights[j] * v[b, j] for j in range(3))
    blended = asking + layer.attention.out_proj(expected)
    expected = blended + layer.layers(layer.norms[2](blended))
    torch.testing.assert_close(layer(asking, asked), expected)


def test_targets_have_no_unit():
    images = 0.2 + 0.1 * torch.rand(6, 3, 5, 5) * torch.tensor([1.0, 2.0, 0.0])[:, None, None]
    found = standardized(images)
    for color in (0, 1):
        assert abs(float(found[:, color].mean())) < 1e-5
        assert float(found[:, color].std(unbiased=False)) == pytest.approx(1, abs=1e-4)
    assert float(found[:, 2].abs().max()) < 1e-3
    # Brightness of an image is left to tell.
    images[0] *= 2
    assert standardized(images)[0, 0].mean() > 1


@pytest.mark.parametrize("tokens", [PooledTokens, MapTokens])
def test_the_decoder_paints_what_it_has_seen(tokens):
    method = build(tokens=tokens)
    first, second = views(6)
    optimizer = torch.optim.Adam(method.parameters(), 5e-3)
    errors = []
    for _ in range(250):
        _, error = method.terms(Views(first, second))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[0] > 0.9
    assert errors[-1] < 0.25, errors[-1]
    with torch.no_grad():
        painted = method.reconstruct(first, second)
        # It is the first view, not the second, and not the same for all.
        own = F.mse_loss(painted, standardized(first))
        assert own < 0.3 < 0.9 < F.mse_loss(painted, standardized(second))
        assert F.mse_loss(painted.roll(1, 0), standardized(first)) > 0.9


def half_gradients(method, term):
    """Gradients that reach the channels of the last maps, of each half of each view."""
    kept = []

    def keep(module, inputs, output):
        for half in output:
            half.retain_grad()
        kept.append(output)

    handle = method.halves.register_forward_hook(keep)
    first, second = views()
    method.terms(Views(first, second))[term].backward()
    handle.remove()
    return [
        tuple(0.0 if h.grad is None else float(h.grad.abs().max()) for h in halves)
        for halves in kept
    ]


@pytest.mark.parametrize("group", ["C1", "C4"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_each_loss_teaches_its_own_half(learner, group):
    method = build(learner, group=group)
    learned = half_gradients(method, 0)
    painted = half_gradients(method, 1)
    assert len(learned) == len(painted) == 2, "each view goes through the network once"
    for invariant, equivariant in learned:
        assert invariant > 1e-9 and equivariant == 0
    for invariant, equivariant in painted:
        assert invariant == 0 and equivariant > 1e-9


def test_the_groups_halves_are_taught_apart():
    """Gradients of the maps: along the group's mean for one loss, off it for the other."""
    method = build(group="C4", split=SplitGroup)
    for term, taught in enumerate(("mean", "rest")):
        maps = []

        def keep(module, inputs, kept=maps):
            inputs[0].retain_grad()
            kept.append(inputs[0])

        handle = method.halves.split.register_forward_pre_hook(keep)
        first, second = views()
        method.terms(Views(first, second))[term].backward()
        handle.remove()
        assert len(maps) == 2
        for one in maps:
            mean = one.grad.mean(2, keepdim=True)
            sizes = {"mean": mean.abs().max(), "rest": (one.grad - mean).abs().max()}
            largest = sizes.pop(taught)
            assert largest > 1e-7 and next(iter(sizes.values())) < 1e-5 * largest


def test_the_loss_is_the_weighted_sum():
    first, second = views()
    learned, error = build().eval().terms(Views(first, second))
    with torch.no_grad():
        for weight in (0.0, 20.0):
            total = build(weight=weight).eval().loss(Views(first, second))
            torch.testing.assert_close(total, learned + weight * error)
        alone = build().eval().learner.loss(Views(first, second))
        torch.testing.assert_close(alone, learned)
        method = build().eval()
        slow = F.mse_loss(method.reconstruct(first, second), standardized(first))
        torch.testing.assert_close(slow, error)


def test_both_views_are_looked_at():
    method = build().eval()
    first, second = views()
    with torch.no_grad():
        painted = method.reconstruct(first, second)
        assert (method.reconstruct(first, second.flip(0)) - painted).abs().max() > 1e-6
        assert (method.reconstruct(first.flip(0), second) - painted).abs().max() > 1e-6


def test_what_lies_between_is_painted_if_it_is_given():
    method = build().eval()
    images = views()[0]
    for between in (None, Between()):
        torch.manual_seed(0)
        pair = Augmented(every_kind().steps[0], between=between)(Views(images, images))
        learned, error = method.terms(pair)
        target = pair.first if between is None else pair.between
        found = method.reconstruct(pair.first, pair.second)
        torch.testing.assert_close(error, squared_error(found, target))
        torch.testing.assert_close(method.loss(pair), learned + 20 * error)


def test_a_learner_of_the_whole_backbone_is_refused():
    method = build()
    backbone = method.backbone
    whole = VICReg(backbone, Projector(backbone, (8, 8)))
    with pytest.raises(ValueError, match=r"build it on SplitBackbone\(backbone, split\).invariant"):
        Reconstruction(whole, method.tokens, method.decoder)
    with pytest.raises(ValueError, match="weight=-1"):
        Reconstruction(method.learner, method.tokens, method.decoder, weight=-1)
    with pytest.raises(ValueError, match="a dim that the heads divide"):
        CrossAttentionDecoder(9, dim=10, heads=4)
    with pytest.raises(ValueError, match=r"make them with grid=3 and dim=16"):
        method.decoder(torch.zeros(2, 4, 16), torch.zeros(2, 4, 16))


def test_each_colour_direction_counts_by_its_own_variance():
    """Against the distance of Mahalanobis, pixel by pixel."""
    generator = torch.Generator().manual_seed(0)
    grey = torch.rand(6, 1, 5, 5, generator=generator, dtype=torch.float64)
    chroma = torch.randn(6, 3, 5, 5, generator=generator, dtype=torch.float64)
    images = grey + 0.1 * chroma
    painted = torch.randn(6, 3, 5, 5, generator=generator, dtype=torch.float64)
    wanted = standardized(images)
    pixels = wanted.transpose(0, 1).flatten(1)
    inverse = torch.linalg.inv(pixels @ pixels.T / pixels.shape[1])
    apart = (painted - wanted).transpose(0, 1).flatten(1)
    slow = torch.stack([column @ inverse @ column for column in apart.T]).mean() / 3
    torch.testing.assert_close(whitened_error(painted, images), slow)
    # Painting the mean colour costs 1, and a fault of chroma more than one of brightness.
    assert whitened_error(torch.zeros_like(images), images).item() == pytest.approx(1)
    bright, red = wanted + 0.1, wanted + 0.1 * torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)
    assert whitened_error(bright, images) < 0.02 < 0.04 < whitened_error(red, images)
    assert squared_error(bright, images) > squared_error(red, images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grey_and_empty_pictures_give_a_finite_whitened_error(dtype):
    grey = torch.rand(4, 1, 5, 5).expand(-1, 3, -1, -1).to(dtype)
    for images in (grey, torch.zeros_like(grey)):
        painted = torch.randn(4, 3, 5, 5).to(dtype).requires_grad_()
        error = whitened_error(painted, images)
        error.backward()
        assert error.isfinite() and painted.grad.isfinite().all()
    with pytest.raises(ValueError, match="error 'blurred' is none of squared, whitened"):
        build_method("reconstruction", small_resnet("C1", 4), size=9, error="blurred")


def test_the_error_that_is_asked_for_is_taken():
    torch.manual_seed(0)
    images = torch.rand(8, 3, 9, 9)
    for name, error in {"squared": squared_error, "whitened": whitened_error}.items():
        method = build_method("reconstruction", small_resnet("C1", 4), size=9, error=name).objective
        _, found = method.terms(Views(images, images))
        torch.testing.assert_close(found, error(method.reconstruct(images, images), images))
