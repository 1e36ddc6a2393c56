"""``hierforecast ssl evaluate`` and ``show``; what is evaluated stands in `tasks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hierforecast._console import declare, option
from hierforecast.errors import DataError
from hierforecast.image_ssl.cli.options import (
    Data,
    EvaluateOptions,
    Folder,
    Folders,
    Size,
    Split,
)
from hierforecast.image_ssl.cli.output import check_endings, deliver, save_picture
from hierforecast.image_ssl.cli.task import Run, load_all
from hierforecast.image_ssl.cli.tasks import TASKS
from hierforecast.image_ssl.data.named import open_set
from hierforecast.image_ssl.plot import plot_turning_map

Picture = Annotated[Path, option("--out", "Picture to write.")]
Image = Annotated[int, option("--image", "Its number in the set.")]


@declare("options", EvaluateOptions)
def evaluate(folders: Folders, options: EvaluateOptions) -> None:
    """Score frozen backbones; of those trained in halves, each half as well.

    --task probe: accuracy, or mean AP, of a linear probe and nearest neighbors. curve: accuracy of
    the probe by the number of labels. transformations: R2 of the parameters that take one view of
    an image to another, by a linear probe and a small network (MLP); 0 is guessing the mean. Pooled
    R2 is the definition of SIE's code, one mean over all dimensions. Of a flip, the accuracy.
    poses: the same of two views of one object. retrieval: MRR, the mean of 1 / the place of the
    nearest other view of the object, and hit@k, how often it is among the k nearest, beside chance.
    segmentation: a linear map of feature maps to the class of every pixel; mIoU, mAcc and aAcc.
    """
    if options.task not in TASKS:
        raise DataError(f"task {options.task!r} is none of {', '.join(TASKS)}")
    task = TASKS[options.task]
    check_endings(options.out, options.plot)
    task.check(options)
    run = Run(load_all(folders), options)
    table, test = task(run)
    shown = task.shown(table)
    deliver(table, shown, options.out, options.plot, lambda: task.draw(table, run, test))


def show(
    folder: Folder,
    out: Picture = Path("turning.png"),
    data: Data = None,
    split: Split = None,
    size: Size = None,
    image: Image = 0,
) -> None:
    """Draw how feature maps turn when an image does."""
    check_endings(None, out)
    run = Run(load_all([folder]), EvaluateOptions(data=data, split=split, size=size))
    pictures = open_set(run.learned_from, run.side, split)
    if not 0 <= image < len(pictures):
        raise DataError(f"there is no image {image} in a set of {len(pictures):,}")
    save_picture(plot_turning_map(run.first.net, pictures[image][0]), out)
