"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hierforecast import Forecaster
from hierforecast._console import Names, option

DEFAULTS: dict[str, Any] = Forecaster.__init__.__kwdefaults__ or {}

TableFile = Annotated[Path, typer.Argument(help="Long table: .csv, .csv.gz or .parquet.")]
Folder = Annotated[Path, typer.Argument(help="Folder of a fitted forecaster.")]
NewFolder = Annotated[Path, typer.Argument(help="Folder to save the forecaster in.")]

Target = Annotated[Names, option("--target", "Column to forecast; repeat for several. [y]")]
Group = Annotated[Names, option("--group", "Column of groups; repeat, coarse to fine. [none]")]
GroupType = Annotated[str | None, option("--group-type", "Column of the kinds of groups.")]
Scene = Annotated[str | None, option("--scene", "Column of independent scenes.")]
Id = Annotated[str, option("--id", "Column that names the series.")]
Time = Annotated[str, option("--time", "Column of whole steps or of dates.")]
Past = Annotated[Names, option("--past", "Covariate known up to the cutoff; repeat.")]
Known = Annotated[Names, option("--known", "Covariate known ahead too; repeat.")]
Static = Annotated[Names, option("--static", "Covariate that stays the same; repeat.")]

Settings = Annotated[Names, option("--set", "Option KEY=VALUE, see above; repeat.")]
Seed = Annotated[int, option("--seed", "Of everything random.")]
Steps = Annotated[int, option("--steps", "Training steps at most.")]
Stride = Annotated[int | None, option("--stride", "Steps between cutoffs. [the horizon]")]
Levels = Annotated[list[float] | None, option("--level", "Interval in percent; repeat.")]
