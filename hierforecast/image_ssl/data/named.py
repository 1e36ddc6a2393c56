"""Sets of images by the names that the command line calls them by.

Every module of this folder is imported, so that each set registers its own names.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data._files import OnError
from hierforecast.image_ssl.data._registry import SOURCES, Opener, Request
from hierforecast.image_ssl.data.arrays import ImageSet, Indices, Subset, whole_numbers
from hierforecast.image_ssl.data.folder import open_folder
from hierforecast.image_ssl.data.views import MaskSet, PosedSet

for _module in iter_modules([str(Path(__file__).parent)]):
    if _module.name != Path(__file__).stem:
        import_module(f"hierforecast.image_ssl.data.{_module.name}")


def _names(kind: type, *more: str) -> str:
    """How the sets of a kind may be written, as a list in a sentence."""
    names = [name for one in SOURCES.values() if kind in one.openers for name in one.usage]
    *most, last = (*sorted(names, key=lambda name: "ROOT" in name), *more)
    return f"{', '.join(most)}, or {last}"


NAMES, POSED_NAMES, MASK_NAMES = _names(ImageSet, "a folder"), _names(PosedSet), _names(MaskSet)
_NEEDED = {PosedSet: f"known poses: give {POSED_NAMES}", MaskSet: f"masks: give {MASK_NAMES}"}


def open_set(
    name: str,
    size: int,
    split: str | None = None,
    *,
    test: bool = False,
    images: int | None = None,
    on_error: OnError = "raise",
    kind: type = ImageSet,
) -> Any:
    """A set of labelled images by its name, to train or to evaluate on.

    Args:
        name: one of `NAMES`: ``"objects:45"`` is within 45 degrees of the upright pose; ROOT is the
            folder that the files lie in; a folder is one of class folders, or of splits such as
            train/ and val/.
        size: side of the images, pixels.
        split: of the set; by default what it has to train on, or with `test` to evaluate on. In a
            folder that is train/ if there is one, or val/ or test/; 3DIEBench also has all, for
            which it needs no lists.
        test: whether to evaluate on the images: what is rendered is then of another seed.
        images: so many at most, drawn at random (always the same ones); of a `PosedSet`, objects
            with all their views.
        on_error: what to do about a file that cannot be read: "raise" or "skip".
        kind: `ImageSet`; or `PosedSet`, one of `POSED_NAMES`; or `MaskSet`, one of `MASK_NAMES`.

    Raises:
        DataError: if there is no such set, or it has no such images.
        ValueError: for a split that the set does not have.
    """
    request, opener = Request(name, size, split, test, images, on_error), _opener(kind, name)
    if opener is None and kind in _NEEDED:
        raise DataError(f"{name!r} is no set of {_NEEDED[kind]}")
    found: Any = open_folder(request, NAMES) if opener is None else opener(request)
    views = found.views if kind is PosedSet else 1
    drawn = request.drawn(len(found) // views, views)
    if drawn is None:
        return found
    return _SomeObjects(found, drawn) if kind is PosedSet else found.subset(drawn)


open_posed, open_masks = partial(open_set, kind=PosedSet), partial(open_set, kind=MaskSet)


def is_posed(name: str) -> bool:
    """Whether `open_posed` knows the set."""
    return _opener(PosedSet, name) is not None


def _opener(kind: type, name: str) -> Opener | None:
    source = SOURCES.get(name.partition(":")[0])
    return None if source is None else source.openers.get(kind)


class _SomeObjects(Subset, PosedSet):
    """Some objects of another set, by their numbers there, with all their views."""

    def __init__(self, parent: PosedSet, objects: Tensor) -> None:
        self.n_objects, self.views, self.frame = len(objects), parent.views, parent.frame
        numbers = objects[:, None] * self.views + torch.arange(self.views)
        super().__init__(parent, numbers.flatten())
        self._parameters = parent.parameters

    def parameters(self, indices: Indices) -> dict[str, Tensor]:
        numbers = whole_numbers(indices, len(self))
        return self._parameters(self.numbers[numbers]) | {"object": numbers // self.views}
