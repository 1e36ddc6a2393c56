"""The checkpoint from which a killed training resumes: its place, and that it is of this training.

A checkpoint says which options and which data made it. Resuming with others would give the result
of neither training, so it is refused, and the error names what differs.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hierforecast.errors import DataError
from hierforecast.io.atomic import LEFTOVER
from hierforecast.io.limits import open_file

LAST, KEY, DIGEST = "last.ckpt", "hierforecast", "sha256:"
# Options of Lightning's trainer that change what is learned.
TRAINER = (
    "accumulate_grad_batches",
    "devices",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_train_batches",
    "limit_val_batches",
    "min_steps",
    "num_nodes",
    "precision",
    "val_check_interval",
)


def trainer_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of a trainer's options, those that change what is learned, by the names of the user."""
    return {f"trainer[{name!r}]": options[name] for name in TRAINER if name in options}


def prepare(
    root: str | Path | None, about: Mapping[str, Any], resume: bool, what: str
) -> Path | None:
    """The place of the last checkpoint, or None if none is to be kept.

    Args:
        root: the folder, made if need be. An older checkpoint there is removed, or a later
            resume would take it for this training's.
        about: options and digests of data, by the names that a user knows.
        resume: go on from the checkpoint that stands there.
        what: "fit" or "training", for messages.

    Raises:
        FileNotFoundError: if there is nothing to go on from.
        DataError: if it cannot be read, or is of other options or data.
    """
    if resume and (root is None or not (Path(root) / LAST).exists()):
        raise FileNotFoundError(
            f"nothing to resume: {LAST} is not in {root}; give the folder of the interrupted "
            f"{what} as trainer={{'default_root_dir': ...}}, or start with resume=False"
        )
    if root is None:
        return None
    folder = Path(root)
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():  # of a process that was killed while it wrote
        if LEFTOVER.fullmatch(entry.name) and entry.name.startswith(f".{LAST}."):
            entry.unlink(missing_ok=True)
    if resume:
        _check_same(folder / LAST, about, what)
    else:
        (folder / LAST).unlink(missing_ok=True)
    return folder / LAST


def _check_same(path: Path, about: Mapping[str, Any], what: str) -> None:
    try:
        with open_file(path) as stream:
            # Torch reads past flipped bits: it does not look at the checksums that it writes.
            bad = zipfile.ZipFile(stream).testzip()
            if bad is not None:
                raise ValueError(f"{bad} does not fit its checksum")
            stream.seek(0)
            found = torch.load(stream, weights_only=True, map_location="cpu")[KEY]["about"]
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        raise DataError(
            f"{path} is damaged, or not a checkpoint of this version "
            f"({type(error).__name__}: {error}): start the {what} again with resume=False"
        ) from error
    differences = [
        _difference(name, found.get(name), about.get(name))
        for name in dict.fromkeys([*found, *about])
        if found.get(name) != about.get(name)
    ]
    if differences:
        raise DataError(
            f"{path} is of another {what}: {'; '.join(differences)}. Resume with what it was made "
            f"with, or start the {what} again with resume=False"
        )


def _difference(name: str, then: Any, now: Any) -> str:
    if any(str(value).startswith(DIGEST) for value in (then, now)):
        return f"{name} differs"
    why = " (the learning rate falls to zero over all steps)" if name == "max_steps" else ""
    return f"{name} was {then!r} and is {now!r}{why}"


def digest(*things: Any) -> str:
    """SHA-256 of arrays, tensors, modules, dataclasses of them, and whatever `repr` shows whole."""
    total = hashlib.sha256()
    for thing in things:
        _add(total, thing)
    return DIGEST + total.hexdigest()


def layers(module: nn.Module) -> str:
    """The digest of what a module's weights are called and how large they are."""
    return digest([(name, tuple(x.shape)) for name, x in module.state_dict().items()])


def _add(total: Any, thing: Any) -> None:
    if isinstance(thing, nn.Module):
        for name, tensor in thing.state_dict().items():
            _add(total, name)
            _add(total, tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(thing, np.ndarray):
        total.update(f"{thing.dtype.kind}{thing.shape}".encode())
        if thing.dtype.kind in "OUS":  # labels: the same ones in whichever library
            total.update("\0".join(map(str, thing.flat)).encode())
        else:
            total.update(np.ascontiguousarray(thing).view(np.uint8).data)
    elif is_dataclass(thing) and not isinstance(thing, type):
        for one in fields(thing):
            _add(total, getattr(thing, one.name))
    else:
        total.update(repr(thing).encode())
