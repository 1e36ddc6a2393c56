"""How tables leave a command: into a file, or to the screen as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from hierforecast._console import say
from hierforecast.engines.homes import home_of
from hierforecast.io.files import write_table


def deliver(frame: Any, out: Path | None) -> None:
    """Write a table, and say so; without a file it goes to the screen as CSV."""
    home = home_of(frame)
    if home is not None:
        home.write(frame, str(Path(out or ".").resolve()))
        say(f"wrote {out}")
        return
    if out is None:
        typer.echo(frame.to_csv(index=False), nl=False)
        return
    write_table(frame, out)
    say(f"wrote {out}: {len(frame):,} rows, columns {', '.join(frame.columns)}")
