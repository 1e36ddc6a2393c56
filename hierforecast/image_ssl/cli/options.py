"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from hierforecast._console import Names, option
from hierforecast.errors import DataError
from hierforecast.image_ssl.data._files import OnError
from hierforecast.image_ssl.data.named import NAMES

SMALL, LARGE = 33, 225  # sides that the networks are exact for

Number = int | None
Text = str | None
File = Path | None

Folder = Annotated[Path, typer.Argument(help="Folder of a saved backbone.")]
Folders = Annotated[list[Path], typer.Argument(help="Folders of saved backbones.")]
Data = Annotated[Text, option("--data", f"{NAMES}. [what it learned from]")]
Split = Annotated[Text, option("--split", "Of --data, e.g. a folder in it. [train]")]
Test = Annotated[Text, option("--test", "Another set to judge by. [--data]")]
TestSplit = Annotated[Text, option("--test-split", "Of the set to judge by. [val or test]")]
Size = Annotated[Number, option("--size", "Side of the images, pixels.", min=1)]
Images = Annotated[Number, option("--images", "Take so many of them at most.", min=1)]
Unreadable = Annotated[str, option("--on-error", "A file that cannot be read: raise, or skip it.")]
Seed = Annotated[int, option("--seed", "Of everything random.")]
Settings = Annotated[Names, option("--set", "Option KEY=VALUE, see above; repeat.")]
Device = Annotated[Text, option("--device", "E.g. cpu. [cuda if there is one]")]
Out = Annotated[File, option("--out", "Table to write, .csv.")]


def on_error_of(text: str) -> OnError:
    """What --on-error says.

    Raises:
        DataError: if it says anything else.
    """
    for known in get_args(OnError):
        if text == known:
            return known
    raise DataError(f"--on-error {text}: give {' or '.join(get_args(OnError))}")
