"""NBA with players removed at test time: class information and series dropout, 3 seeds each.

The experiment of HiPerformer (arXiv 2305.08073) on public data: 40 steps in, 10 out at 0.16 s, 0 to
4 players of each team removed.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmarks._nba import (
    LEARNING_RATE,
    SCENES_PER_BATCH,
    Arm,
    agent_errors,
    remove,
    sized,
    summary,
    windows,
)
from benchmarks._scenes import COLUMNS
from benchmarks.experiment import Experiment, Found, Options, Section, spread, tidy
from hierforecast import Columns, Forecaster
from hierforecast.plot.style import AWAY, FONT, HOME, INK, MUTED, SLIDE, calm

BLIND = Columns(target=["x", "y"], group=None, scene="scene")
CLASSES = {"classes": COLUMNS, "no classes": BLIND}
MOST = 4
LIKELIHOOD = ["nll_per_coordinate", "energy_score"]
# The paper's tables 1 and 2, without -> with class information, by players removed of each team.
PUBLISHED = {
    "no classes": ("1.64/3.69", "1.71/3.82", "1.81/3.99", "1.98/4.31", "2.38/5.06"),
    "classes": ("1.65/3.68", "1.72/3.80", "1.82/3.97", "1.99/4.29", "2.40/5.02"),
}


def arms(given: Options) -> dict[str, tuple[str, float]]:
    """Class information and series dropout of each arm."""
    return {label(*both): both for both in product(CLASSES, given.rates)}


def label(information: str, rate: float) -> str:
    """An arm's name in tables."""
    return f"{information}, series dropout {rate:g}"


def measure(name: str, given: Options) -> pd.DataFrame:
    """`removals` of an arm's fit, with its information and rate."""
    information, rate = arms(given)[name]
    arm = Arm(
        f"{information.replace(' ', '-')}-{rate:g}-{given.block}-seed{given.seed}",
        sized(block=given.block),
        columns=CLASSES[information],
        series_dropout=rate,
        seed=given.seed,
        learning_rate=LEARNING_RATE / (2 if given.start else 1),
    )
    forecaster = arm.fit(Path(given.fits), given.steps, given.start)
    found = removals(forecaster, windows(given.split, given.windows))
    return found.assign(information=information, rate=rate)


def removals(forecaster: Forecaster, frame: pd.DataFrame) -> pd.DataFrame:
    """Errors of one model with 0 to 4 players of each team removed.

    Args:
        forecaster: fitted.
        frame: windows with the column ``rank``.

    Returns:
        Tidy rows: home, away (players removed), part, metric, value; for ADE and FDE also
        ``visible``, the error of the same agents with nobody removed, and for both ``agents``.
    """
    full, rows = agent_errors(forecaster, frame), []
    for home, away in product(range(MOST + 1), repeat=2):
        left = remove(frame, home, away)
        hidden = agent_errors(forecaster, left)
        seen = summary(full.loc[hidden.index])
        for part, errors in summary(hidden).items():
            for metric in ("ade", "fde"):
                value, visible = errors[metric].mean(), seen[part][metric].mean()
                rows.append((home, away, part, metric, value, visible, len(errors)))
        if home == away:
            likelihood = forecaster.evaluate(left, LIKELIHOOD).query("part == 'all'")
            for metric, value in zip(likelihood["metric"], likelihood["value"], strict=True):
                rows.append((home, away, "all", metric, value, np.nan, len(hidden)))
    columns = ["home", "away", "part", "metric", "value", "visible", "agents"]
    return pd.DataFrame(rows, columns=columns)


def over_seeds(values: pd.Series, digits: int = 3) -> str:
    """Mean over seeds, and their standard deviation if there are several."""
    return spread(values, digits, " ±")


