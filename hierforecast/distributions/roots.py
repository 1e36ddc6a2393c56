"""Cholesky factors and what is solved by them, in ways that never wait for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast._waiting import at_hand


def cholesky(x: Tensor) -> Tensor:
    """Cholesky factors (..., n, n) of x; NaN in the place of one that there is not.

    Raises:
        torch.linalg.LinAlgError: instead, on a CPU. A GPU would have to be asked, and waited for.
    """
    if at_hand(x):
        return torch.linalg.cholesky(x)
    root, failed = torch.linalg.cholesky_ex(x)
    return root.masked_fill((failed != 0)[..., None, None], torch.nan)


def cholesky_plus_one(gram: Tensor) -> Tensor:
    """(..., n, n) -> Cholesky factor of I + gram."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return cholesky(gram + eye)


def solve(right: Tensor, root: Tensor) -> Tensor:
    """X (..., n, c) of A X = right, from the Cholesky factor (..., n, n) of A.

    Of several columns a GPU solves one matrix after the other, unless it is by two triangles.
    """
    if at_hand(root):
        return torch.cholesky_solve(right, root)
    half = torch.linalg.solve_triangular(root, right, upper=False)
    return torch.linalg.solve_triangular(root.mT, half, upper=True)


def volume(root: Tensor) -> Tensor:
    """Log determinant (...,) of the matrix of a Cholesky factor (..., n, n)."""
    return 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
