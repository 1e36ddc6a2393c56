"""3DIEBench -> one .npz of labels, poses and lights, with the counts and the files checked.

python datasets/threedie/prepare.py --root FOLDER [--images] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hierforecast.image_ssl.data import ThreeDIEBench, threedie


def prepare(
    root: Path,
    out: Path,
    images: bool = False,
    objects: int = threedie.N_OBJECTS,
    views: int = threedie.N_VIEWS,
) -> int:
    """Write what is behind every view and return the number of views."""
    found = ThreeDIEBench(root, size=33, views=views)
    assert found.n_objects == objects, f"{found.n_objects} objects, expected {objects}"
    if images:
        damaged = found.check()
        assert not damaged, f"{len(damaged)} files cannot be read, e.g. {min(damaged)}"
    parameters = found.parameters(np.arange(len(found)))
    assert parameters["angles"].abs().max() <= np.pi / 2 + 1e-5
    out.mkdir(parents=True, exist_ok=True)
    columns = {name: value.numpy() for name, value in parameters.items()}
    np.savez(out / "threedie.npz", objects=np.array(found.objects), **columns)
    return len(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder with the synsets' folders")
    parser.add_argument("--images", action="store_true", help="decode every image, too: hours")
    parser.add_argument("--out", type=Path, default=Path("threedie"))
    options = parser.parse_args()
    count = prepare(options.root, options.out, options.images)
    print(f"{options.out}: {count:,} views")
