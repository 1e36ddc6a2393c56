"""The messages that the page of questions explains are those of the package."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "faq.md").read_text("utf-8"), re.M)
PIECES = sorted({piece.strip() for row in ROWS for piece in row.split("…")})


def texts() -> list[str]:
    """Every text of the package, f-strings with their values left out."""
    found = []
    for path in (ROOT / "hierforecast").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "\0" for p in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


TEXTS = texts()


@pytest.mark.parametrize("piece", PIECES)
def test_a_message_is_as_the_package_says_it(piece):
    assert any(piece in text for text in TEXTS)


def test_the_table_is_read():
    assert len(ROWS) >= 12 and not any("no such message" in text for text in TEXTS)
