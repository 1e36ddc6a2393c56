"""Who moves together: from pairs of rows to the links of their slow shocks, see `CoupledNormal`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hierforecast.batch import SceneBatch
from hierforecast.nn.head import Scenes
from hierforecast.nn.padding import ScenePadding, places_and_moves
from hierforecast.nn.scaled import clamp, numbers

# Features of a token on either side of a pair, and of the hidden layer.
_TOKEN, _HIDDEN = 8, 32
# Reaches of the radial features, in distances to the nearest other.
_REACHES = (0.5, 1.0, 2.0, 4.0)


class PairNetwork(nn.Module):
    """Links (P, K, N, K) between the K slow components of every two rows of a scene.

    A pair is seen by the tokens of both rows, by whether they share group, type and the groups of
    other ways of grouping, and, where targets are coordinates, by their distance, relative speed,
    the speed at which they close in, and whether one is the nearest of its group to the other. All
    of it moves with the rows, so the joint distribution stays equivariant; a pair may be linked one
    way more than the other, so that one leads. Links are bounded (tanh), and start at zero. Cost
    and memory grow with N^2 a scene.

    Args:
        width: features of a token.
        components: K.
        coordinates: whether targets are coordinates in one space.
        crossed: levels of groups of all further ways of grouping.
    """

    def __init__(self, width: int, components: int, coordinates: bool, crossed: int = 0) -> None:
        super().__init__()
        self.components, self.coordinates = components, coordinates
        self.unit: Tensor
        self.speed: Tensor
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("speed", torch.ones(()))
        self.norm = nn.LayerNorm(width)
        self.sides = nn.Linear(width, 2 * _TOKEN)
        pair = 2 + crossed + (5 + len(_REACHES)) * coordinates
        self.hidden = nn.Linear(pair + 2 * _TOKEN, _HIDDEN)
        self.out = nn.Linear(_HIDDEN, components**2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @torch.no_grad()
    def fit(self, batch: SceneBatch) -> None:
        """Learn the usual distance to the nearest other, and the usual speed."""
        if not self.coordinates:
            return
        unit, speed = ScenePadding(batch).usual(*places_and_moves(batch))
        self.unit.copy_(unit)
        self.speed.copy_(speed)

    def forward(self, tokens: Tensor, batch: SceneBatch, scenes: Scenes) -> Tensor:
        """Tokens (P, t, width) of the horizon -> links (P, K, N, K), the identity on the own ones.

        N is the largest number of rows in a scene; the order of rows within one is theirs.
        """
        pad = ScenePadding(batch)
        one, other = pad.spread(self.sides(self.norm(tokens.mean(1)))).split(_TOKEN, -1)
        count = one.shape[1]
        group = batch.types if not scenes.groups else scenes.groups[0]
        crossed = sum(scenes.crossed, ())
        same = [pad.alike(x) for x in (group, batch.types, *crossed)]
        features = [
            one[:, :, None].expand(-1, -1, count, -1),
            other[:, None].expand(-1, count, -1, -1),
            torch.stack(same, -1).to(one.dtype),
        ]
        if self.coordinates:
            features.append(self._motion(pad, *places_and_moves(batch), same[0]).to(one.dtype))
        hidden = nn.functional.gelu(self.hidden(torch.cat(features, -1)))
        links = torch.tanh(self.out(hidden)) * pad.pairs[..., None]
        links = links.unflatten(-1, (self.components, self.components))
        eye = torch.eye(self.components, dtype=links.dtype, device=links.device)
        links = links + pad.own[:, :, None, None] * eye
        return pad.gather(links).transpose(1, 2)

    def _motion(self, pad: ScenePadding, place: Tensor, moving: Tensor, same: Tensor) -> Tensor:
        """Features (B, N, N, F) of where two rows are and how they move."""
        place, moving = (pad.spread(clamp(x)) for x in (place / self.unit, moving / self.speed))
        away = place[:, None] - place[:, :, None]
        relative = moving[:, None] - moving[:, :, None]
        apart = _distance(place)
        closing = (away * relative).sum(-1) / (apart + 1e-3)
        far = apart.masked_fill(~pad.pairs, torch.inf)
        # The least distance to any of j's group, for every i and j.
        of_group = far[:, :, None].masked_fill(~same[:, None], torch.inf).amin(-1)
        nearest = (far <= of_group) & pad.pairs
        speeds = [relative.norm(dim=-1), closing]
        return torch.stack(
            [
                *(torch.exp(-apart / reach) for reach in numbers(apart, *_REACHES)),
                apart.log1p(),
                *(x.clamp(-10, 10) / 3 for x in speeds),
                nearest.to(apart.dtype),
                nearest.mT.to(apart.dtype),
            ],
            -1,
        )


def _distance(place: Tensor) -> Tensor:
    """Distances (B, N, N) between places (B, N, D)."""
    return (place[:, None] - place[:, :, None]).norm(dim=-1)
