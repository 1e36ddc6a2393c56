"""``hierforecast plot``: a picture, a film or a page from tables of history and forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib import rc_context, style

from hierforecast import Columns, Forecaster
from hierforecast import plot as draw
from hierforecast._console import declare, option, say
from hierforecast.cli.options import ROLES, TABLE, Text, columns_of
from hierforecast.cli.tables import Tables, reads_tables
from hierforecast.errors import DataError
from hierforecast.io.atomic import write_atomically
from hierforecast.io.files import ending_of
from hierforecast.plot.columns import columns_for

# What is taken for a label or a target where nobody names the columns.
USUAL = Columns(target=["x", "y"], group=["team", "group", "sector"], scene="scene")
PICTURES, FILMS, PAGES = (".png", ".svg", ".pdf"), (".gif", ".mp4"), (".html", ".htm")
More = Annotated[str | None, option("--truth", "Table: what happened.")]


@dataclass(frozen=True)
class Looks:
    """How a picture looks."""

    title: Annotated[Text, option("--title", "Written above.")] = None
    rate: Annotated[float | None, option("--rate", "Steps a second, of step numbers.")] = None
    court: Annotated[
        str, option("--court", "basketball, nfl, soccer, ice, ice-iihf, grid, none; or as it fits.")
    ] = "auto"
    unit: Annotated[Text, option("--unit", "Of the targets. [that of the court]")] = None
    dark: Annotated[bool, option("--dark", "On black; pages go by the browser.")] = False

    def still(self) -> dict[str, Any]:
        """What every picture takes."""
        return {"title": self.title, "unit": self.unit}

    def scene(self) -> dict[str, Any]:
        """What pictures of positions take besides."""
        return self.still() | {"court": None if self.court == "none" else self.court}


def _named(given: Mapping[str, Any]) -> Columns | None:
    """The columns that the options name; None if there are none."""
    return columns_of(given) if any(given.values()) else None


@reads_tables
@declare("columns", ROLES, _named)
@declare("looks", Looks)
def plot(
    history: Annotated[str, typer.Argument(help=f"{TABLE}: up to the cutoff.")],
    forecast: Annotated[str, typer.Argument(help="Table that predict wrote.")],
    columns: Columns | None,
    tables: Tables,
    looks: Looks,
    out: Annotated[Path, option("--out", "File: .png, .svg, .pdf, .gif, .mp4 or .html.")],
    truth: More = None,
    samples: Annotated[
        str | None, option("--samples", "Table that predict --samples wrote.")
    ] = None,
    given: Annotated[str | None, option("--given", "Table: targets that were assumed.")] = None,
    imputed: Annotated[str | None, option("--imputed", "Table that impute wrote.")] = None,
    model: Annotated[Path | None, option("--model", "Folder: columns as fitted. [usual]")] = None,
    which: Annotated[Text, option("--which", "Scene to draw, if there are several; A,B.")] = None,
) -> None:
    """Draw history and forecast: a picture, a film, or a page to play and to point at.

    Two targets are positions, on a court or a pitch where they fit one; a single target is drawn
    as fans, series by series.
    """
    ending = ending_of(out) or out.suffix
    if ending.lower() not in PICTURES + FILMS + PAGES:
        endings = ", ".join(PICTURES + FILMS + PAGES[:1])
        raise DataError(f"--out {out}: let it end in one of {endings}")
    if model is not None:
        columns = Forecaster.load(model).columns
    roles = columns or USUAL
    asked = {"history": history, "truth": truth}
    frames: dict[str, Any] = {
        name: tables.read(path, roles) for name, path in asked.items() if path
    }
    if columns is None:
        _check_usual(history, frames["history"])
    if given:
        frames["given"] = tables.read_long(given, roles)
    # Draws repeat each other's labels: no row is one too many.
    answers = {"forecast": forecast, "samples": samples, "imputed": imputed}
    frames |= {n: tables.read_answer(path, roles) for n, path in answers.items() if path}
    frames["columns"] = columns
    frames["scene"] = _scene(which, frames["history"], roles)
    with rc_context():
        if looks.dark:
            style.use("dark_background")
        _draw(out, ending.lower(), frames, looks)
    say(f"wrote {out}")
    tables.say_notes()


def _check_usual(path: str, frame: Any) -> None:
    """A table whose columns nobody named has those that are taken without a name.

    Raises:
        DataError: with the options that name them.
    """
    missing = [name for name in ("unique_id", "ds") if name not in frame]
    if missing or not {"x", "y"} & set(frame):
        names = ", ".join(map(repr, missing or ["y"]))
        raise DataError(
            f"'{path}' has no column {names}; give --model FOLDER, whose columns are those of its "
            "fit, or name them: --id, --time, --target, --group, --scene; it has "
            f"{', '.join(map(repr, list(frame)[:12]))}"
        )


def _scene(which: str | None, history: Any, columns: Columns) -> Any:
    """The label of a scene as the table has it.

    Raises:
        DataError: if it has several, and none, or no such, is chosen.
    """
    if not columns.scenes or not set(columns.scenes) <= set(history):
        if which is not None:
            raise DataError(
                f"--which {which} chooses a scene, but the table has no column of scenes: leave "
                "it out, or name the column with --scene"
            )
        return None
    labels = history[list(columns.scenes)].drop_duplicates().itertuples(index=False, name=None)
    named = {",".join(map(str, label)): label for label in labels}
    if which is None and len(named) == 1:
        which = next(iter(named))
    if which not in named:
        have = ", ".join(list(named)[:5]) + (", ..." if len(named) > 5 else "")
        given = "several scenes are there" if which is None else f"--which {which}: no such scene"
        raise DataError(f"{given}; choose one with --which: {have}")
    return named[which] if len(columns.scenes) > 1 else named[which][0]


def _draw(out: Path, ending: str, frames: dict[str, Any], looks: Looks) -> None:
    """Write the file of that kind."""
    targets = columns_for(frames["columns"], frames["history"]).targets
    flat = len(targets) == 1
    if flat and ending not in PICTURES:
        raise DataError(
            f"--out {out}: films and pages show two targets, positions, and there is one, "
            f"{targets[0]!r}: let the file end in one of {', '.join(PICTURES)}, or give both with "
            "--target"
        )
    if ending in PICTURES:
        if flat:
            frames = {name: frame for name, frame in frames.items() if name != "imputed"}
            axes = draw.plot_forecast(**frames, **looks.still()).flat[0]
        else:
            axes = draw.plot_rollout(**frames, **looks.scene())
        figure = axes.get_figure()
        write_atomically(out, lambda file: figure.savefig(file, format=ending[1:], dpi=110))
    elif ending in PAGES:
        draw.rollout_page(**frames, **looks.scene(), path=out, rate=looks.rate)
    else:
        shown = frames | looks.scene()
        draw.animate_rollout(**shown, path=out, rate=looks.rate, progress=True)
