"""CIFAR-10 (Krizhevsky 2009): 32 x 32 photographs of ten kinds, read without running code.

What the files are: ``datasets/cifar10/README.md``.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hierforecast._options import one_of
from hierforecast.errors import DataError
from hierforecast.image_ssl.data._registry import Request, register
from hierforecast.image_ssl.data.arrays import ArrayImages, ImageSet
from hierforecast.io.fetch import RemoteFile, locate
from hierforecast.io.limits import BROKEN, MIB, read_tar

FILES = {
    "official": RemoteFile(
        "cifar10/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        170_498_071,
    ),
    "lossless": RemoteFile(
        "cifar10/cifar-10-python-lossless-5085-1017.tar.gz",
        "1c2a8fbbc02de3c6d07c4de82fe05c0134cc7f175e5d472b90a78ff44964bd60",
        None,
        17_250_956,
    ),
}
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SIZE = 32
N_CLASSES = len(CLASSES)
N_TRAIN = {"official": 50_000, "lossless": 5_085}
N_TEST = {"official": 10_000, "lossless": 1_017}

FOLDER = "cifar-10-batches-py"
LARGEST = 512 * MIB  # that the archive may unpack to; the official one has 178
BATCHES = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}


def load_cifar10(
    split: str = "train", version: str = "lossless", *, root: Path | str | None = None
) -> ArrayImages:
    """Photographs (3, 32, 32) and their classes, in the order of the file.

    Loading runs no code from the file: its pickles may hold numbers, texts, lists, dictionaries and
    arrays of numbers, and nothing else.

    Args:
        split: ``"train"`` or ``"test"``.
        version: ``"official"``, all 60,000, downloaded once; or ``"lossless"``, the first 1,017 of
            each batch, 5,085 to train and 1,017 to test, which has no public address.
        root: folder with ``cifar10/`` (or the files themselves), looked in first.

    Raises:
        ValueError: for an unknown `split` or `version`.
        FileNotFoundError: if the file is not found and cannot be downloaded.
        DataError: if the file is damaged, or holds anything but the batches.
    """
    one_of("split", split, BATCHES), one_of("version", version, FILES)
    images, labels = read_batches(locate(FILES[version], root=root), BATCHES[split])
    expected = (N_TRAIN if split == "train" else N_TEST)[version]
    if len(images) != expected:
        raise DataError(f"{FILES[version].name} gave {len(images)} images, expected {expected}")
    return ArrayImages(images, labels, CLASSES)


def read_batches(archive: Path | str, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32), uint8, and labels (n,), int64, of some batches of an archive.

    Args:
        archive: a ``.tar.gz`` in the layout of ``cifar-10-python.tar.gz``; it is read as a stream,
            and nothing is extracted.

    Raises:
        DataError: if the archive is truncated or none, lacks a batch, or a batch is not one.
    """
    found: dict[str, bytes] = {}
    try:
        for path, content in read_tar(archive, LARGEST):
            folder, _, name = path.removeprefix("./").partition("/")
            if folder == FOLDER and name in names:
                found[name] = content.read()
            if len(found) == len(names):
                break
    except BROKEN as error:
        raise DataError(
            f"'{archive}' is not a whole tar archive ({error}): delete it and get it again"
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"'{archive}' has no {', '.join(f'{FOLDER}/{name}' for name in missing)}")
    batches = [_batch(io.BytesIO(found[name]), f"{name} of '{archive}'") for name in names]
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _batch(content: BinaryIO, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one pickled batch, checked."""
    batch = load_plain_pickle(content, where)
    if not isinstance(batch, dict):
        raise DataError(f"{where} holds a {type(batch).__name__}, not a dictionary")
    batch = {key.decode() if isinstance(key, bytes) else key: v for key, v in batch.items()}
    missing = [key for key in ("data", "labels") if key not in batch]
    if missing:
        raise DataError(f"{where} has no {missing}, only {sorted(map(str, batch))}")
    images, labels = batch["data"], batch["labels"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2:
        raise DataError(f"data in {where} is no table of uint8")
    if images.shape[1] != 3 * SIZE * SIZE:
        raise DataError(f"data in {where} has {images.shape[1]} columns, not 3 x 32 x 32 = 3072")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"labels in {where} are no list of whole numbers")
    if len(labels) != len(images):
        raise DataError(f"{where} has {len(images)} images and {len(labels)} labels")
    if labels and not 0 <= min(labels) <= max(labels) < N_CLASSES:
        raise DataError(f"labels in {where} are not all from 0 to {N_CLASSES - 1}")
    return images.reshape(-1, 3, SIZE, SIZE), np.array(labels, np.int64)


def load_plain_pickle(content: BinaryIO, where: str) -> Any:
    """What a pickle of plain values and arrays of numbers holds; Python 2's texts come as bytes.

    No function that the pickle names is called: an array is put together here, of its bytes.

    Raises:
        DataError: if it is cut short, is no pickle, or asks for anything that could run code.
    """
    try:
        return _arrays_made(_PlainUnpickler(content, encoding="bytes").load())
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except Exception as error:  # a damaged pickle may fail in any way
        raise DataError(
            f"{where} is no whole pickle ({error.__class__.__name__}: {error}): get the file again"
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    """Gives numbers, texts, containers and what `_Array` keeps, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise DataError(
                f"it asks for {module}.{name}, which arrays of numbers do not need: it was refused "
                "and not run. Get the file from its source"
            )
        return _KNOWN[module, name]


class _NumberType:
    """Stands for numpy's dtype while a pickle is read: the code and the order of bytes."""

    def __init__(self, code: bytes | str, *options: object) -> None:
        self.code = code.decode() if isinstance(code, bytes) else code
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode() if isinstance(order, bytes) else order

    def numpy(self) -> np.dtype[Any]:
        kind = np.dtype(self.code)
        if kind.kind not in "biuf":  # objects would be pickles of their own
            raise DataError(
                f"an array in the pickle has the type {self.code!r}, which is no number"
            )
        return kind if self.order == "|" else kind.newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stands for numpy's array while a pickle is read."""

    def __init__(self, *empty: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def numpy(self) -> np.ndarray:
        _, shape, kind, by_columns, content = self.state
        values = np.frombuffer(content, kind.numpy())
        return values.reshape(shape, order="F" if by_columns else "C").copy()


# An argument of _reconstruct is the type of the array; here a text, which cannot be called.
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "dtype"): _NumberType,
    ("numpy", "ndarray"): "ndarray",
}


def _arrays_made(value: Any) -> Any:
    """The same value with numpy's arrays in it, at the top or in a dictionary at the top."""
    if isinstance(value, dict):
        return {key: one.numpy() if isinstance(one, _Array) else one for key, one in value.items()}
    return value.numpy() if isinstance(value, _Array) else value


def _open(request: Request) -> ArrayImages:
    found = load_cifar10(request.split_or("train", "test"), request.rest or "official")
    return found.resized(request.size)


register("cifar10", "cifar10:lossless", openers={ImageSet: _open})
