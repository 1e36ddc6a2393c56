"""SIE: an equivariant half that a known transformation moves linearly.

Garrido, Najman and LeCun 2023, arXiv 2302.10283; written from the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.image_ssl.augment import Compose, every_kind
from hierforecast.image_ssl.contrastive.losses import (
    covariance,
    invariance,
    variance,
    weighted,
    weights,
)
from hierforecast.image_ssl.nn.heads import Projector, mlp
from hierforecast.image_ssl.objective import Method, Objective, Setting, source_of
from hierforecast.image_ssl.split.encoder import SplitBackbone, split_for
from hierforecast.image_ssl.split.parameters import RelativeParameters, parameters_of
from hierforecast.image_ssl.views import Augmented, OneAtATime, Poses, Views


class EquivariantProjector(nn.Module):
    """From equivariant features (b, c, g) to vectors (b, d); nothing is averaged over the group."""

    def __init__(self, halves: SplitBackbone, widths: tuple[int, ...] = (256, 64)) -> None:
        super().__init__()
        self.layers = mlp((halves.split.equivariant_dim, *widths))
        self.dim = widths[-1]

    def forward(self, features: Tensor) -> Tensor:
        """Map (b, c, g) to (b, d)."""
        vectors: Tensor = self.layers(features.flatten(1).unsqueeze(2))
        return vectors.squeeze(2)


class HyperPredictor(nn.Module):
    """A matrix for every transformation, by one linear map of its parameters.

    There are no biases: what is predicted depends on the vector through the matrix alone, and on
    the transformation through its parameters. These are unit vectors side by side
    (`RelativeParameters`), of which no sum is constant: with a bias, or a one beside them, features
    that tell nothing of the transformation would be predicted without an error.

    At the start the matrices represent the transformations: each unit vector turns some of the
    numbers, two by two or, a quaternion, four by four, so that the identity changes nothing and one
    transformation after another is the product. Learning may leave that.

    Args:
        parameters: what the predictor is conditioned on; see `parameters_of`.
        dim: numbers of a vector.
    """

    def __init__(self, parameters: RelativeParameters, dim: int) -> None:
        super().__init__()
        self.encode, self.dim = parameters, dim
        self.hyper = nn.Linear(parameters.width, dim * dim, bias=False)
        with torch.no_grad():
            self.hyper.weight.copy_(_turning(parameters.blocks, dim).flatten(0, 1))

    def matrices(self, relative: Mapping[str, Tensor]) -> Tensor:
        """Matrices (n, dim, dim) of relative parameters, n rows each."""
        matrices: Tensor = self.hyper(self.encode(relative).to(self.hyper.weight))
        return matrices.unflatten(1, (self.dim, self.dim))

    def identity(self) -> Tensor:
        """The matrix (dim, dim) of the transformation that changes nothing."""
        matrix: Tensor = self.hyper(self.encode.identity().to(self.hyper.weight))
        return matrix.view(self.dim, self.dim)

    def forward(self, vectors: Tensor, relative: Mapping[str, Tensor]) -> Tensor:
        """Vectors (n, dim) of the second views, from those of the first."""
        return torch.einsum("nij,nj->ni", self.matrices(relative), vectors)


def _turning(blocks: Sequence[int], dim: int) -> Tensor:
    """Matrices (dim, dim, k), one for each column: unit vectors turn four numbers each, in turn."""
    starts = [sum(blocks[:number]) for number in range(len(blocks))]
    found = torch.zeros(dim, dim, sum(blocks))
    for unit, first in enumerate(range(0, dim, 4)):
        rows = slice(first, min(first + 4, dim))
        size, start = blocks[unit % len(blocks)], starts[unit % len(blocks)]
        turns = QUATERNION if size == 4 else CIRCLE
        cut = rows.stop - rows.start
        found[rows, rows, start : start + size] = turns[:cut, :cut]
    return found


def _left(w: float, x: float, y: float, z: float) -> list[list[float]]:
    """Multiplication from the left with a quaternion, as a matrix."""
    return [[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]]


# How each number of a unit vector moves four others, (4, 4, columns).
QUATERNION = torch.stack([torch.tensor(_left(*row)) for row in torch.eye(4).tolist()], 2)
CIRCLE = torch.stack(
    [torch.eye(4), torch.block_diag(*[torch.tensor([[0.0, -1.0], [1.0, 0.0]])] * 2)], 2
)


class SIE(Objective):
    """Invariant halves alike; equivariant halves a linear map of each other, by the transformation.

    Variance and covariance are of both halves' vectors side by side, so that no number of the one
    half repeats one of the other; the variance of what is predicted keeps the predictor from
    shrinking. Weights are those of the authors' code for its own data. The terms of both views
    are averaged (variance) and added (covariance), as `VICReg` does. The authors' code divides the
    variance term of the prediction by two, as it does those of either view, and weighs it with the
    same 10: here, that is a `predictor_variance` of 5.

    Args:
        halves: the backbone, split.
        projector: of the invariant half; ``Projector(halves.invariant)``.
        equivariant_projector: of the equivariant half; `EquivariantProjector`.
        predictor: made for its vectors; `HyperPredictor`.
        equivariance: weight of the squared error of the prediction, of known pairs.
    """

    posed = True

    def __init__(
        self,
        halves: SplitBackbone,
        projector: nn.Module,
        equivariant_projector: EquivariantProjector,
        predictor: HyperPredictor,
        *,
        invariance: float = 10.0,
        equivariance: float = 4.5,
        variance: float = 10.0,
        covariance: float = 1.0,
        predictor_variance: float = 5.0,
    ) -> None:
        super().__init__()
        if predictor.dim != equivariant_projector.dim:
            raise ValueError(
                f"the predictor takes {predictor.dim} numbers and the equivariant projector gives "
                f"{equivariant_projector.dim}: make both for the same"
            )
        self.weights = weights(
            invariance=invariance,
            equivariance=equivariance,
            variance=variance,
            covariance=covariance,
            predictor_variance=predictor_variance,
        )
        self.halves, self.projector = halves, projector
        self.equivariant_projector, self.predictor = equivariant_projector, predictor

    @classmethod
    def build(
        cls,
        setting: Setting,
        *,
        fed: str = "all",
        split: float | str = 0.5,
        known: float = 1.0,
        augment: Compose | Poses | None = None,
        **factors: float,
    ) -> Method:
        """The method with heads of two layers.

        Args:
            setting: what every method is built from; its width is also that of the vectors that
                the predictor maps.
            fed: what the predictor is conditioned on: one of `KINDS` (of `Poses`, of
                `POSE_KINDS`), ``"all"``, or, of augmented views, ``"one at a time"``.
            split: invariant share of the channels, or ``"group"`` for `SplitGroup`.
            known: share of the images, or of the objects, whose parameters are known.
        """
        halves, setting = split_for(setting, split)
        augment = augment or every_kind(setting.size)
        single = fed == "one at a time" and not isinstance(augment, Poses)
        encode, widths = parameters_of(augment, "all" if single else fed), (setting.width,) * 2
        objective = cls(
            halves,
            Projector(halves.invariant, widths, setting.head),
            EquivariantProjector(halves, widths),
            HyperPredictor(encode, setting.width),
            **factors,
        )
        return Method(objective, source_of(augment, known, OneAtATime if single else Augmented))

    @property
    def backbone(self) -> nn.Module:
        """The network that is trained."""
        return self.halves.backbone

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (b, d) of the invariant and of the equivariant half of images (b, 3, h, w)."""
        found = self.halves(images).pooled()
        return self.projector(found.invariant), self.equivariant_projector(found.equivariant)

    def terms(self, views: Views) -> dict[str, Tensor]:
        """The loss's terms by the names of their weights, without weights."""
        (one, moved), (other, target) = (self.embed(images) for images in views[:2])
        both = [torch.cat([one, moved], 1), torch.cat([other, target], 1)]
        relative, known = views.known_relative()
        predicted = self.predictor(moved[known], relative)
        # Of no known pair there is no error, and of a single one no variance.
        none = predicted.sum() * 0
        return {
            "invariance": invariance(one, other),
            "equivariance": F.mse_loss(predicted, target[known]) if len(predicted) else none,
            "variance": (variance(both[0]) + variance(both[1])) / 2,
            "covariance": covariance(both[0]) + covariance(both[1]),
            "predictor_variance": variance(predicted) if len(predicted) > 1 else none,
        }

    def loss(self, views: Views) -> Tensor:
        """The weighted sum of the terms; views of unknown parameters have no share in two of them.

        Raises:
            DataError: if the views lack a parameter that the predictor is conditioned on.
        """
        return weighted(self.weights, self.terms(views))
