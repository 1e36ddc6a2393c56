"""From the equivariant halves of two views to an image.

What the decoder's tokens are made of is not established for arXiv 2412.03314; it is a module here.
`PooledTokens` is the default: frozen features are evaluated by their mean over space, and only
a decoder that sees no more than that mean makes the mean tell the transformation. `MapTokens` sees
where things are by the maps' own axes, and the mean need not say it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.image_ssl.split.encoder import Split


class PooledTokens(nn.Module):
    """Tokens from the mean over space: one linear map for each.

    Args:
        grid: tokens along a side; one for each of the decoder's patches.
    """

    def __init__(self, split: Split, dim: int, grid: int) -> None:
        super().__init__()
        self.linear = nn.Linear(split.equivariant_dim, grid * grid * dim)
        self.count = grid * grid

    def forward(self, maps: Tensor) -> Tensor:
        """Map (b, c, g, h, w) to (b, tokens, dim)."""
        vectors = maps.mean((-2, -1)).flatten(1)
        tokens: Tensor = self.linear(vectors).unflatten(1, (self.count, -1))
        return tokens


class MapTokens(nn.Module):
    """Tokens from the places of the feature map, brought to the decoder's grid.

    Args:
        grid: tokens along a side; a map of another size is resized.
    """

    def __init__(self, split: Split, dim: int, grid: int) -> None:
        super().__init__()
        self.linear, self.grid = nn.Linear(split.equivariant_dim, dim), grid

    def forward(self, maps: Tensor) -> Tensor:
        """Map (b, c, g, h, w) to (b, tokens, dim)."""
        places = maps.flatten(1, 2)
        size = (self.grid, self.grid)
        if places.shape[-2:] != size:
            places = F.interpolate(places, size, mode="bilinear", antialias=True)
        tokens: Tensor = self.linear(places.flatten(2).mT)
        return tokens


class CrossAttentionDecoder(nn.Module):
    """Cross-attention, self-attention and a linear map of each token to a patch of the image.

    One cross-attention layer (queries: one view; keys and values: the other), then self-attention
    layers, then a linear map of each token to a patch (arXiv 2412.03314). Positions are learned and
    added to both views' tokens. Patches that reach beyond the image are cut off evenly around it,
    so that any size will do.

    Args:
        size: side of the image, pixels.
        patch: side of a patch, pixels; not established, 4 is usual for small images.
        dim: of a token, a multiple of `heads`.
        layers: of self-attention, L; not established.

    Attributes:
        grid: patches along a side, ``ceil(size / patch)``; tokens must be as many.
    """

    def __init__(
        self, size: int, *, patch: int = 4, dim: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        if min(size, patch, heads) < 1 or layers < 0 or dim < 1 or dim % heads:
            raise ValueError(
                f"size={size}, patch={patch}, dim={dim}, layers={layers}, heads={heads}: give 1 or "
                "more (layers from 0), and a dim that the heads divide"
            )
        self.size, self.patch, self.dim = size, patch, dim
        self.grid = math.ceil(size / patch)
        self.positions = nn.Parameter(0.02 * torch.randn(self.grid**2, dim))
        self.cross = CrossAttention(dim, heads)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    dim, heads, 2 * dim, 0.0, F.gelu, batch_first=True, norm_first=True
                )
                for _ in range(layers)
            )
        )
        self.to_patches = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 3 * patch * patch))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Reconstruct an image (b, 3, size, size), standardized.

        Args:
            queries: tokens (b, grid * grid, dim) of the view that is reconstructed.
            keys: tokens (b, n, dim) of the other view, for keys and values.
        """
        count = self.grid**2
        if queries.shape[1:] != (count, self.dim) or keys.shape != queries.shape:
            raise ValueError(
                f"tokens {tuple(queries.shape)} and {tuple(keys.shape)}: this decoder takes "
                f"(b, {count}, {self.dim}) of both views; make them with grid={self.grid} and "
                f"dim={self.dim}"
            )
        blended = self.cross(queries + self.positions, keys + self.positions)
        patches = self.to_patches(self.layers(blended))
        whole = F.fold(patches.mT, self.grid * self.patch, self.patch, stride=self.patch)
        before = (self.grid * self.patch - self.size) // 2
        within = slice(before, before + self.size)
        return whole[..., within, within]


class CrossAttention(nn.Module):
    """Attention from one set of tokens to another, and a small network; both add to the first."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.layers = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Map queries (b, n, dim) and keys (b, m, dim) to (b, n, dim)."""
        of_queries, of_keys, after = self.norms
        normed = of_keys(keys)
        found, _ = self.attention(of_queries(queries), normed, normed, need_weights=False)
        blended = queries + found
        result: Tensor = blended + self.layers(after(blended))
        return result


def standardized(images: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Images of which each color has mean 0 and standard deviation 1 over the whole batch.

    A mean squared error of 1 is then that of the mean color everywhere. Statistics of
    one image, or of one patch, would take brightness and contrast out of the target, which the
    features shall tell.

    Args:
        images: (b, 3, h, w).
        epsilon: smallest standard deviation that is divided by.
    """
    axes = (0, 2, 3)
    centered = images - images.mean(axes, keepdim=True)
    return centered / centered.square().mean(axes, keepdim=True).sqrt().clamp(min=epsilon)


def squared_error(found: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of a reconstruction and the standardized target, (b, 3, h, w) both."""
    return F.mse_loss(found, standardized(target))


def whitened_error(found: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """The same, each direction of color in units of its own variance over the batch.

    In photographs, red, green and blue go together: what sets them apart, saturation and hue, is a
    small part of the squared error, and features may do without it.

    Args:
        epsilon: smallest variance that is divided by.
    """
    wanted = standardized(target)
    # Decomposed in float32 at least; the axes are of the target, through which no gradient goes.
    exact = torch.promote_types(wanted.dtype, torch.float32)
    pixels = wanted.detach().transpose(0, 1).flatten(1).to(exact)
    variances, axes = torch.linalg.eigh(pixels @ pixels.T / pixels.shape[1])
    whiten = (axes * variances.clamp(min=epsilon).rsqrt()).T.to(found)
    return torch.einsum("kc,bchw->bkhw", whiten, found - wanted).square().mean()
