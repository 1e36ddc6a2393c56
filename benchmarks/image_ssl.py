"""Image SSL in three arms, five methods: plain, equivariant and consistent, equivariant and not.

python -m benchmarks.image_ssl --data shapes --folder runs/ssl-shapes --seeds 0 1 2
python -m benchmarks.image_ssl --data cifar --folder runs/ssl-cifar --seeds 0 1 2

Every run is kept as a file in the folder and not done again; two processes with other seeds can
share a folder, and a last call without new runs prints and writes the table.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

import pandas as pd
import torch

from benchmarks._results import write_section
from hierforecast.image_ssl.data import ArrayImages, ImageSet, RenderedShapes, load_cifar10
from hierforecast.image_ssl.evaluation import evaluate
from hierforecast.image_ssl.methods import ARMS, arm, build_method, head_weights
from hierforecast.image_ssl.nn import ResNet, Sampling, small_resnet
from hierforecast.image_ssl.plot import plot_comparison
from hierforecast.image_ssl.training import Schedule, pretrain

SIZE = 33
# Halves at once: a quarter of the work, and on one core that is what there is.
STEM = (Sampling(3, 2, 1),)
# Steps of each method, the same for its three arms: about equally long on one core.
STEPS = {"context": 1500, "jigsaw": 400, "moco": 300, "swav": 300, "simsiam": 300}
METHODS = tuple(STEPS)
# A puzzle of 2 x 2 needs a few more pixels, for two tiles of 17.
TASKS: dict[str, dict[str, Any]] = {"jigsaw": {"grid": 2, "count": 16}}
SIZES = {"jigsaw": 41}
# Shares of red, green and blue in a grey (Rec. 601).
LUMA = (0.299, 0.587, 0.114)
# Mukuta and Harada, arXiv 2303.04427, Table 1: ImageNet, linear, accuracy in percent.
PUBLISHED = {
    "context": (32.7, 35.1, 31.5),
    "jigsaw": (35.1, 43.1, 42.5),
    "moco": (63.8, 65.7, 65.0),
    "swav": (71.4, 71.6, 68.2),
    "simsiam": (65.9, 68.2, 65.5),
}
# Which features a column of the table is; the plain arm has one kind.
FEATURES = ("invariant", "equivariant")


@dataclass(frozen=True)
class Sets:
    """Images to learn from and to judge by; the probe is taught on the former with their labels."""

    train: ImageSet
    test: ImageSet


@cache
def load(name: str, size: int = SIZE) -> Sets:
    """The sets of a table, at a size that the networks are exact for."""
    if name == "shapes":
        return Sets(*(grey(n, seed, size) for n, seed in ((4096, 0), (2048, 1))))
    if name == "textured":
        sets = (RenderedShapes(4096, 0, size), RenderedShapes(2048, 1, size))
        return Sets(*(part.in_memory() for part in sets))
    return Sets(*(load_cifar10(split).resized(size) for split in ("train", "test")))


def grey(n: int, seed: int, size: int) -> ArrayImages:
    """Grey shapes on plain grounds, so that nothing but the shape tells pictures apart."""
    coloured = RenderedShapes(n, seed, size, textures=("plain",), light=0.0).in_memory()
    shades = torch.tensor(LUMA).view(1, 3, 1, 1) * coloured.images
    images = shades.sum(1, keepdim=True).round().to(torch.uint8).expand(-1, 3, -1, -1)
    return ArrayImages(images.contiguous(), coloured.labels, coloured.classes)


def network(arm_name: str, group: str, width: int, match: str) -> ResNet:
    """An arm's backbone, matched to the plain one of `width`."""
    return small_resnet(arm(arm_name, group)[0], width, match=match, stem=STEM)


