"""Tokens: patches counted from the cutoff, covariates, who is a key, and who is who."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hierforecast.nn.embedding import CovariateEmbedding, PlaceEmbedding, TokenEmbedding
from hierforecast.nn.scale import make_scale
from hierforecast.task import Task
from hierforecast.testing import assert_equivariant, equivariance_error, randomize_
from tests.helpers import H, L
from tests.rows import FLAT, TASK, make_content, moves_of, pack

WIDTH = 8


class OnContent(nn.Module):
    """An embedding, called with content in the user's order."""

    def __init__(self, patch: int = 4, task: Task = TASK, n_frequencies: int = 5) -> None:
        super().__init__()
        self.scale = make_scale("coordinates", task.n_targets)
        self.embedding = TokenEmbedding(task, WIDTH, patch, self.scale.n_absolute, n_frequencies)
        randomize_(self.double())

    def forward(self, content: dict[str, Tensor]) -> list[Tensor]:
        batch, back = pack(FLAT, content), torch.from_numpy(FLAT.inverse)
        return [x[back] for x in self.embedding(batch, self.scale(batch))]


class NumbersRows(OnContent):
    """Broken: rows have positions."""

    def forward(self, content: dict[str, Tensor]) -> list[Tensor]:
        tokens, present = super().forward(content)
        return [tokens + torch.arange(len(tokens))[:, None, None], present]


def test_tokens_move_with_their_rows():
    content = make_content(FLAT, TASK)
    for perm in moves_of(FLAT, seeds=2):
        assert_equivariant(OnContent(), content, lambda x: x[perm], lambda x: x[perm])  # noqa: B023
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(NumbersRows(), content, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


def test_types_are_told_apart():
    ball, player = 0, 1
    perm = torch.arange(len(FLAT))
    perm[[ball, player]] = perm[[player, ball]]
    content = make_content(FLAT, TASK)
    assert equivariance_error(OnContent(), content, lambda x: x[perm], lambda x: x[perm]) > 1e-2


@pytest.mark.parametrize("patch", [1, 4, 5, L])
def test_every_step_is_in_one_patch_counted_from_the_end(patch):
    module, content = OnContent(patch), make_content(FLAT, TASK, missing=0.0)
    tokens, present = module(content)
    n_context, n_horizon = -(-L // patch), -(-H // patch)
    assert tokens.shape == (len(FLAT), n_context + n_horizon, WIDTH)
    assert present.all()
    for step in range(L):
        one = {name: x.clone() for name, x in content.items()}
        one["past"][:, step, 0] += 1
        moved = (module(one)[0] - tokens).abs().amax((0, 2)).nonzero()[:, 0].tolist()
        assert moved == [n_context - 1 - (L - 1 - step) // patch]
    for step in range(H):
        one = {name: x.clone() for name, x in content.items()}
        one["known"][:, L + step, 0] += 1
        moved = (module(one)[0] - tokens).abs().amax((0, 2)).nonzero()[:, 0].tolist()
        assert moved == [n_context + step // patch]


def test_tokens_of_nothing_are_no_keys():
    content = make_content(FLAT, TASK, missing=0.0)
    content["present"][2, :3] = False  # the first patch of 4 has three steps, the rest is padding
    content["present"][4] = False
    _, present = OnContent(4)(content)
    assert present[2].tolist() == [False, True, True, True]
    assert not present[4].any(), "who was never seen asks nothing"
    assert present[[0, 1, 3]].all()


@pytest.mark.parametrize("name", ["values", "present", "past", "known", "static"])
def test_everything_of_a_series_reaches_its_tokens(name):
    module, content = OnContent(), make_content(FLAT, TASK, missing=0.0)
    other = {n: x.clone() for n, x in content.items()}
    if name == "present":
        other[name][3, 2] = False
    elif name == "values":
        other[name][3, 2] += 1
    else:
        changed = other[name][3]  # numbers in the first column, categories in the second
        changed[..., 0] += 1
        assert (module(other)[0] - module(content)[0])[3].abs().max() > 1e-3
        other = {n: x.clone() for n, x in content.items()}
        other[name][3][..., 1] = (changed[..., 1] + 1) % 2
    moved = (module(other)[0] - module(content)[0]).abs().amax((1, 2))
    assert moved[3] > 1e-3 and (moved[torch.arange(len(FLAT)) != 3] == 0).all()


def test_covariates_are_standardised_and_missing_ones_are_zero():
    layer = CovariateEmbedding((None, 3, None)).double()
    x = torch.tensor([[1.0, 0, 5], [3, 3, 5], [torch.nan, 1, 5], [5, 2, torch.nan]]).double()
    layer.fit(x)
    assert layer.center.tolist() == [3, 0] and layer.scale.tolist() == [2, 1]
    out = layer(x)
    assert out.shape == (4, layer.n_features) and out.isfinite().all()
    assert out[:, 0].tolist() == [-1, 0, 0, 1] and out[:, 2].tolist() == [1, 1, 0, 1]
    assert out[:, 1].tolist() == [5, 5, 5, 0] and out[:, 3].tolist() == [1, 1, 1, 0]
    assert CovariateEmbedding(()).n_features == 0
    layer.fit(torch.full((3, 3), torch.nan))
    assert layer(x).isfinite().all()


def test_products_of_places_fall_off_with_distance():
    """The kernel of a sum over waves depends on how far apart two places are, and on that alone."""
    torch.manual_seed(0)
    layer = PlaceEmbedding(2, 512, 4)
    layer.out = nn.Identity()
    at = torch.rand(40, 2) * 4
    near, far = at + 0.1, at + 1.0
    here, close, away = (layer(x) for x in (at, near, far))
    by_place = (here * close).mean(1)
    assert by_place.min() > (here * away).mean(1).max() + 0.05
    assert by_place.std() < 1e-5


def test_places_are_those_at_the_end_of_patches_and_last_known_ahead():
    module = OnContent(4, n_frequencies=7)
    place, module.embedding.place = module.embedding.place, None
    content = make_content(FLAT, TASK, missing=0.0)
    without, _ = module(content)
    module.embedding.place = place
    added = module(content)[0] - without
    at = (content["values"] - module.scale.center) / module.scale.scale
    ends = [*range((L - 1) % 4, L, 4)]
    wanted = torch.cat([at[:, ends], at[:, -1:].expand(-1, -(-H // 4), -1)], dim=1)
    torch.testing.assert_close(added, place(wanted), rtol=0, atol=1e-9)
    assert added.abs().max() > 0.1


def test_without_waves_or_positions_there_are_no_places():
    assert TokenEmbedding(TASK, WIDTH, 4, n_absolute=2).place is None
    assert TokenEmbedding(TASK, WIDTH, 4, n_absolute=0, n_frequencies=3).place is None
