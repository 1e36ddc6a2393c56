"""How tables leave a command: into a file, or to the screen as CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import typer

from hierforecast._console import say
from hierforecast.io.files import write_table


def deliver(frame: pd.DataFrame, out: Path | None) -> None:
    """Write a table, and say so; without a file it goes to the screen as CSV."""
    if out is None:
        typer.echo(frame.to_csv(index=False), nl=False)
        return
    write_table(frame, out)
    say(f"wrote {out}: {len(frame):,} rows, columns {', '.join(frame.columns)}")