def diagonal_table(found: pd.DataFrame) -> pd.DataFrame:
    """As many players of both teams removed: every metric of the agents that remain."""
    rows = {}
    for (information, rate), arm in found.groupby(["information", "rate"], sort=False):
        for k in range(MOST + 1):
            cell = arm[(arm["home"] == k) & (arm["away"] == k)]
            pick = {key: part["value"] for key, part in cell.groupby(["part", "metric"])}
            errors = {
                f"{part} {metric.upper()}": over_seeds(pick[part, metric])
                for metric, part in product(("ade", "fde"), ("all", "players", "ball"))
            }
            rows[f"{label(information, rate)}: {k}+{k}"] = {
                **errors,
                "NLL per coordinate": over_seeds(pick["all", LIKELIHOOD[0]]),
                "energy score": over_seeds(pick["all", LIKELIHOOD[1]], 2),
                "published ADE/FDE*": PUBLISHED[information][k],
            }
    return pd.DataFrame(rows).T


def grid_table(found: pd.DataFrame, metric: str = "ade") -> pd.DataFrame:
    """The 5 x 5 grid of removed players of each arm, mean over seeds, over who remains."""
    rows = {}
    chosen = found[(found["part"] == "all") & (found["metric"] == metric)]
    for (information, rate), arm in chosen.groupby(["information", "rate"], sort=False):
        grid = arm.pivot_table(index="home", columns="away", values="value", aggfunc="mean")
        for home, line in grid.iterrows():
            name = f"{label(information, rate)}: {home} of home removed"
            rows[name] = {f"{away} of away": f"{value:.3f}" for away, value in line.items()}
    return pd.DataFrame(rows).T


def growth(found: pd.DataFrame, part: str, both: bool) -> pd.DataFrame:
    """Error of the same visible agents with others hidden, less with nobody hidden, by seed.

    Args:
        found: rows of `measure` with information, rate and seed.
        part: of the visible agents.
        both: players removed from both teams; otherwise from one of them, either one.

    Returns:
        information, rate, seed, removed (from a team), visible, hidden, growth; ADE.
    """
    away = found["home"] if both else 0
    cells = found[(found["away"] == away) | (not both) & (found["home"] == 0)]
    cells = cells[(cells["part"] == part) & (cells["metric"] == "ade")]
    cells = cells.assign(removed=cells[["home", "away"]].max(axis=1))
    keys = ["information", "rate", "seed", "removed"]
    mean = cells.groupby(keys, sort=False, as_index=False)[["visible", "value"]].mean()
    mean = mean.rename(columns={"value": "hidden"})
    return mean.assign(growth=mean["hidden"] - mean["visible"])


def same_table(found: pd.DataFrame, part: str = "all") -> pd.DataFrame:
    """The same visible agents with others visible and hidden, and what series dropout saves."""
    rows, rates = {}, sorted(found["rate"].unique())
    for both, information in product((False, True), found["information"].unique()):
        grown = growth(found, part, both)
        grown = grown[grown["information"] == information]
        for k in range(1, MOST + 1):
            row, means = {}, {}
            for rate in rates:
                cell = grown[(grown["rate"] == rate) & (grown["removed"] == k)]
                row[f"dropout {rate:g}: visible"] = over_seeds(cell["visible"])
                row[f"dropout {rate:g}: hidden"] = over_seeds(cell["hidden"])
                row[f"dropout {rate:g}: growth"] = over_seeds(cell["growth"])
                means[rate] = cell["growth"].mean()
            row["ratio of growths"] = f"{share(means[rates[-1]], means[rates[0]]):.2f}"
            rows[f"{information}: {k} of {'each team' if both else 'one team'} hidden"] = row
    return pd.DataFrame(rows).T


def share(less: float, more: float) -> float:
    """A growth over another; NaN where a model that looks at nobody has none."""
    return less / more if more else float("nan")


def acceptance(found: pd.DataFrame) -> str:
    """How much less the error of the same visible agents grows, players of one team missing."""
    grown = growth(found, "all", both=False)
    grown = grown[(grown["information"] == "classes") & (grown["removed"] > 0)]
    with_, without = (grown[grown["rate"] == rate] for rate in (found["rate"].max(), 0))
    seeds = {
        seed: share(*(rows[rows["seed"] == seed]["growth"].mean() for rows in (with_, without)))
        for seed in sorted(set(with_["seed"]))
    }
    more, less = without["growth"].mean(), with_["growth"].mean()
    each = ", ".join(f"{value:.2f}" for value in seeds.values())
    return (
        f"Players of one team missing at test time: with series dropout {found['rate'].max():g}, "
        "the error on the same visible agents grows by "
        f"{share(less, more):.2f} times as much as without it ({less:.4f} ft "
        f"against {more:.4f} ft, mean of 1 to {MOST} missing; by seed {each}): "
        f"{'less' if less < 0.5 * more else 'not less'} than half."
    )


