"""Keeping a backbone: weights as safetensors, options as JSON. Loading runs no code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.io.folders import check_place, read_folder, write_folder
from hierforecast.io.weights import read_dtype

OPTIONS, WHAT = "backbone.json", "backbone"


def save_backbone(
    backbone: ResNet, path: Path | str, made_by: Mapping[str, Any] | None = None
) -> None:
    """Write a network into the folder `path`: a reader sees the old one or the new, never a half.

    Args:
        path: of a new folder, or of one that holds an earlier save.
        made_by: what else is to be known of it, such as the method, the steps and the data of its
            training; anything that JSON holds.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
        TypeError: if JSON does not hold what `made_by` holds.
    """
    document = {
        "class": ResNet.__name__,
        "options": backbone.to_dict(),
        "dtype": str(next(backbone.parameters()).dtype).removeprefix("torch."),
        "made_by": dict(made_by or {}),
    }
    write_folder(Path(path), OPTIONS, document, backbone, WHAT)


def load_backbone(path: Path | str) -> ResNet:
    """Read a network, on the CPU and in evaluation mode; weights are the saved ones bit for bit.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is damaged, of another format, or holds weights of another network.
    """
    saved = read_folder(Path(path), OPTIONS, WHAT)
    name = saved.part("class", str)
    if name != ResNet.__name__:
        raise saved.error(f"holds a {name!r}, which this package does not know")
    options, dtype = saved.part("options", dict), saved.part("dtype", read_dtype)
    saved.check()
    build = lambda: ResNet.from_dict(options).to(dtype)  # noqa: E731
    return saved.fill(build, "its key 'options'")  # type: ignore[return-value]


def read_made_by(path: Path | str) -> dict[str, Any]:
    """What `save_backbone` was given as `made_by`."""
    saved = read_folder(Path(path), OPTIONS, WHAT)
    saved.check()
    made_by = saved.document.get("made_by")
    return made_by if isinstance(made_by, dict) else {}


def check_folder(path: Path | str) -> None:
    """Whether a network can be saved there; worth asking before hours of training."""
    check_place(Path(os.path.realpath(path)), OPTIONS, WHAT)
