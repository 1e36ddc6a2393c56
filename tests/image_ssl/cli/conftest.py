"""Made folders in the layouts of real sets, and a saved backbone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hierforecast.image_ssl.data import objects, shapes, threedie
from hierforecast.image_ssl.nn import small_resnet
from hierforecast.image_ssl.storage import save_backbone

OBJECTS = ("02691156/aaa", "02691156/bbb", "03001627/ccc", "03001627/ddd")


@pytest.fixture(autouse=True)
def fewer_pictures(monkeypatch):
    """Of what is rendered, and of the views of 3DIEBench's objects."""
    monkeypatch.setattr(shapes, "COUNTS", (48, 24))
    monkeypatch.setattr(objects, "COUNTS", (12, 6))


def noise(path, width, height, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder as ImageNet's: train/ and val/, a folder a class, of JPEGs of any size."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for kind in ("n01", "n02", "n03"):
            for number in range(count):
                noise(root / split / kind / f"{number}.JPEG", 90, 70 + number, rng)
    return root


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder as 3DIEBench's: four objects in fifty views, and the lists of both splits."""
    root, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(0)
    for name in OBJECTS:
        for view in range(threedie.N_VIEWS):
            noise(root / name / f"image_{view}.jpg", 20, 20, rng)
            latents = rng.random(threedie.N_LATENTS) * [1, 1, 1, 1, 0.7, 6, 1]
            np.save(root / name / f"latent_{view}.npy", latents)
    for split, chosen in (("train", OBJECTS[:2]), ("val", OBJECTS[2:])):
        np.save(root / f"{split}_images.npy", np.array([f"/{name}" for name in chosen]))
        np.save(root / f"{split}_labels.npy", np.array([0, 0] if split == "train" else [1, 1]))
    return root


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A folder as ADE20K's: images and masks of both splits."""
    root, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for split, count in (("training", 6), ("validation", 3)):
        for number in range(count):
            noise(root / "images" / split / f"ADE_{number}.jpg", 40, 36, rng)
            mask = np.kron(rng.integers(0, 4, (9, 10)), np.ones((4, 4))).astype(np.uint8)
            path = root / "annotations" / split / f"ADE_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    return root


@pytest.fixture
def saved(tmp_path):
    """An untrained network of C4 that says what it learned from."""
    save_backbone(small_resnet("C4", 2, image_size=33), tmp_path / "net", {"data": "shapes"})
    return tmp_path / "net"


@pytest.fixture
def halved(tmp_path):
    """An untrained plain network that says that it was trained in halves."""
    made_by = {"data": "objects", "method": "sie", "options": {"split": 0.25}}
    net = small_resnet("C1", 2, image_size=17, standardize=False)
    save_backbone(net, tmp_path / "halved", made_by)
    return tmp_path / "halved"
