"""Split features: reconstruction, SIE, VICReg and others, method by probe, on objects or CIFAR-10.

python -m benchmarks.image_ssl_split --data objects --folder runs/split-objects --jobs 2
python -m benchmarks.image_ssl_split --data cifar --folder runs/split-cifar --jobs 2

Every run is kept as a file in the folder and not done again; the tables hold all that lies there,
so that a last call with `--write` only prints and writes them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
import torch

from benchmarks._results import write_section
from benchmarks._split import ARMS, POSED_ARMS, judged, load, pretrained
from hierforecast.image_ssl.plot import plot_r2

# What probes are asked of augmented views, and of two poses of an object.
VIEWS = ("rotation", "colour", "blur", "translation", "crop", "flip")
TARGETS = (*VIEWS, "background hue", "light hue", "light direction")
# Columns of the tables: target, probe, metric, and what is printed above.
COLUMNS = {
    "class, linear": ("class", "linear probe", "accuracy"),
    "class, kNN": ("class", "kNN", "accuracy"),
    **{
        f"{target}, {probe}": (target, probe, "accuracy" if target == "flip" else "R2")
        for probe in ("MLP", "linear")
        for target in TARGETS
    },
    "masks, mIoU": ("masks", "linear", "mIoU"),
    "other view, MRR": ("other view", "nearest", "MRR"),
}
# Wang, Krajsek and Scharr, arXiv 2412.03314: CIFAR-10, R2 of rotation, colour, blur, translation.
PUBLISHED = {
    "SIE (rotation)": (0.989, 0.887, 0.836, 0.911),
    "SIE (all)": (0.845, 0.864, 0.889, 0.886),
    "reconstruction": (0.826, 0.906, 0.972, 0.890),
}
# The same with the parameters of 80 % of the images unknown.
PUBLISHED_UNKNOWN = {
    "regression, 20 % known": (0.214, 0.229, 0.437, 0.386),
    "SIE (all), 20 % known": (0.402, 0.395, 0.511, 0.479),
    "reconstruction": (0.815, 0.879, 0.944, 0.878),
}


def arms(data: str) -> list[str]:
    """The methods of a table, in its order."""
    return list(POSED_ARMS if data == "poses" else ARMS)


def keep(*arguments: Any) -> None:
    """`pretrained`, whose network stays in its file."""
    pretrained(*arguments)


def all_runs(work: Callable[..., Any], given: argparse.Namespace) -> list[Any]:
    """Do what is not done yet, some at a time; what `work` gives for each arm and seed."""
    jobs = [(name, seed) for seed in given.seeds for name in given.methods]
    begun, results = monotonic(), []
    # Fresh processes: a forked one cannot use a GPU.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.jobs, context, torch.set_num_threads, (1,)) as pool:
        common = (given.data, vars(given), Path(given.folder))
        waiting = {pool.submit(work, *job, *common): job for job in jobs}
        for done in as_completed(waiting):
            results.append(done.result())
            name, seed = waiting[done]
            print(f"{monotonic() - begun:5.0f} s  {name}, {seed}", flush=True)
    return results


def summary(scores: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Method x probe, the mean and the deviation over seeds, of all features."""
    rows = scores[scores["features"].isin(("all", "maps"))]
    return _table(rows, order, {title: (rows, *column) for title, column in COLUMNS.items()})


