"""Rendered objects -> images, labels, masks and parameters in one .npz, and a sheet as PNG.

python datasets/objects/prepare.py [--objects N] [--views N] [--seed N] [--size N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from hierforecast.image_ssl.data import RenderedObjects
from hierforecast.image_ssl.data.objects import N_CLASSES


def prepare(objects: int, views: int, seed: int, size: int, out: Path) -> int:
    """Write both files and return the number of images."""
    rendered = RenderedObjects(objects, views, seed, size)
    numbers = np.arange(len(rendered))
    kept = rendered.in_memory()
    parameters = {name: value.numpy() for name, value in rendered.parameters(numbers).items()}
    assert (parameters["label"] == kept.labels.numpy()).all()
    masks = rendered.mask(numbers).numpy()
    share = masks.mean((1, 2))
    assert share.min() > 0.01 and share.max() < 0.8, f"masks: {share.min()} to {share.max()}"
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "objects.npz", images=kept.images.numpy(), masks=masks, **parameters)
    plt.imsave(out / "objects.png", sheet(max(size, 65), seed).numpy())
    return len(rendered)


def sheet(size: int, seed: int = 0, columns: int = 10, gap: int = 2) -> torch.Tensor:
    """An object of each class in a row of its own, view by view, on white: (height, width, 3)."""
    rendered = RenderedObjects(40 * N_CLASSES, columns, seed, size)
    labels = rendered.labels[::columns]
    firsts = [int((labels == kind).nonzero()[0, 0]) for kind in range(N_CLASSES)]
    numbers = [columns * one + view for one in firsts for view in range(columns)]
    images, _ = rendered.__getitems__(numbers)
    side = size + gap
    canvas = torch.full((N_CLASSES * side + gap, columns * side + gap, 3), 255, dtype=torch.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * side + gap, number % columns * side + gap
        canvas[top : top + size, left : left + size] = image.permute(1, 2, 0)
    return canvas


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=512)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=33)
    parser.add_argument("--out", type=Path, default=Path("objects"))
    options = parser.parse_args()
    count = prepare(options.objects, options.views, options.seed, options.size, options.out)
    print(f"{options.out}: {count:,} images")
