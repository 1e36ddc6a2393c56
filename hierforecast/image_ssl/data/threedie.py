"""3DIEBench: 52,472 models of 55 classes in 50 poses and lights each, as files.

What the files are: ``datasets/threedie/README.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from hierforecast._options import one_of, whole
from hierforecast.errors import DataError
from hierforecast.image_ssl.data._decoding import read_image
from hierforecast.image_ssl.data._files import (
    FileItems,
    OnError,
    existing_folder,
    subfolders,
)
from hierforecast.image_ssl.data._registry import Request, register
from hierforecast.image_ssl.data.arrays import ImageSet, Indices, Item, whole_numbers
from hierforecast.image_ssl.data.rotations import Frame, from_euler
from hierforecast.image_ssl.data.views import PosedSet
from hierforecast.io.limits import is_inside, read_array

ADDRESS = "https://dl.fbaipublicfiles.com/SIE/3DIEBench.tar.gz"
LISTS = "https://github.com/facebookresearch/SIE/tree/main/data"
N_CLASSES = 55
N_OBJECTS = 52_472
N_VIEWS = 50
N_IMAGES = N_OBJECTS * N_VIEWS
LATENTS = (
    "rotation_x",
    "rotation_y",
    "rotation_z",
    "background_hue",
    "light_theta",
    "light_phi",
    "light_hue",
)
N_LATENTS = len(LATENTS)
SIZE = 256  # of the files
SPLITS = ("train", "val")
EVERY = "all"  # what `open_set` calls the split that needs no lists

Objects = tuple[list[str], Tensor, tuple[str, ...]]  # their folders, labels and class names


class ThreeDIEBench(PosedSet, FileItems):
    """3DIEBench (Garrido et al. 2023): item i is view i % views of object i // views.

    Images lie at ``<root>/<synset>/<object>/image_<view>.jpg``, and beside each its seven latents,
    ``latent_<view>.npy``. They are read when asked for.

    A file that is missing, truncated or wrong is named. With ``on_error="skip"``, the next view of
    the same object that can be read, with its own parameters, stands in for it, and where an object
    has none, the next object's; each such view is warned of once.

    Args:
        root: folder of the synsets' folders.
        split: ``"train"`` or ``"val"``, as listed in ``<split>_images.npy`` and
            ``<split>_labels.npy``; None takes every object there is, in sorted order.
        lists: folder of these lists, if it is not `root`.
        frame: about whose axes the relative rotation of a pair is; see `relative_rotation`. The
            published experiments take "object".
    """

    _items = "views"

    def __init__(
        self,
        root: Path | str,
        size: int,
        split: str | None = None,
        *,
        lists: Path | str | None = None,
        views: int = N_VIEWS,
        on_error: OnError = "raise",
        frame: Frame = "world",
    ) -> None:
        super().__init__(size, on_error)
        one_of("frame", frame, get_args(Frame))
        self.root, self.frame = existing_folder(root), frame
        self.views = whole("views", views)
        if split is None:
            found = _all_objects(self.root)
        else:
            one_of("split", split, SPLITS)
            found = _listed(self.root if lists is None else existing_folder(lists), split)
        self.objects, self._object_labels, self.classes = found
        self.n_objects = len(self.objects)
        self._sound: set[int] = set()

    @property
    def labels(self) -> Tensor:
        """The class of every image, int64 (n,), without a look at the images."""
        return self._object_labels.repeat_interleave(self.views)

    def files(self, index: int) -> tuple[Path, Path]:
        """The image and the latents with this number."""
        number = range(len(self))[index]
        folder = self.root / self.objects[number // self.views]
        view = number % self.views
        return folder / f"image_{view}.jpg", folder / f"latent_{view}.npy"

    def __getitem__(self, index: int) -> Item:
        number = range(len(self))[index]
        if self.on_error == "raise":
            image = read_image(self.files(number)[0], self.size)
        else:
            number, (image, _) = self._readable(number)
        return image, self._object_labels[number // self.views]

    def parameters(self, indices: Indices) -> dict[str, Tensor]:
        """What the images with these numbers show.

        With ``on_error="skip"`` these are what `__getitem__` shows: to tell, an image is decoded
        that has not been before.

        Returns:
            A row an image: ``label`` and ``object``, int64; ``quaternion`` (b, 4), the rotation
            from the model's own pose in a world whose z points up from the floor, float32;
            ``background_hue``, of the floor, and ``light_hue``, of HSV, 0 to 1; ``light_theta``,
            the spot's angle from z, and ``light_phi``, around z from x to y, radians; and
            ``angles`` (b, 3), about the world's x, then y, then z, radians.
        """
        numbers = self._shown(whole_numbers(indices, len(self)))
        rows = [read_latents(self.files(number)[1]) for number in numbers.tolist()]
        latents = torch.from_numpy(np.array(rows).reshape(-1, N_LATENTS))
        objects = numbers // self.views
        whole = {"label": self._object_labels[objects], "object": objects}
        floats = {name: latents[:, k] for k, name in enumerate(LATENTS) if k > 2}
        floats |= {"angles": latents[:, :3], "quaternion": from_euler(latents[:, :3])}
        return whole | {name: value.float() for name, value in floats.items()}

    def _shown(self, numbers: Tensor) -> Tensor:
        """The numbers of the views that stand in for these, if files are skipped."""
        if self.on_error == "raise":
            return numbers
        shown = [n if n in self._sound else self._readable(n)[0] for n in numbers.tolist()]
        return torch.tensor(shown, dtype=torch.int64)

    def _other_views(self, first: Tensor, generator: torch.Generator | None) -> Tensor:
        """Readable ones; an object of a single readable view is paired with itself."""
        drawn = super()._other_views(first, generator)
        if self.on_error == "raise":
            return drawn
        second = []
        for own, other in zip(first.tolist(), drawn.tolist(), strict=True):
            rest = [number for number in self._siblings(other) if number != own]
            found = self._first_readable([*rest, own])
            second.append(found[0] if found is not None else own)
        return torch.tensor(second, dtype=torch.int64)

    def _readers(self, number: int) -> Mapping[Path | str, Callable[[], Any]]:
        image, latents = self.files(number)
        return {image: lambda: read_image(image, self.size), latents: lambda: read_latents(latents)}

    def _read(self, number: int) -> tuple[Any, ...]:
        both = super()._read(number)
        self._sound.add(number)
        return both

    def _siblings(self, number: int) -> list[int]:
        """The views of an object, from this one on and around."""
        start = number - number % self.views
        return [start + (number - start + step) % self.views for step in range(self.views)]

    def _substitutes(self, number: int) -> Iterable[int]:
        """The views of the same object, then those of the next ones."""
        for step in range(self.n_objects):
            yield from self._siblings((number + step * self.views) % len(self))


def read_latents(path: Path | str) -> np.ndarray:
    """The seven latents of a view, float64 (7,), in the order of `LATENTS`."""
    try:
        latents = read_array(path)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read as an array ({error}): get it again") from error
    if latents.shape != (N_LATENTS,) or latents.dtype.kind != "f" or not np.isfinite(latents).all():
        raise DataError(
            f"'{path}' holds {latents.dtype} of shape {latents.shape}, not {N_LATENTS} finite "
            "numbers: get it again or delete it"
        )
    return latents.astype(np.float64)


def _all_objects(root: Path) -> Objects:
    """Every folder two below `root`; its class is the folder above."""
    synsets = subfolders(root)
    objects, labels = [], []
    for label, synset in enumerate(synsets):
        inner = subfolders(root / synset)
        objects += [f"{synset}/{name}" for name in inner]
        labels += [label] * len(inner)
    if not objects:
        raise DataError(
            f"'{root}' has no <synset>/<object> folders. Remedy: download {ADDRESS}, extract it "
            "and give the folder that the synsets' folders then stand in."
        )
    return objects, torch.tensor(labels), tuple(synsets)


def _listed(folder: Path, split: str) -> Objects:
    """The objects of a split, from its two lists."""
    paths = [folder / f"{split}_{what}.npy" for what in ("images", "labels")]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"there is no '{missing[0]}': put the lists of {LISTS} there, or pass lists=<folder>; "
            f"split=None ({EVERY!r} on the command line) takes every object"
        )
    names, labels = (read_array(path) for path in paths)
    if names.dtype.kind not in "US" or names.ndim != 1 or not len(names):
        raise DataError(f"'{paths[0]}' holds {names.dtype} of shape {names.shape}, not names")
    most = max(N_CLASSES, len(names))
    counted = labels.dtype.kind in "iu" and labels.shape == names.shape
    if not counted or labels.min() < 0 or labels.max() >= most:
        raise DataError(f"'{paths[1]}' does not hold a class's number for each of {len(names)}")
    objects = [str(name).strip("/") for name in names.astype(str)]
    odd = [o for o in objects if len(PurePosixPath(o).parts) != 2 or not is_inside(o)]
    if odd:
        raise DataError(f"'{paths[0]}' lists '{odd[0]}', which is no <synset>/<object>")
    synsets: dict[int, str] = {}
    for name, label in zip(objects, labels.tolist(), strict=True):
        synset = name.split("/")[0]
        if synsets.setdefault(label, synset) != synset:
            raise DataError(f"'{paths[1]}' gives {synset} and {synsets[label]} one class, {label}")
    classes = tuple(synsets.get(k, f"class {k}") for k in range(max(N_CLASSES, max(synsets) + 1)))
    return objects, torch.from_numpy(labels.astype(np.int64)), classes


def _open(request: Request) -> ThreeDIEBench:
    split = request.split_or("train", "val")
    chosen = None if split == EVERY else split
    return ThreeDIEBench(request.root, request.size, chosen, on_error=request.on_error)


register("threedie:ROOT", openers={ImageSet: _open, PosedSet: _open})
