"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hierforecast import Columns, Forecaster
from hierforecast._console import Names, option
from hierforecast._words import flag

DEFAULTS: dict[str, Any] = Forecaster.__init__.__kwdefaults__ or {}
Text = str | None

TABLE = "Long table: .csv, .tsv, .txt or .parquet"
TableFile = Annotated[str, typer.Argument(help=f"{TABLE}; or a 'pattern', or a folder.")]
TableFiles = Annotated[
    list[str], typer.Argument(help=f"{TABLE}; or several, a 'pattern', or a folder.")
]
Folder = Annotated[Path, typer.Argument(help="Folder of a fitted forecaster.")]
NewFolder = Annotated[Path, typer.Argument(help="Folder to save the forecaster in.")]

# The role of each column, see `columns_of`.
ROLES: dict[str, Any] = {
    "id": Annotated[Names, option("--id", "Column that names the series; repeat. [unique_id]")],
    "time": Annotated[Text, option("--time", "Column of whole steps or of dates. [ds]")],
    "target": Annotated[Names, option("--target", "Column to forecast; repeat for several. [y]")],
    "group": Annotated[
        Names, option("--group", "Column of groups, or A,B together; repeat, coarse to fine.")
    ],
    "crossed": Annotated[
        Names,
        option("--crossed", "Further column of groups; A/B coarse to fine, A,B together; repeat."),
    ],
    "group_type": Annotated[Text, option("--group-type", "Column of the kinds of groups.")],
    "scene": Annotated[Names, option("--scene", "Column of independent scenes; repeat.")],
    "past_covariates": Annotated[Names, option("--past", "Covariate known to the cutoff; repeat.")],
    "known_covariates": Annotated[Names, option("--known", "Covariate known ahead too; repeat.")],
    "static": Annotated[Names, option("--static", "Covariate that stays the same; repeat.")],
}
FREQ: dict[str, Any] = {
    "freq": Annotated[
        Text, option("--freq", "Step of the times: B, W-SUN, 15min, 'Mon Tue Wed', 10. [found]")
    ],
    "season": Annotated[
        list[int] | None, option("--season", "Steps of a season; repeat. [by the step of time]")
    ],
    "calendar": Annotated[
        Names,
        option(
            "--calendar",
            "Features of the times: hour, weekday, day, week, month, quarter, or "
            "'none'; repeat. [auto]",
        ),
    ],
    "holidays": Annotated[Names, option("--holidays", "Country, US or DE-BY; repeat.")],
}

Settings = Annotated[Names, option("--set", "Option KEY=VALUE, see above; repeat.")]
Seed = Annotated[int, option("--seed", "Of everything random.")]
Steps = Annotated[int, option("--steps", "Training steps at most.")]
Levels = Annotated[list[float] | None, option("--level", "Interval in percent; repeat.")]
Quantiles = Annotated[list[float] | None, option("--quantile", "Probability, 0.1; repeat.")]


def columns_of(given: Mapping[str, Any]) -> Columns:
    """The columns that `ROLES` and `FREQ` name; a group ``a,b`` is one of two columns."""
    roles = {name: value for name, value in given.items() if value}
    further = [way.split("/") for way in roles.get("crossed", ())]
    roles["crossed"] = [[level.split(",") for level in way] for way in further]
    roles["group"] = [level.split(",") for level in roles.get("group", ())] or None
    if roles.get("freq", "").isdigit():
        roles["freq"] = int(roles["freq"])
    if roles.get("calendar") in (["none"], ["auto"]):
        roles["calendar"] = None if roles["calendar"] == ["none"] else "auto"
    return Columns(**roles)


def flags_of(columns: Columns) -> str:
    """The options that name these columns: the inverse of `columns_of`."""
    roles, usual = columns.roles(), Columns(group=None).roles()
    same = {role for role, _ in roles if _of(role, roles) == _of(role, usual)}
    named = [f"{flag(role)} {name}" for role, name in roles if role not in same]
    return " ".join(named + [f"--freq {columns.freq}"] * isinstance(columns.freq, str))


def _of(role: str, pairs: list[tuple[str, str]]) -> list[str]:
    return [name for each, name in pairs if each == role]