def run(method: str, arm_name: str, seed: int, given: argparse.Namespace) -> Path:
    """Pretrain and judge one arm, or find that it was done; a file of scores."""
    path = Path(given.folder) / f"{method}-{arm_name}-{seed}.csv"
    if path.exists():
        return path
    sets = load(given.data, SIZES.get(method, SIZE))
    torch.manual_seed(seed)
    backbone = network(arm_name, given.group, given.width, given.match)
    begun, heads, steps = process_time(), 0, 0
    if method != "random":
        learning = build_method(
            method,
            backbone,
            arm(arm_name, given.group)[1],
            symmetry=given.group,
            size=SIZES.get(method, SIZE),
            match_head=network("plain", given.group, given.width, given.match),
            **TASKS.get(method, {}),
        )
        heads = head_weights(learning)
        steps = max(1, round(STEPS[method] * given.effort))
        schedule = Schedule(steps, given.batch_size, given.learning_rate, seed=seed)
        pretrain(learning, sets.train, schedule, trainer={"enable_progress_bar": given.progress})
    seconds = process_time() - begun
    scores = evaluate(backbone, sets.train, sets.test, progress=False)
    weights = sum(p.numel() for p in backbone.parameters())
    scores = scores.assign(method=method, arm=arm_name, seed=seed, seconds=seconds)
    scores = scores.assign(weights=weights, head_weights=heads, steps=steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    scores.to_csv(path, index=False)
    print(path.name, *scores["score"].round(3), f"{seconds:.0f} s", flush=True)
    return path


def summary(scores: pd.DataFrame, classifier: str) -> pd.DataFrame:
    """Method x (arm, features), mean and spread over seeds, with the published row beside it."""
    rows = scores[scores["classifier"] == classifier]
    table: dict[str, dict[str, str]] = {}
    for method in dict.fromkeys(rows["method"]):
        cells = {}
        for name in ARMS:
            for kind in FEATURES[:1] if name == "plain" else FEATURES:
                here = rows[
                    (rows["method"] == method) & (rows["arm"] == name) & (rows["features"] == kind)
                ]["score"]
                title = name if name == "plain" else f"{name}, {kind}"
                spread = f" ± {here.std():.3f}" if len(here) > 1 else ""
                cells[title] = f"{here.mean():.3f}{spread}" if len(here) else "-"
        published = PUBLISHED.get(method)
        cells["published, ImageNet: plain / consistent / inconsistent"] = (
            " / ".join(f"{value:.1f}" for value in published) if published else "-"
        )
        table[method] = cells
    return pd.DataFrame(table).T


def write(
    tables: dict[str, pd.DataFrame], scores: pd.DataFrame, sets: Sets, given: argparse.Namespace
) -> None:
    """Write the table of the linear probe into RESULTS.md."""
    weights = scores.groupby("arm")["weights"].first()
    note = (
        f"{len(sets.train):,} images to learn from (labels hidden) and to teach the probe, "
        f"{len(sets.test):,} to test; accuracy, mean ± deviation over seeds "
        f"{', '.join(map(str, given.seeds))}. Group {given.group}, weights "
        f"{', '.join(f'{name} {weights[name]:,}' for name in ARMS if name in weights)}. Steps of "
        f"{given.batch_size} images: {', '.join(f'{m} {s}' for m, s in STEPS.items())}. "
        "'invariant' features are averaged over the group, 'equivariant' ones are not. The "
        "published column is Table 1 of arXiv 2303.04427: another network, data set and size. "
        "'random' is untrained. Runs are kept in the folder: they may be older than the commit "
        "below."
    )
    for classifier, table in tables.items():
        key = f"image-ssl-{given.data}-{classifier.replace(' ', '-')}"
        write_section(key, f"Image SSL, three arms: {given.data}, {classifier}", table, note)


def draw(scores: pd.DataFrame, path: Path) -> None:
    """Draw the arms' linear probes on invariant features as bars."""
    shown = (scores["classifier"] == "linear probe") & (scores["features"] == "invariant")
    learned = scores[shown & (scores["method"] != "random")]
    axes = plot_comparison(learned, label="accuracy of a linear probe")
    axes.figure.savefig(path, dpi=80)


def parser() -> argparse.ArgumentParser:
    """The options of the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", choices=("shapes", "textured", "cifar"), default="shapes")
    options.add_argument("--folder", default="runs/ssl")
    options.add_argument("--methods", nargs="+", default=["random", *METHODS])
    options.add_argument("--arms", nargs="+", default=list(ARMS))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--group", default="C4")
    options.add_argument("--width", type=int, default=16)
    options.add_argument("--match", default="parameters", help="parameters or compute")
    options.add_argument("--effort", type=float, default=1.0, help="multiplies all steps")
    options.add_argument("--batch-size", type=int, default=128)
    options.add_argument("--learning-rate", type=float, default=2e-3)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--progress", action="store_true")
    options.add_argument("--plot", type=Path, help="picture to draw")
    options.add_argument("--write", action="store_true", help="write the table into RESULTS.md")
    return options


def main() -> None:
    given = parser().parse_args()
    torch.set_num_threads(given.threads)
    paths = [
        run(method, name, seed, given)
        for seed in given.seeds
        for method in given.methods
        for name in given.arms
        if not (method == "random" and name == "inconsistent")  # the same as the consistent one
    ]
    scores = pd.concat(map(pd.read_csv, paths), ignore_index=True)
    tables = {name: summary(scores, name) for name in scores["classifier"].unique()}
    for classifier, table in tables.items():
        print(f"\n{classifier}\n{table.to_string()}")
    if given.plot:
        draw(scores, given.plot)
    if given.write:
        write(tables, scores, load(given.data), given)


if __name__ == "__main__":
    main()
