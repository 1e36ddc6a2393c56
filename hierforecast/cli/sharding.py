"""``hierforecast shard``: tables larger than memory, cut between scenes once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierforecast import Columns, Shards
from hierforecast import shard as cut
from hierforecast._console import declare, option, say
from hierforecast.cli.options import ROLES, TableFiles, columns_of
from hierforecast.shards.cutting import ROWS


@declare("columns", ROLES, columns_of)
def shard(
    paths: TableFiles,
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    columns: Columns,
    rows: Annotated[int, option("--rows", "Of a file, about.")] = ROWS,
) -> None:
    """Cut tables between scenes: a folder of Parquet files, for tables larger than memory."""
    cut(paths[0] if len(paths) == 1 else paths, folder, columns, rows)
    made = Shards(folder)
    say(f"wrote {folder}: {made.total:,} rows in {len(made):,} files")