def draw(found: pd.DataFrame, path: Path) -> None:
    """Growth of the error of the same visible agents with the players removed, by arm."""
    figure, panels = plt.subplots(1, 2, figsize=SLIDE, sharey=True)
    styles = {"classes": HOME, "no classes": AWAY}
    for ax, both in zip(panels, (False, True), strict=True):
        calm(ax)
        for (information, rate), arm in growth(found, "all", both).groupby(["information", "rate"]):
            lines = arm.pivot(index="removed", columns="seed", values="growth")
            dash = "-" if rate else (0, (4, 2))
            color = styles[information]
            ax.plot(lines.index, lines, color=color, linestyle=dash, linewidth=0.8, alpha=0.4)
            ax.plot(
                lines.index, lines.mean(axis=1), color=color, linestyle=dash, linewidth=2.6,
                marker="o", markeredgecolor="white", label=label(information, rate),
            )  # fmt: skip
        ax.set_xticks(range(MOST + 1))
        teams = "each team" if both else "one team"
        ax.set_xlabel(f"players of {teams} hidden", color=MUTED, fontsize=FONT["label"])
    panels[0].set_ylabel("growth of ADE, feet", color=MUTED, fontsize=FONT["label"])
    panels[0].legend(frameon=False, handlelength=3.5, fontsize=FONT["legend"], labelcolor=INK)
    title = "The same visible agents, with others hidden: what the model loses"
    figure.suptitle(title, x=0.02, ha="left", fontsize=FONT["title"], fontweight="bold", color=INK)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def sections(found: Found, given: Options) -> list[Section]:
    """The four tables; the growth of errors is drawn into the folder."""
    rows, steps = tidy(found), given.steps
    draw(rows, given.folder / f"missing-{steps}.png")
    size = f"gone on from {given.start}" if given.start else f"width 64, {given.block} blocks"
    note = (
        f"{given.windows:,} random windows of the {given.split} games, the same players "
        f"removed for every arm; {steps:,} steps of {SCENES_PER_BATCH} windows, {size}; "
        f"seeds {', '.join(map(str, sorted(rows['seed'].unique())))}: mean ± standard deviation; "
        "feet."
    )
    tables = {
        "": (
            "players of both teams removed at test time",
            diagonal_table(rows),
            f"{note} The energy score is that of a whole scene's vector and falls with fewer "
            "agents. *Published, on data that is not public; that the two tables are ADE and FDE "
            "in feet at 0.16 s is inferred: for orientation, not a reproduction.",
        ),
        "-grid": ("ADE of the agents that remain by players removed", grid_table(rows), note),
        "-same": (
            "the same visible agents with others visible and hidden",
            same_table(rows),
            f"ADE in feet of the agents that stay visible. {acceptance(rows)} {note}",
        ),
        "-core": (
            "ball and one player of each team with the others visible and hidden",
            same_table(rows, "core"),
            f"ADE in feet of three agents, the same ones however many are hidden. {note}",
        ),
    }
    return [
        Section(f"nba-missing{key}-{steps}", f"NBA, {title} ({steps:,} steps)", table, text)
        for key, (title, table, text) in tables.items()
    ]


EXPERIMENTS = {
    "nba-missing": Experiment(
        "NBA, players removed at test time: class information and series dropout",
        "missing",
        tuple(f"nba-missing{key}-[0-9]*" for key in ("", "-grid", "-same", "-core")),
        measure,
        sections,
        lambda given: tuple(arms(given)),
        seeds=(0, 1, 2),
        options={
            "steps": 1000,
            "block": "relational",
            "split": "test",
            "windows": 400,
            "start": "",
        },
        beside={"rates": (0.0, 0.2), "fits": "runs/nba40"},
    )
}
