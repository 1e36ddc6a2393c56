"""A table of scores on a screen of any width: every number whole, the best one marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierforecast.metrics import find_metric

# A column is this wide at most before its heading is folded.
HEADING = 16


def show_scores(scores: pd.DataFrame, level: float, console: Console | None = None) -> None:
    """Print what `compare` answers: a section for each part, a row for each metric.

    Args:
        scores: forecaster, model, part, metric, value.
        level: of the interval whose coverage was measured, percent.
        console: where to print; None: on the standard output, 80 columns wide if that is a file.
    """
    console = Console(highlight=False) if console is None else console
    short = _short_names(scores["forecaster"].unique())
    parts = scores["part"].unique()
    for part in parts:
        own = scores[scores["part"] == part]
        values = own.pivot(index="metric", columns="forecaster", values="value")
        values = values.loc[own["metric"].unique(), own["forecaster"].unique()]
        models = own.drop_duplicates("forecaster").set_index("forecaster")["model"]
        headings = [
            short[name]
            if short[name].startswith(models[name])
            else f"{short[name]}\n{models[name]}"
            for name in values
        ]
        cells = [_marked(metric, row, level) for metric, row in values.iterrows()]
        if len(parts) > 1:
            console.print(f"\n{part}", style="bold")
        longest = max(len(str(metric)) for metric in values.index)
        for block in _blocks(headings, cells, console.width - longest - 2):
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            table.add_column("metric", min_width=min(longest, console.width // 2), overflow="fold")
            for i in block:
                table.add_column(
                    Text(headings[i]),
                    justify="right",
                    overflow="fold",
                    min_width=_width(i, [], cells),
                    max_width=_width(i, headings, cells),
                )
            for metric, row in zip(values.index, cells, strict=True):
                table.add_row(Text(str(metric)), *(row[i] for i in block))
            console.print(table)
            if block[-1] + 1 < len(headings):
                console.print()


def _marked(metric: object, values: pd.Series, level: float) -> list[Text]:
    """The figures of one metric; of several the best ones bear a star, where one can be best."""
    shown = ["" if pd.isna(value) else f"{value:.4g}" for value in values]
    best = find_metric(str(metric)).best_of(values, level) if len(values) > 1 else None
    stars = [value == best for value in values]
    return [
        Text(f"{text}{'*' if star else ' '}", style="bold" if star else "")
        for text, star in zip(shown, stars, strict=True)
    ]


def _blocks(headings: Sequence[str], cells: Sequence[list[Text]], room: int) -> Iterator[list[int]]:
    """The forecasters that stand side by side, as many as fit."""
    block: list[int] = []
    used = 0
    for i in range(len(headings)):
        needs = 2 + _width(i, headings, cells)
        if block and used + needs > room:
            yield block
            block, used = [], 0
        block.append(i)
        used += needs
    yield block


def _width(i: int, headings: Sequence[str], cells: Sequence[list[Text]]) -> int:
    """Of a forecaster's column: every figure is whole, a long heading is folded."""
    heading = max(map(len, headings[i].split("\n"))) if headings else 0
    return max(min(HEADING, heading), *(len(row[i]) for row in cells))


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Names without the folders that they share: the shortest ends that tell them apart."""
    parts = {name: PurePath(name).parts or (name,) for name in names}
    for length in range(1, max(map(len, parts.values())) + 1):
        short = {name: "/".join(own[-length:]) for name, own in parts.items()}
        if len(set(short.values())) == len(short):
            return short
    return {name: name for name in names}
