"""The directive `cli-help`: what `--help` prints, of every command."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command
from typer.testing import CliRunner

from hierforecast.cli import app as cli


def commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command that is not hidden."""
    if not hasattr(command, "list_commands"):
        return [] if command.hidden else [path]
    context = command.make_context("hierforecast", [], resilient_parsing=True)
    names = command.list_commands(context)
    found = [commands(command.get_command(context, name), (*path, name)) for name in names]
    return [one for each in found for one in each]


class CliHelp(SphinxDirective):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Read the commands and their help."""
        sections: list[nodes.Node] = []
        for words in commands(get_command(cli)):
            result = CliRunner().invoke(
                cli, [*words, "--help"], prog_name="hierforecast", terminal_width=88
            )
            title = " ".join(("hierforecast", *words))
            section = nodes.section(ids=[nodes.make_id(title)], names=[title])
            section += nodes.title(text=title)
            section += nodes.literal_block(text=result.output.strip(), language="text")
            self.state.document.note_explicit_target(section)
            sections.append(section)
        return sections


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.add_directive("cli-help", CliHelp)
    return {"parallel_read_safe": True}
