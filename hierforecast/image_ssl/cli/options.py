"""Options that several commands share, and those of ``hierforecast ssl evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from hierforecast._console import Names, option
from hierforecast._options import one_of
from hierforecast.image_ssl.data._files import OnError
from hierforecast.image_ssl.data.named import MASK_NAMES, NAMES, POSED_NAMES

SMALL, LARGE = 33, 225  # sides that the networks are exact for

Number = int | None
Text = str | None
File = Path | None

Folder = Annotated[Path, typer.Argument(help="Folder of a saved backbone.")]
Folders = Annotated[list[Path], typer.Argument(help="Folders of saved backbones.")]
Data = Annotated[Text, option("--data", f"{NAMES}. [what it learned from]")]
Split = Annotated[Text, option("--split", "Of --data, e.g. a folder in it. [train]")]
Size = Annotated[Number, option("--size", "Side of the images, pixels.", min=1)]
Images = Annotated[Number, option("--images", "Take so many of them at most.", min=1)]
Unreadable = Annotated[str, option("--on-error", "A file that cannot be read: raise, or skip it.")]
Seed = Annotated[int, option("--seed", "Of everything random.")]
Settings = Annotated[Names, option("--set", "Option KEY=VALUE, see above; repeat.")]

EvaluationData = (
    f"{NAMES}; for poses and retrieval {POSED_NAMES}; for segmentation {MASK_NAMES}. "
    "[what it learned from; objects; shapes]"
)
Transformations = "rot, colour, blur, translation, crop, flip, or all at once; repeat. [each alone]"


@dataclass(frozen=True)
class EvaluateOptions:
    """What ``ssl evaluate`` takes; the help texts say what each is."""

    task: Annotated[str, option("--task", "What to evaluate, see above.")] = "probe"
    data: Annotated[Text, option("--data", EvaluationData)] = None
    split: Split = None
    test: Annotated[Text, option("--test", "Another set to test on. [--data]")] = None
    test_split: Annotated[Text, option("--test-split", "Of the test set. [val or test]")] = None
    size: Size = None
    images: Images = None
    on_error: Unreadable = "raise"
    labels: Annotated[Number, option("--labels", "probe: learn from so many labels only.")] = None
    transformation: Annotated[
        Names, option("--transformation", f"transformations: {Transformations}")
    ] = None
    seed: Seed = 0
    device: Annotated[Text, option("--device", "E.g. cpu. [cuda if there is one]")] = None
    out: Annotated[File, option("--out", "Table to write, .csv.")] = None
    plot: Annotated[File, option("--plot", "Picture to write.")] = None


def on_error_of(text: str) -> OnError:
    """What --on-error says."""
    return cast(OnError, one_of("--on-error", text, get_args(OnError)))
