"""Writes a benchmark's table into its place in RESULTS.md: command, commit, hardware and date."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch

RESULTS = Path(__file__).with_name("RESULTS.md")


def write_section(
    key: str, title: str, table: pd.DataFrame, note: str = "", path: Path = RESULTS
) -> None:
    """Replace the section `key` of RESULTS.md, or add it at the end.

    Args:
        key: its name, in the markers around it.
        title: its heading.
        table: rows by name.
        note: what a reader must know.
        path: the file.
    """
    body = "\n\n".join(part for part in (f"## {title}", markdown(table), note, origin()) if part)
    section = f"<!-- {key} -->\n{body}\n<!-- /{key} -->"
    text = path.read_text() if path.exists() else "# Results\n"
    place = re.compile(rf"<!-- {re.escape(key)} -->.*<!-- /{re.escape(key)} -->", re.DOTALL)
    if place.search(text):
        text = place.sub(lambda _: section, text)
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
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
    name = Path(sys.argv[0]).stem
    command = f"python -m benchmarks.{name} {' '.join(sys.argv[1:])}".strip()
    git = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    date = datetime.now(UTC).date().isoformat()
    return f"`{command}` · commit {commit} · {device} · torch {torch.__version__} · {date}"


def _processor() -> str:
    """The processor and its cores."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.*)", info.read_text()) if info.exists() else []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
