"""What the recent returns of a market say of the next: sizes, and who moves with whom."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hierforecast.distributions.places import places
from hierforecast.nn.groups import sums
from hierforecast.nn.head import Loads, Scenes

# Learned numbers, and where they begin: chosen on stocks of 2013 to 2015.
_BEGIN = {
    "fast": 0.7,  # logit of the decay of recent sizes
    "slow": 5.2,  # and of usual ones
    "memory": 4.9,  # and of what correlations are made of
    "prior": 0.9,  # log of cells of a market's usual size
    "own": -0.7,  # logit of how much of a series' recent size lasts
    "common": 0.5,  # and of the market's
    "fading": -3.0,  # log of how much less lasts at each further step
    "size": -0.25,
    "bend": -0.6,  # log of the tail by which returns are made normal
    "tail": -0.35,  # log of the tail of the next returns
    "scene": 3.8,  # log of steps for which a load of the market is one
    "group": 2.3,
    "noise": 1.6,
    "principal": 1.5,  # log of the size, in usual ones, at which principal factors count by half
    "degrees": 1.7,
}
# Of their fit; scenes at a time, and rows at least; how far they go.
_RATE, _STEPS, _SCENES, _ROWS, _FARTHEST = 0.05, 60, 8, 2_000, 4.0
# What a square is at least, in units of the scale; share of all squares below which one is none.
_LEAST, _NONE = 1e-6, 1e-9


class MarketStart(nn.Module):
    """Loads from the means of the market and of its groups over the context.

    Each series is regressed on the mean over its scene, what is left on its principal factors, then
    on the means of its groups, coarse to fine, and on those of other ways of grouping. Factors come
    before groups, as some of them move several groups, of which one would tell of the others.
    Coefficients are shrunk to one, small factors to zero, variances to the usual one. Sizes revert:
    a series' recent size and the market's last in part. All of it commutes with permutations of
    series and groups, scenes are strangers to one another, and a cell that is missing counts for
    nothing. The few numbers that it takes are fitted to training windows, before the network learns
    what to add.

    Args:
        steps: H.
        rank: R, principal factors.
        groups_last: see above; False: as in earlier versions, where groups came first and all
            factors were shrunk alike.
    """

    def __init__(self, steps: int, rank: int, groups_last: bool = True) -> None:
        super().__init__()
        self.steps, self.rank, self.groups_last = steps, rank, groups_last
        self.numbers: Tensor
        self.register_buffer("numbers", torch.tensor(list(_BEGIN.values())))

    def forward(self, x: Tensor, present: Tensor, scenes: Scenes) -> Loads:
        """From returns over a unit of each row.

        Args:
            x: (P, L, D), anything where missing.
            present: (P, L) bool.
            scenes: which rows belong together.
        """
        return self._loads(dict(zip(_BEGIN, self.numbers, strict=True)), x, present, scenes)

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        present: Tensor,
        scenes: Scenes,
        likelihood: Callable[[Loads, Tensor, Tensor, Scenes], Tensor],
    ) -> None:
        """Fit the numbers to training windows, by gradients of a likelihood.

        Args:
            x, present, scenes: as `forward` takes them.
            likelihood: of loads, the rows (p,) and the steps that they are of, and their scenes.
        """
        rows = max(1, len(x) // max(scenes.n_scenes, 1))
        some = max(_SCENES, _ROWS // rows)
        numbers = {name: torch.tensor(value).to(x) for name, value in _BEGIN.items()}
        with torch.enable_grad():
            for number in numbers.values():
                number.requires_grad_()
            optimizer = torch.optim.Adam(numbers.values(), lr=_RATE)
            rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, _STEPS)
            for at in range(_STEPS):
                part, own = _part(scenes, at * some, some)
                loads = self._loads(numbers, x[part], present[part], own)
                steps = torch.tensor(sorted({0, at % self.steps}), device=x.device)
                loads = loads._replace(size=loads.size[:, steps])
                loss = -likelihood(loads, part, steps, own)
                if not bool(loss.isfinite()):
                    return
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rates.step()
        found = torch.stack([x.detach() for x in numbers.values()])
        begin = torch.tensor(list(_BEGIN.values())).to(found)
        self.numbers.copy_(begin + (found - begin).clamp(-_FARTHEST, _FARTHEST))

    def _loads(self, p: dict[str, Tensor], x: Tensor, present: Tensor, scenes: Scenes) -> Loads:
        scene, n_scenes, groups = scenes.scene, scenes.n_scenes, scenes.groups
        seen = present.to(x)[..., None]
        x = torch.where(present[..., None], x, 0)
        slow, size = self._sizes(p, x, seen, scene, n_scenes)
        bend = p["bend"].exp()
        y = torch.asinh(bend * x / slow.sqrt()[:, None]) / bend
        weight = _decay(p["memory"], x) * seen
        left, of_groups = y * seen, []
        owners = (scene, *reversed(groups), *scenes.owners[len(groups) :])
        steps = (p["scene"], *(p["group"] for _ in scenes.owners))
        counts = scenes.counts
        counts = (n_scenes, *reversed(counts[: len(groups)]), *counts[len(groups) :])
        for at, (owner, count, strength) in enumerate(zip(owners, counts, steps, strict=True)):
            left, load = _explain(left, seen, weight, owner, count, strength.exp())
            of_groups.append(load)
            if self.groups_last and at == 0:
                principal, found = self._principal(p, left, weight, scenes)
                left = (left - found) * seen
        if not self.groups_last:
            principal, _ = self._principal(p, left, weight, scenes)
        scene_load, *of_groups = of_groups
        total = weight.sum(1)
        variance = (weight * left.square()).sum(1)
        usual = sums(variance, scene, n_scenes) / sums(total, scene, n_scenes).clamp(min=1e-6)
        some = p["noise"].exp()
        variance = (variance + some * usual[scene] + _LEAST) / (total + some)
        explained = principal.square().sum(-1)
        if not self.groups_last:
            variance = (variance - explained).maximum(0.05 * variance)
        parts = [scene_load.square(), explained, variance, *(load.square() for load in of_groups)]
        norm = sum(parts[1:], parts[0]).sqrt()
        scene_loads = torch.cat([scene_load[..., None], principal], -1) / norm[..., None]
        nested = len(groups)
        of_groups = [*of_groups[:nested][::-1], *of_groups[nested:]]  # fine to coarse
        return Loads(
            size, scene_loads, tuple(load / norm for load in of_groups),
            variance.sqrt() / norm, p["tail"], p["degrees"],
        )  # fmt: skip

    def _sizes(
        self, p: dict[str, Tensor], x: Tensor, seen: Tensor, scene: Tensor, n_scenes: int
    ) -> tuple[Tensor, Tensor]:
        """Mean squares (P, D) of a series as usual, and the size (P, H, D) of what comes."""
        square, count = x.square(), seen.sum(1)
        here = (count > 0).to(x)
        rows = sums(here, scene, n_scenes).clamp(min=1)

        def usual(of: Tensor) -> Tensor:
            """The mean (P, D) over the rows of a scene that are there."""
            return (sums(here * of, scene, n_scenes) / rows)[scene]

        typical = usual(square.sum(1) / count.clamp(min=1))
        prior = p["prior"].exp()
        fast, slow = (
            ((weight * square).sum(1) + prior * typical + _LEAST) / ((weight * seen).sum(1) + prior)
            for weight in (_decay(p["fast"], x), _decay(p["slow"], x))
        )
        ratio = (fast / slow).log()
        common = usual(ratio)
        lasting = torch.exp(
            -p["fading"].exp() * torch.arange(self.steps, device=x.device, dtype=x.dtype)
        )[:, None]
        own, shared = (torch.sigmoid(p[name]) * lasting for name in ("own", "common"))
        log = slow.log()[:, None] + own * (ratio - common)[:, None] + shared * common[:, None]
        return slow, (0.5 * log + p["size"]).exp()

    def _principal(
        self, p: dict[str, Tensor], left: Tensor, weight: Tensor, scenes: Scenes
    ) -> tuple[Tensor, Tensor]:
        """Loads (P, D, R) of the principal factors of each scene, and what they explain (P, L, D).

        All targets of a scene have the same factors: of each their own, only the size is known and
        not the sign, by which the next returns of two targets would be tied at random.
        """
        unit = (weight.sqrt() / _decay(p["memory"], left).sum().sqrt()).detach()
        left = (left * unit).movedim(1, 2).detach()  # (P, D, L)
        scene, n_scenes = scenes.scene, scenes.n_scenes
        most = None if scenes.sizes is None else scenes.sizes.rows
        slot, most = places(scene, n_scenes, most)
        side = left.new_zeros(n_scenes, max(1, most), *left.shape[1:])
        side = side.index_put((scene, slot), left).flatten(1, 2)  # (B, N * D, L)
        sizes, factors = _factors(side, self.rank)
        rank, factors = factors.shape[-1], factors[scene]  # (P, L, R)
        share = torch.sigmoid(p["principal"])
        if self.groups_last:
            shares = _shares(sizes, p["principal"].exp())[:, sizes.shape[1] - rank :]
            share = shares.to(left)[scene, None]
        loads = share * (left @ factors)
        explained = (loads @ factors.mT).movedim(2, 1) / unit.clamp(min=1e-6)
        return torch.nn.functional.pad(loads, (self.rank - rank, 0)), explained


def _factors(side: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Squared sizes (B, K), the largest last, and factors (B, L, R) of the largest: side (B, M, L).

    From the smaller of the two matrices that have these sizes, as their decomposition takes the
    cube. A factor of no size is zero.
    """
    few = side.shape[1] < side.shape[2]
    sizes, vectors = torch.linalg.eigh((side @ side.mT if few else side.mT @ side).double())
    vectors = vectors[..., max(0, vectors.shape[-1] - rank) :].to(side)
    if few:
        size = sizes[:, sizes.shape[1] - vectors.shape[-1] :]
        some = size > _NONE * sizes.clamp(min=0).sum(1, keepdim=True)
        vectors = (side.mT @ vectors) * torch.where(some, size.abs().rsqrt(), 0).to(side)[:, None]
    return sizes, vectors


