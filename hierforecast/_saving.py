"""A folder with weights as safetensors and everything else as JSON; reading it runs no code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hierforecast.errors import DataError

WEIGHTS = "weights.safetensors"


def write_folder(
    path: Path, options: str, document: dict[str, Any], module: nn.Module, what: str
) -> None:
    """Write a folder: a reader sees the old one or the new, never a half.

    Args:
        path: of the folder.
        options: name of the JSON file.
        document: its content.
        module: whose weights are kept.
        what: it is, for messages.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
    """
    path = path.resolve()
    check_place(path, options, what)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        weights = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
        save_file(weights, fresh / WEIGHTS)
        (fresh / options).write_text(json.dumps(document, indent=2) + "\n")
        fresh.chmod(0o755)
        _replace(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def read_folder(
    path: Path, options: str, version: int, what: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document and the weights in a folder, checked to be whole and of this format.

    Raises:
        FileNotFoundError: if a file is missing.
        DataError: if one is damaged, or of another format.
    """
    for name in (options, WEIGHTS):
        if not (path / name).exists():
            raise FileNotFoundError(f"{path} holds no {name}: is it a folder that save() wrote?")
    try:
        document = json.loads((path / options).read_text())
        weights = load_file(path / WEIGHTS)
    except (ValueError, SafetensorError) as error:  # ValueError: no JSON, or no text at all
        raise DataError(f"{path} is damaged ({error}): save the {what} again") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != version:
        raise DataError(
            f"{path} has format {found!r}, this version reads {version}: "
            "load it with the version that saved it"
        )
    return document, weights


def check_place(path: Path, options: str, what: str) -> None:
    """Refuse a place where saving would remove anything but an earlier save.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
    """
    if not path.exists():
        return
    if not path.is_dir() or {entry.name for entry in path.iterdir()} - {options, WEIGHTS}:
        raise DataError(
            f"{path} holds something else than a saved {what}, which saving would remove: "
            "give a new folder, e.g. one inside it"
        )


def _replace(fresh: Path, path: Path) -> None:
    """Put a folder where another one may stand, so that neither is ever half there."""
    if not path.exists():
        os.replace(fresh, path)
        return
    old = fresh.with_name(f"{fresh.name}-old")
    os.replace(path, old)
    try:
        os.replace(fresh, path)
    except OSError:
        os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
