"""Pascal VOC 2007 -> one table of labels a split, with the counts and the files checked.

python datasets/voc2007/prepare.py --root FOLDER [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from hierforecast.image_ssl.data import load_voc2007, voc2007

SIZES = {"trainval": voc2007.N_TRAINVAL, "test": voc2007.N_TEST}


def prepare(root: Path, out: Path, sizes: dict[str, int] = SIZES) -> None:
    """Write a row an image and a column a class: 1, 0, or empty where it is not to be judged."""
    out.mkdir(parents=True, exist_ok=True)
    for split, size in sizes.items():
        images = load_voc2007(root, split)
        assert len(images) == size, f"{split}: {len(images)} images, expected {size}"
        damaged = images.check()
        assert not damaged, f"{split}: {len(damaged)} files cannot be read, e.g. {min(damaged)}"
        table = pd.DataFrame(images.labels.numpy(), columns=list(images.classes))
        table.insert(0, "image", [Path(file).stem for file in images.files])
        table.to_csv(out / f"voc2007_{split}.csv", index=False)
        seen = int((images.labels == 1).sum())
        print(f"{split}: {size:,} images, {seen:,} labels")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder with VOCdevkit/")
    parser.add_argument("--out", type=Path, default=Path("voc2007"))
    options = parser.parse_args()
    prepare(options.root, options.out)
