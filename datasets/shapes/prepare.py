"""Rendered shapes -> images, labels, masks and parameters in one .npz, and a sheet of them as PNG.

python datasets/shapes/prepare.py [--images N] [--seed N] [--size N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from hierforecast.image_ssl.data import RenderedShapes
from hierforecast.image_ssl.data.shapes import N_CLASSES


def prepare(images: int, seed: int, size: int, out: Path) -> int:
    """Write both files and return the number of images."""
    shapes = RenderedShapes(images, seed=seed, size=size)
    kept = shapes.in_memory()
    numbers = np.arange(images)
    parameters = {name: value.numpy() for name, value in shapes.parameters(numbers).items()}
    assert (parameters["label"] == kept.labels.numpy()).all()
    share = kept.labels.bincount(minlength=N_CLASSES) * N_CLASSES / images
    assert images < 1000 or (share - 1).abs().max() < 0.4, f"classes: {share.tolist()}"
    out.mkdir(parents=True, exist_ok=True)
    masks = shapes.mask(numbers).numpy()
    np.savez(out / "shapes.npz", images=kept.images.numpy(), masks=masks, **parameters)
    plt.imsave(out / "shapes.png", sheet(kept.images[:64]).numpy())
    return images


def sheet(images: torch.Tensor, columns: int = 8, gap: int = 2) -> torch.Tensor:
    """Images (n, 3, h, w) side by side on white, (height, width, 3)."""
    rows = -(-len(images) // columns)
    height, width = images.shape[2] + gap, images.shape[3] + gap
    canvas = torch.full((rows * height + gap, columns * width + gap, 3), 255, dtype=torch.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * height + gap, number % columns * width + gap
        canvas[top : top + height - gap, left : left + width - gap] = image.permute(1, 2, 0)
    return canvas


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=33)
    parser.add_argument("--out", type=Path, default=Path("shapes"))
    options = parser.parse_args()
    count = prepare(options.images, options.seed, options.size, options.out)
    print(f"{options.out}: {count:,} images")
