"""Image SSL in three arms, five methods: plain, equivariant and consistent, equivariant and not.

Two processes with other seeds can share a folder, and a last call prints and writes the table.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from time import process_time
from typing import Any, NamedTuple

import pandas as pd
import torch

from benchmarks.experiment import Experiment, Found, Options, Section, spread, tidy
from hierforecast.image_ssl.data import ArrayImages, ImageSet, RenderedShapes, load_cifar10
from hierforecast.image_ssl.evaluation import evaluate
from hierforecast.image_ssl.methods import ARMS, arm, build_method, head_weights
from hierforecast.image_ssl.nn import ResNet, Sampling, small_resnet
from hierforecast.image_ssl.plot import plot_comparison
from hierforecast.image_ssl.training import Schedule, pretrain

SIZE = 33
SHAPES = ((4096, 0), (2048, 1))  # how many, and their seed: to learn from, and to test on
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
UNTRAINED_TWICE = ("random", "inconsistent")
# Which features a column of the table is; the plain arm has one kind.
FEATURES = ("invariant", "equivariant")


class Sets(NamedTuple):
    """Images to learn from and to test on; the probe is fitted to the former with their labels."""

    train: ImageSet
    test: ImageSet


@cache
def load(name: str, size: int = SIZE) -> Sets:
    """The sets of a table, at a size that the networks are exact for."""
    if name == "shapes":
        return Sets(*(grey(n, seed, size) for n, seed in SHAPES))
    if name == "textured":
        return Sets(*(RenderedShapes(n, seed, size).in_memory() for n, seed in SHAPES))
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


def measure(name: str, given: Options) -> pd.DataFrame:
    """Pretrain and evaluate one arm of a method, named by both; its scores."""
    method, arm_name = name.split("-")
    sets = load(given.data, SIZES.get(method, SIZE))
    torch.manual_seed(given.seed)
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
        schedule = Schedule(steps, given.batch_size, given.learning_rate, seed=given.seed)
        pretrain(learning, sets.train, schedule, trainer={"enable_progress_bar": False})
    seconds = process_time() - begun
    scores = evaluate(backbone, sets.train, sets.test, progress=False)
    weights = sum(p.numel() for p in backbone.parameters())
    run = {"method": method, "arm": arm_name, "seed": given.seed, "seconds": seconds}
    return scores.assign(**run, weights=weights, head_weights=heads, steps=steps)


def summary(scores: pd.DataFrame, classifier: str) -> pd.DataFrame:
    """Method x (arm, features), mean and spread over seeds, with the published row beside it."""
    rows = scores[scores["classifier"] == classifier]
    table: dict[str, dict[str, str]] = {}
    for method, of_method in rows.groupby("method", sort=False):
        kinds = dict(list(of_method.groupby(["arm", "features"])["score"]))
        cells = {}
        for name, kind in product(ARMS, FEATURES):
            here = kinds.get((name, kind), rows["score"][:0])
            if name != "plain" or kind == FEATURES[0]:
                cells[name if name == "plain" else f"{name}, {kind}"] = spread(here)
        published = " / ".join(f"{value:.1f}" for value in PUBLISHED.get(method, ()))
        cells["published, ImageNet: plain / consistent / inconsistent"] = published or "-"
        table[method] = cells
    return pd.DataFrame(table).T


def sections(found: Found, given: Options) -> list[Section]:
    """A table for each classifier of the probe; the linear one's is drawn if asked for."""
    scores, sets = tidy(found), load(given.data)
    if given.picture:
        draw(scores, given.picture)
    note = (
        f"{len(sets.train):,} images to learn from (labels hidden) and to fit the probe to, "
        f"{len(sets.test):,} to test; accuracy, mean ± deviation over seeds "
        f"{', '.join(map(str, sorted(scores['seed'].unique())))}. Group {given.group}, weights "
        f"{listed(scores, 'arm', 'weights')}; of heads, matched to the plain arm's, "
        f"{listed(scores[scores['arm'] == 'plain'], 'method', 'head_weights')}. Steps of "
        f"{given.batch_size} images: {listed(scores, 'method', 'steps')}. "
        "'invariant' features are averaged over the group, 'equivariant' ones are not. The "
        "published column is Table 1 of arXiv 2303.04427: another network, data set and size. "
        "'random' is untrained. Runs are kept in the folder: they may be older than the commit "
        "below."
    )
    return [
        Section(
            f"image-ssl-{given.data}-{classifier.replace(' ', '-')}",
            f"Image SSL, three arms: {given.data}, {classifier}",
            summary(scores, classifier),
            note,
        )
        for classifier in scores["classifier"].unique()
    ]


def listed(scores: pd.DataFrame, by: str, column: str) -> str:
    """What a column holds for each arm or method, as text; nothing for the untrained."""
    values = scores[scores["method"] != "random"].groupby(by, sort=False)[column].first()
    return ", ".join(f"{name} {value:,}" for name, value in values.items())


def draw(scores: pd.DataFrame, path: str) -> None:
    """Draw the arms' linear probes on invariant features as bars."""
    shown = (scores["classifier"] == "linear probe") & (scores["features"] == "invariant")
    learned = scores[shown & (scores["method"] != "random")]
    axes = plot_comparison(learned, label="accuracy of a linear probe")
    axes.figure.savefig(path, dpi=80)


# Untrained, the inconsistent arm is the consistent one.
RUNS = [f"{m}-{a}" for m, a in product(("random", *METHODS), ARMS) if (m, a) != UNTRAINED_TWICE]
EXPERIMENTS = {
    "image-ssl": Experiment(
        "Image SSL: five methods in three arms, plain, consistent, inconsistent",
        "image_ssl",
        ("image-ssl-shapes-*",),
        measure,
        sections,
        RUNS,
        seeds=(0, 1, 2),
        options={
            "data": "shapes",  # shapes, textured or cifar
            "group": "C4",
            "width": 16,
            "match": "parameters",  # or compute
            "effort": 1.0,  # multiplies all steps
            "batch_size": 128,
            "learning_rate": 2e-3,
        },
        beside={"picture": ""},
    )
}
