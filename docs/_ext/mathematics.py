"""Docstrings say shapes as ``(*S, P)`` and absolute values as ``|x|``: no markup of reST."""

from __future__ import annotations

import re
from typing import Any

CODE = re.compile(r"(`+[^`]*`+)")
MARKUP = re.compile(r"(?<=\()\*(?=\w)|\|")


def escape(line: str) -> str:
    """The line with these characters escaped, outside of code."""
    parts = CODE.split(line)
    return "".join(
        part if i % 2 else MARKUP.sub(lambda found: "\\" + found[0], part)
        for i, part in enumerate(parts)
    )


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sphinx hands over the lines of a docstring, to be changed in place."""
    lines[:] = map(escape, lines)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
