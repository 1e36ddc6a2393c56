"""CIFAR-10 -> one .npz a split (images, labels, classes), with the counts checked.

python datasets/cifar10/prepare.py [--version lossless|official] [--subset] [--root DIR] [--out DIR]
"""

from __future__ import annotations

import argparse
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np

from hierforecast.image_ssl.data import cifar10
from hierforecast.io.fetch import locate

SUBSET = "cifar-10-python-subset.tar.gz"


def prepare(version: str, root: Path | None, out: Path) -> dict[str, int]:
    """Write both splits and return their numbers of images."""
    out.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for split in cifar10.BATCHES:
        images = cifar10.load_cifar10(split, version, root=root)
        counts = images.labels.bincount(minlength=cifar10.N_CLASSES)
        assert counts.min() > 0.7 * counts.max(), f"{split}: classes have {counts.tolist()} images"
        np.savez(
            out / f"cifar10_{version}_{split}.npz",
            images=images.images.numpy(),
            labels=images.labels.numpy(),
            classes=np.array(images.classes),
        )
        sizes[split] = len(images)
    return sizes


def make_subset(root: Path | None, out: Path) -> Path:
    """The first rows of each official batch, in the official layout."""
    out.mkdir(parents=True, exist_ok=True)
    source = locate(cifar10.FILES["official"], root=root)
    with tarfile.open(out / SUBSET, "w:gz") as archive:
        for name in (name for names in cifar10.BATCHES.values() for name in names):
            images, labels = cifar10.read_batches(source, (name,))
            rows = cifar10.N_TEST["lossless"]
            data = images[:rows].reshape(rows, -1)
            content = pickle.dumps({"data": data, "labels": labels[:rows].tolist()}, protocol=4)
            member = tarfile.TarInfo(f"{cifar10.FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out / SUBSET


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", choices=list(cifar10.FILES), default="lossless")
    parser.add_argument("--subset", action="store_true", help="cut the small file instead")
    parser.add_argument("--root", type=Path, help="folder with cifar10/")
    parser.add_argument("--out", type=Path, default=Path("cifar10"))
    options = parser.parse_args()
    if options.subset:
        print(make_subset(options.root, options.out))
    else:
        for split, size in prepare(options.version, options.root, options.out).items():
            print(f"{split}: {size:,} images")