def _shares(sizes: Tensor, strength: Tensor) -> Tensor:
    """By how much factors count (B, L), from their squared sizes (B, L): those of noise little."""
    sizes = sizes.clamp(min=0)
    total = sizes.sum(1, keepdim=True)
    usual = total / (sizes > _NONE * total).sum(1, keepdim=True).clamp(min=1)
    return sizes / (sizes + strength * usual).clamp(min=1e-30)


def _part(scenes: Scenes, start: int, count: int) -> tuple[Tensor, Scenes]:
    """Rows (p,) of some scenes, going round, and their own scenes."""
    chosen = torch.arange(start, start + min(count, scenes.n_scenes)) % max(scenes.n_scenes, 1)
    place = torch.full((scenes.n_scenes,), -1, device=scenes.scene.device)
    place[chosen.to(place.device)] = torch.arange(len(chosen), device=place.device)
    rows = (place[scenes.scene] >= 0).nonzero()[:, 0]
    groups, *crossed = (
        tuple(group[rows] for group in way) for way in (scenes.groups, *scenes.crossed)
    )
    return rows, Scenes(place[scenes.scene[rows]], len(chosen), groups, crossed=tuple(crossed))


def _decay(logit: Tensor, like: Tensor) -> Tensor:
    """Weights (L, 1) of steps, one for the last."""
    age = torch.arange(like.shape[1] - 1, -1, -1, device=like.device, dtype=like.dtype)
    return (torch.sigmoid(logit) ** age)[:, None]


def _explain(
    y: Tensor, seen: Tensor, weight: Tensor, owner: Tensor, count: int, strength: Tensor
) -> tuple[Tensor, Tensor]:
    """What the mean over an owner's rows does not explain (P, L, D), and loads (P, D) of it.

    A load is the regression coefficient, shrunk to one by `strength` steps, times the size of the
    mean; an owner of one row explains nothing.
    """
    cells = sums(seen, owner, count)
    mean = sums(y, owner, count) / cells.clamp(min=1)
    mean = torch.where(cells.amax(1, keepdim=True) > 1, mean, 0)
    lasting = sums(weight, owner, count) / cells.clamp(min=1)
    square = (lasting * mean.square()).sum(1) / lasting.sum(1).clamp(min=1e-6)  # (count, D)
    factor, typical = mean[owner], square[owner] + 1e-9
    across = (weight * y * factor).sum(1) + strength * typical
    slope = across / ((weight * factor.square()).sum(1) + strength * typical)
    return (y - slope[:, None] * factor) * seen, slope * square[owner].clamp(min=1e-12).sqrt()
