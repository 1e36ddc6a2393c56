"""How tables and pictures leave the commands: on the console, and as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from hierforecast._console import say
from hierforecast.errors import DataError
from hierforecast.image_ssl.data import ImageSet, as_float
from hierforecast.image_ssl.data._files import OnError
from hierforecast.image_ssl.data.named import open_set
from hierforecast.image_ssl.objective import Method
from hierforecast.image_ssl.plot import plot_reconstructions
from hierforecast.image_ssl.plot.style import FONT, INK
from hierforecast.image_ssl.views import Views
from hierforecast.io.atomic import write_atomically

TABLES = (".csv",)
PICTURES = (".png", ".pdf", ".svg")


def check_endings(out: Path | None, plot: Path | None) -> None:
    """Refuse names that nothing can be written to; worth asking before hours of work."""
    for path, endings in ((out, TABLES), (plot, PICTURES)):
        if path is not None and path.suffix.lower() not in endings:
            raise DataError(f"'{path}' cannot be written: name it {' or '.join(endings)}")


def pivoted(table: pd.DataFrame, rows: Sequence[str], column: str) -> Table:
    """Scores for the console.

    Args:
        rows: what tells the lines apart.
        column: what tells the columns apart.
    """
    columns, shown = list(table[column].unique()), Table()
    for name in rows:
        shown.add_column(name, overflow="fold")  # never cut off: names differ at their ends
    for name in columns:
        shown.add_column(str(name), min_width=len("-0.1234"))
    for key, found in table.groupby(list(rows), sort=False):
        scores = found.set_index(column)["score"]
        values = (f"{scores[name]:.4f}" if name in scores else "" for name in columns)
        shown.add_row(*map(str, key), *values)
    return shown


def joined(column: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, each named in a first column."""
    for name, table in tables.items():
        table.insert(0, column, name)
    return pd.concat(tables.values(), ignore_index=True)


def legend_below(figure: Figure, legend: Any) -> Figure:
    """The same figure, its legend in as many columns as there is room for long names."""
    names = [text.get_text() for text in legend.get_texts()]
    columns = int(figure.get_figwidth() // (0.8 + 0.11 * max(map(len, names))))
    style = {"frameon": False, "fontsize": FONT["legend"], "labelcolor": INK}
    handles = legend.legend_handles
    legend.remove()
    figure.legend(handles, names, loc="outside lower left", ncols=max(1, columns), **style)
    return figure


def deliver(
    table: pd.DataFrame,
    shown: Table,
    out: Path | None,
    plot: Path | None,
    draw: Callable[[], Any],
) -> None:
    """Print a table, and write it and its picture where they are wanted."""
    Console().print(shown)
    if out is not None:
        write_atomically(out, lambda stream: table.to_csv(stream, index=False, mode="wb"))
        say(f"wrote {out}: {len(table):,} rows, columns {', '.join(table.columns)}")
    if plot is not None:
        save_picture(draw(), plot)


def save_picture(figure: Any, path: Path) -> None:
    """Write a figure whole or not at all, and say so; its folder is made if need be."""
    kind = path.suffix.lower().removeprefix(".")
    write_atomically(path, lambda stream: figure.savefig(stream, format=kind, dpi=150))
    plt.close(figure)
    say(f"wrote {path}")


def bars() -> bool:
    """Whether somebody looks on; a bar would leave empty lines in a file."""
    return Console().is_terminal


COLUMNS, AMONG = 8, 4  # images of the picture, each one of so many


def images_to_draw(method: str, pairs: str, data: str, size: int, on_error: OnError) -> ImageSet:
    """A few test images; worth opening before the training, which would be in vain without.

    Raises:
        DataError: if the method reconstructs no augmented views, or there are no test images.
    """
    if method != "reconstruction" or pairs != "augmented":
        raise DataError("--plot draws what a reconstruction makes of augmented views: leave it out")
    try:
        found = open_set(data, size, test=True, images=AMONG * COLUMNS, on_error=on_error)
    except ValueError as error:
        raise DataError(f"--plot draws test images, so leave it out: {error}") from error
    # Views of one object may lie side by side.
    return found.subset(
        range(0, len(found), AMONG if len(found) >= AMONG * COLUMNS else 1)[:COLUMNS]
    )


def reconstruction(learning: Method, images: ImageSet, seed: int) -> Any:
    """A figure of images, two views of each, and what is reconstructed of them.

    Args:
        learning: of a `Reconstruction`; put in evaluation mode.
    """
    objective: Any = learning.eval().objective
    originals, _ = images.__getitems__(list(range(len(images))))
    held = next(learning.parameters())
    with torch.no_grad():
        shown = as_float(originals).to(held.dtype)
        views = learning.draw(Views(shown, shown), torch.Generator().manual_seed(seed))
        found = objective.reconstruct(views.first, views.second)
    wanted = views.first if views.between is None else views.between
    # They are standardized: brought to the colors of what they are to show.
    scale, loc = torch.std_mean(wanted, (0, 2, 3), correction=0, keepdim=True)
    return plot_reconstructions(originals, views.second, wanted, found * scale + loc)
