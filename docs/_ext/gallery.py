"""The directive `gallery`: the pictures of `docs/gallery.py`, each on light and on dark.

They are drawn before a build where one is missing or older than what draws it. After one the scene
of `docs/rollout.py` is put beside the pages that show it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).parents[1].resolve()
SCRIPT, MADE = DOCS / "gallery.py", DOCS / "_build" / "gallery"
SCENE = DOCS / "rollout.py"
CARD = """\
:::{{grid-item}}
```{{image}} /_build/gallery/{name}-light.png
:alt: {name}
:class: only-light
:target: _images/{name}-light.png
```
```{{image}} /_build/gallery/{name}-dark.png
:alt: {name}
:class: only-dark
:target: _images/{name}-dark.png
```
{caption}
:::
"""


def captions() -> dict[str, str]:
    """Name -> caption of each picture, in their order; read without importing anything."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    listed = next(
        node.value for node in tree.body
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "PICTURES"
    )  # fmt: skip
    names = [one.id for one in getattr(listed, "elts", ())]
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name: str(ast.get_docstring(functions[name])) for name in names}


def draw(app: Any) -> None:
    """Draw the pictures, if need be."""
    made = [MADE / f"{name}-{look}.png" for name in captions() for look in ("light", "dark")]
    plots = (DOCS.parent / "hierforecast" / "plot").glob("*.py")
    sources = [SCRIPT, DOCS / "gallery_data.py", *plots]
    newest = max(path.stat().st_mtime for path in sources)
    if all(path.is_file() and path.stat().st_mtime > newest for path in made):
        return
    run(SCRIPT, MADE)


def play(app: Any, error: Exception | None) -> None:
    """Make the scene that plays, for a site that is sound."""
    if error is None and app.builder.format == "html":
        run(SCENE, Path(app.outdir) / "_static" / "rollout.html")


def run(script: Path, out: Path) -> None:
    """Run a script that draws."""
    command = [sys.executable, "-W", "ignore", str(script), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ExtensionError(f"{script.name} failed:\n{done.stderr[-2000:]}")


class Gallery(SphinxDirective):
    """All pictures, two in a row where there is room."""

    def run(self) -> list[nodes.Node]:
        """A grid of cards."""
        cards = [CARD.format(name=name, caption=text) for name, text in captions().items()]
        lines = ["::::{grid} 1 1 2 2", ":gutter: 3", *"\n".join(cards).splitlines(), "::::"]
        node = nodes.container()
        self.state.nested_parse(StringList(lines, str(SCRIPT)), self.content_offset, node)
        return node.children


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("builder-inited", draw)
    app.connect("build-finished", play)
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True}
