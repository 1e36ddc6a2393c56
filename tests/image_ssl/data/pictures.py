"""Files of pictures of one colour."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def picture(path: Path, colour=(200, 100, 50), width=12, height=8, mode="RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), tuple(colour)).convert(mode).save(path)
    return path
