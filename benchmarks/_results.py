"""Writes a table into its place on a page: with the command, commit, hardware and date."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch

from benchmarks.experiment import Section

PAGES = Path(__file__).with_name("results")


def write(page: str, section: Section, folder: Path = PAGES, seconds: float = 0.0) -> None:
    """Replace a section of a page, or add it at the end.

    Args:
        page: name of the file, without suffix.
        section: the table.
        folder: of the pages.
        seconds: of processors that its runs took; 0: not known.
    """
    key, title, table, note = section
    parts = f"## {title}", markdown(table), note, origin() + took(seconds)
    body = "\n\n".join(part for part in parts if part)
    marked = f"<!-- {key} -->\n{body}\n<!-- /{key} -->"
    path = folder / f"{page}.md"
    text = path.read_text() if path.exists() else f"# {page.replace('_', ' ').capitalize()}\n"
    place = re.compile(rf"<!-- {re.escape(key)} -->.*<!-- /{re.escape(key)} -->", re.DOTALL)
    if place.search(text):
        text = place.sub(lambda _: marked, text)
    else:
        text = f"{text.rstrip()}\n\n{marked}\n"
    path.write_text(text)


def markdown(table: pd.DataFrame) -> str:
    """A table as markdown, its index first."""
    head = ["", *map(str, table.columns)]
    rows = [
        [str(name), *map(str, row)] for name, row in zip(table.index, table.values, strict=True)
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def origin() -> str:
    """The command, the commit, the hardware and the date, in one line."""
    here = Path(__file__).parents[1]
    command = f"python -m benchmarks {shlex.join(sys.argv[1:])}".strip()
    git = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    date = datetime.now(UTC).date().isoformat()
    return f"`{command}` · commit {commit} · {device} · torch {torch.__version__} · {date}"


def took(seconds: float) -> str:
    """How long the runs took, as the end of a line; nothing where that is not known."""
    if not seconds:
        return ""
    hours, minutes = divmod(max(1, round(seconds / 60)), 60)
    return f" · {hours} h {minutes} min of one core" if hours else f" · {minutes} min of one core"


def _processor() -> str:
    """The processor and its cores."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.*)", info.read_text()) if info.exists() else []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
