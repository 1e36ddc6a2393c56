"""The scripts that stand beside the cards; no package holds them."""

from __future__ import annotations

from runpy import run_path
from types import SimpleNamespace

import pytest

from tests.conftest import REPOSITORY


def script(name: str) -> SimpleNamespace:
    """The functions of ``datasets/<name>/prepare.py``."""
    path = REPOSITORY / "datasets" / name / "prepare.py"
    if not path.is_file():
        pytest.skip("an unpacked sdist has no scripts of data sets")
    return SimpleNamespace(**run_path(str(path), run_name="prepare"))
