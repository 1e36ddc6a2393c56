"""ADE20K's scene parsing -> the share of each class in pixels, with counts and files checked.

python datasets/ade20k/prepare.py --root FOLDER [--size N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from hierforecast.image_ssl.data import ADE20K, ade20k

SIZES = {"training": ade20k.N_TRAINING, "validation": ade20k.N_VALIDATION}


def prepare(root: Path, out: Path, size: int = 225, sizes: dict[str, int] = SIZES) -> None:
    """Write a row a class and a column a split; every image and mask is read."""
    out.mkdir(parents=True, exist_ok=True)
    shares = {}
    for split, expected in sizes.items():
        images = ADE20K(root, size, split)
        assert len(images) == expected, f"{split}: {len(images)} images, expected {expected}"
        pixels = torch.zeros(len(images.classes), dtype=torch.int64)
        for number in range(len(images)):
            pixels += images[number][1].flatten().long().bincount(minlength=len(pixels))
        shares[split] = (pixels / pixels.sum()).numpy()
        print(f"{split}: {expected:,} images, {shares[split][0]:.1%} unlabelled")
    table = pd.DataFrame(shares, index=pd.Index(images.classes, name="class"))
    table.to_csv(out / "ade20k_classes.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder ADEChallengeData2016")
    parser.add_argument("--size", type=int, default=225)
    parser.add_argument("--out", type=Path, default=Path("ade20k"))
    options = parser.parse_args()
    prepare(options.root, options.out, options.size)
