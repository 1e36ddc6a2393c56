"""Pages that stand elsewhere in the repository, shown in the site with their links led there.

Results, changelog and notebooks are read by people in the repository too, so they stay where they
are. Before a build they are written into `docs/repository/` (ignored by git). A link that leads out
of `docs/` becomes one to such a page, or plain text where the site has none.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1].resolve()
ROOT = DOCS.parent
MADE = DOCS / "repository"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)]*)?\)")


def pages() -> dict[Path, Path]:
    """Where each page of the repository is shown in the site."""
    found = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "RESULTS.md"]
    found += [
        *(ROOT / "benchmarks" / "results").glob("*.md"),
        *(ROOT / "notebooks").glob("*.ipynb"),
    ]
    return {path: MADE / path.relative_to(ROOT) for path in sorted(found)}


def led(text: str, origin: Path, here: Path) -> str:
    """The text of `origin` with its links as they must be where it is shown, at `here`."""
    shown = pages()

    def lead(match: re.Match[str]) -> str:
        words, link, anchor = match[1], match[2], match[3] or ""
        target = Path(os.path.normpath(origin.parent / link))
        if not target.exists():
            return match[0]  # Sphinx warns
        target = shown.get(target, target)
        if not target.is_relative_to(DOCS) or target.is_dir():
            return words
        return f"[{words}]({os.path.relpath(target, here.parent)}{anchor})"

    return LINK.sub(lead, text)


def notebook(text: str, origin: Path, here: Path) -> str:
    """A notebook with the links of its prose led."""
    content = json.loads(text)
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = led("".join(cell["source"]), origin, here)
    return json.dumps(content)


def write(app: Any) -> None:
    """Write the pages into `docs/repository/`; one that has not changed keeps its time."""
    shown = pages()
    for path in MADE.rglob("*.*"):
        if path.is_file() and path not in shown.values():
            path.unlink()
    for origin, here in shown.items():
        here.parent.mkdir(parents=True, exist_ok=True)
        text = origin.read_text(encoding="utf-8")
        text = notebook(text, origin, here) if here.suffix == ".ipynb" else led(text, origin, here)
        if not here.exists() or here.read_text(encoding="utf-8") != text:
            here.write_text(text, encoding="utf-8")


def read(app: Any, name: str, source: list[str]) -> None:
    """Lead the links of a page of `docs/` out of it to where the site shows them."""
    path = Path(app.env.doc2path(name)).resolve()
    if path.suffix == ".md" and not path.is_relative_to(MADE):
        source[0] = led(source[0], path, path)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("builder-inited", write)
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
