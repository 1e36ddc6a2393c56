"""Run notebooks from top to bottom and keep what they show: `make notebooks`.

python notebooks/execute.py NOTEBOOK...
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

# What bars tell a terminal besides colors.
CONTROL = re.compile(r"\x1b\[(?:\?25[lh]|2K)")


def execute(path: Path) -> None:
    """Run one in its folder and write it back, without warnings of this machine and moving bars."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": os.fspath(path.parent)}}
    NotebookClient(notebook, timeout=7200, coalesce_streams=True, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            for output in cell.outputs:
                if output.output_type == "stream":
                    lines = CONTROL.sub("", output.text).split("\n")
                    output.text = "\n".join(line.rsplit("\r", 1)[-1] for line in lines)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        execute(Path(name))