def halves(scores: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """What each half of split features tells, where halves are judged apart."""
    rows = scores[scores["features"].str.endswith("half")]
    asked = {key: COLUMNS[key] for key in COLUMNS if "linear" not in key or "class" in key}
    columns = {
        f"{title}: {kind}": (rows[rows["features"] == f"{kind} half"], *column)
        for title, column in asked.items()
        for kind in ("invariant", "equivariant")
    }
    return _table(rows, order, columns)


def _table(
    rows: pd.DataFrame, order: list[str], columns: dict[str, tuple[Any, ...]]
) -> pd.DataFrame:
    """Methods in order x columns of (rows, target, probe, metric), but for empty columns."""
    there = [name for name in order if name in set(rows["method"])]
    table = pd.DataFrame(
        {
            title: [_cell(part[part["method"] == name], *asked) for name in there]
            for title, (part, *asked) in columns.items()
        },
        index=there,
    )
    return table.loc[:, (table != "-").any()]


def _cell(rows: pd.DataFrame, target: str, probe: str, metric: str) -> str:
    chosen = (rows["target"] == target) & (rows["probe"] == probe) & (rows["metric"] == metric)
    found = rows[chosen]["score"]
    if found.empty:
        return "-"
    return f"{found.mean():.3f}" + (f" ± {found.std():.3f}" if len(found) > 1 else "")


def beside_published(table: pd.DataFrame) -> pd.DataFrame:
    """Four R2 of the MLP and the published ones of another network on all of CIFAR-10."""
    targets = ("rotation", "colour", "blur", "translation")
    shown = table[[f"{target}, MLP" for target in targets]].copy()
    for title, published in (("", PUBLISHED), (", 80 % unknown", PUBLISHED_UNKNOWN)):
        shown[f"published{title}: {' / '.join(targets)}"] = [
            " / ".join(f"{value:.3f}" for value in published[name]) if name in published else "-"
            for name in shown.index
        ]
    return shown


def write(scores: pd.DataFrame, given: argparse.Namespace) -> None:
    """Write the tables into RESULTS.md."""
    sets = load(given.data)
    seconds = scores[scores["steps"] > 0].groupby("method")["seconds"].median()
    weights = ", ".join(map("{:,}".format, sorted(scores["weights"].unique())))
    note = (
        f"{len(sets.train):,} images to learn from and to teach the probes, {len(sets.test):,} to "
        f"judge; mean ± deviation over seeds {', '.join(map(str, given.seeds))}, one seed where no "
        "deviation stands. "
        f"{given.steps:,} steps of {given.batch_size} images for every method, weights of the "
        f"network {weights}; weight of the reconstruction {given.weight:g}, invariant share "
        f"{given.split:g}; trained on {given.hardware}; median seconds of a training "
        f"{seconds.min():.0f} to {seconds.max():.0f}. All features "
        "of both views go to the probes, the same for every method; R² as in `regression`. "
        "'random' is untrained. Runs are kept in the folder: they may be older than the commit "
        "below."
    )
    order = arms(given.data)
    table, title = summary(scores, order), f"Image SSL, split features: {given.data}"
    key = f"image-ssl-split-{given.data}"
    linear = [name for name in table if name.endswith(", linear") and "class" not in name]
    write_section(key, f"{title}, MLP probes", table.drop(columns=linear), note)
    write_section(f"{key}-linear", f"{title}, linear probes", table[linear])
    write_section(f"{key}-halves", f"{title}, the halves apart", halves(scores, order))
    if given.data == "cifar":
        beside = beside_published(table.loc[[m for m in table.index if "C4" not in m]])
        write_section(f"{key}-published", f"{title}, beside the published ones", beside)


def draw(scores: pd.DataFrame, methods: list[str], path: Path) -> None:
    """Draw the R2 of some methods as bars."""
    shown = scores[(scores["features"] == "all") & (scores["probe"] == "MLP")]
    shown = shown[shown["method"].isin(methods)]
    order = {name: number for number, name in enumerate(methods)}
    shown = shown.sort_values("method", key=lambda column: column.map(order), kind="stable")
    plot_r2(shown).savefig(path, dpi=80)


def parser() -> argparse.ArgumentParser:
    """The options of the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", choices=("objects", "cifar", "poses"), default="objects")
    options.add_argument("--folder", default="runs/split")
    every = sorted({*ARMS, *POSED_ARMS})
    options.add_argument("--methods", nargs="+", choices=every, metavar="NAME", help="[all]")
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--steps", type=int, default=1500)
    options.add_argument("--batch-size", type=int, default=128)
    options.add_argument("--learning-rate", type=float, default=2e-3)
    options.add_argument("--width", type=int, default=16)
    options.add_argument("--weight", type=float, default=20.0, help="of the reconstruction")
    options.add_argument("--split", type=float, default=0.5, help="invariant share of channels")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    options.add_argument("--train-only", action="store_true", help="judge in a later call")
    options.add_argument("--hardware", default="this machine", help="said in the note")
    options.add_argument("--plot", type=Path, help="picture to draw")
    options.add_argument("--write", action="store_true", help="write tables into RESULTS.md")
    return options


def main() -> None:
    given = parser().parse_args()
    given.methods = given.methods or list(arms(given.data))
    if given.train_only:
        all_runs(keep, given)
        return
    all_runs(judged, given)
    done = sorted(Path(given.folder).glob("*.csv"))  # those of earlier calls as well
    scores = pd.concat(map(pd.read_csv, done), ignore_index=True)
    order = arms(given.data)
    shown = [summary(scores, order), halves(scores, order)]
    print(*(f"\n{table.to_string()}" for table in shown), sep="\n")
    if given.plot:
        draw(scores, ["random", "VICReg", "SIE (all)", "reconstruction"], given.plot)
    if given.write:
        write(scores, given)


if __name__ == "__main__":
    main()
