"""Pictures of split features: what stands in the axes, and what errors say."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import euclidean_distance
from hierforecast.image_ssl.plot import plot_neighbors, plot_r2, plot_reconstructions
from hierforecast.image_ssl.plot.style import PALETTE

pytestmark = pytest.mark.usefixtures("figures_closed")


def table(seeds: int = 2) -> pd.DataFrame:
    means = {"random": (0.3, 0.6), "VICReg": (-0.1, -2.0), "split": (0.8, 0.9)}
    return pd.DataFrame(
        [
            {
                "method": method,
                "target": target,
                "probe": probe,
                "metric": "R2",
                "seed": seed,
                "score": mean + 0.02 * seed,
            }
            for method, pair in means.items()
            for target, mean in zip(("rotation", "colour"), pair, strict=True)
            for probe in ("linear", "MLP")
            for seed in range(seeds)
        ]
    )


def bars(ax) -> dict[tuple[str, int], float]:
    """(colour, place of the target) -> height, of the bars that are drawn."""
    return {
        (
            to_hex(bar.get_facecolor()).upper(),
            round(bar.get_x() + bar.get_width() / 2),
        ): bar.get_height()
        for bar in ax.patches
        if bar.get_height() != 0
    }


def scatters(ax) -> list[PathCollection]:
    return [drawn for drawn in ax.collections if isinstance(drawn, PathCollection)]


def test_every_bar_is_the_mean_of_its_runs_down_to_the_floor():
    rows = table()
    flips = rows.assign(metric="accuracy", target="flip", score=0.9)
    figure = plot_r2(pd.concat([rows, flips]), title="R² of it")
    figure.canvas.draw()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["linear probe", "MLP probe"]
    for ax in figure.axes:
        assert [text.get_text() for text in ax.get_xticklabels()] == ["rotation", "colour"]
        found = bars(ax)
        assert len(found) == 6
        wanted = {
            (0, 0): 0.31,
            (1, 0): -0.09,
            (2, 0): 0.81,
            (0, 1): 0.61,
            (1, 1): -0.25,
            (2, 1): 0.91,
        }
        for (method, place), height in wanted.items():
            assert found[PALETTE[method], place] == pytest.approx(height)
        texts = [text.get_text() for text in ax.texts]
        assert "−2.0" in texts and "−.09" in texts and ".31" in texts  # no value is hidden
        assert ax.get_ylim()[0] < -0.25
        assert "≤ −.25" in [text.get_text() for text in ax.get_yticklabels()]
        dots = np.concatenate([np.asarray(c.get_offsets()) for c in scatters(ax)])
        assert len(dots) == 12 and dots[:, 1].min() == -0.25
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "random",
        "VICReg",
        "split",
    ]


def test_a_table_of_one_run_without_probes():
    rows = table(1)
    rows = rows[rows.probe == "MLP"].drop(columns=["probe", "metric", "seed"])
    figure = plot_r2(rows.rename(columns={"method": "arm"}), by="arm")
    (ax,) = figure.axes
    assert len(bars(ax)) == 6
    assert not scatters(ax)  # one run has no spread
    figure.canvas.draw()


def coloured(n: int = 9) -> torch.Tensor:
    """Images that tell their number: red is 20 times it."""
    images = torch.zeros(n, 3, 4, 4, dtype=torch.uint8)
    images[:, 0] = 20 * torch.arange(n)[:, None, None]
    return images


def numbers(figure) -> list[int]:
    """The numbers of the images drawn, in the order of the axes."""
    drawn = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    return [round(float(image[0, 0, 0]) * 255 / 20) for image in drawn]


def test_neighbours_stand_in_order_without_the_query():
    line = torch.tensor([0.0, 1, 3, 7, 15, 31, 63, 127, 255])[:, None]
    halves = {"up": line, "mixed": line[torch.tensor([8, 0, 1, 2, 3, 4, 5, 6, 7])]}
    figure = plot_neighbors(coloured(), halves, [3, 0], k=3, distance=euclidean_distance, title="t")
    figure.canvas.draw()
    # By hand, from the distances on the line.
    assert numbers(figure) == [3, 2, 1, 0, 2, 1, 4, 0, 1, 2, 3, 8, 7, 6]
    headings = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert headings == ["query", "nearest by up", "nearest by mixed"]


def test_neighbours_by_cosine_against_a_loop():
    x = torch.randn(9, 5)
    figure = plot_neighbors(coloured(), {"x": x}, [4], k=8)
    cosines = [float(x[4] @ x[i] / x[4].norm() / x[i].norm()) for i in range(9)]
    order = sorted(set(range(9)) - {4}, key=lambda i: -cosines[i])
    assert numbers(figure) == [4, *order]


def test_columns_are_of_one_width():
    figure = plot_neighbors(coloured(), {"a rather long name": torch.randn(9, 3)}, [1, 2], k=4)
    figure.canvas.draw()
    lefts = [ax.get_position().x0 for ax in figure.axes[2:6]]
    assert np.allclose(np.diff(lefts), np.diff(lefts)[0], atol=1e-3)


def test_reconstructions_stand_below_their_images():
    images = coloured(3)
    views = images.flip(0).float() / 255
    rebuilt = {"ours": images, "theirs": images[[1, 1, 1]]}
    figure = plot_reconstructions(images, images, views, rebuilt, title="rebuilt")
    figure.canvas.draw()
    assert numbers(figure) == [0, 1, 2, 0, 1, 2, 2, 1, 0, 0, 1, 2, 1, 1, 1]
    headings = [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()]
    assert headings == ["original", "first view", "second view", "ours", "theirs"]
    single = plot_reconstructions(images, images, views, views)
    assert [ax.get_ylabel() for ax in single.axes if ax.get_ylabel()][-1] == "rebuilt"


SHOWN, X = coloured(), torch.rand(9, 2)
REFUSED = {
    "no column 'method'": lambda: plot_r2(table().drop(columns="method")),
    "no rows of the metric R2": lambda: plot_r2(table().assign(metric="accuracy")),
    "a score is NaN": lambda: plot_r2(table().assign(score=float("nan"))),
    "k is 9 neighbors: give one from 1 to 8": lambda: plot_neighbors(SHOWN, {"x": X}, [0], 9),
    "no image 9": lambda: plot_neighbors(SHOWN, {"x": X}, [9], 2),
    "nothing to draw: give": lambda: plot_neighbors(SHOWN, {"x": X}, [], 2),
    "nothing to draw": lambda: plot_neighbors(SHOWN, {}, [0], 2),
    "'x' are (8, 2)": lambda: plot_neighbors(SHOWN, {"x": X[1:]}, [0], 2),
    "numbers of images differ": lambda: plot_reconstructions(SHOWN, SHOWN, SHOWN[:2], SHOWN),
    "nothing was rebuilt": lambda: plot_reconstructions(SHOWN, SHOWN, SHOWN, {}),
    "'first view' has shape": lambda: plot_reconstructions(SHOWN, SHOWN[0], SHOWN, SHOWN),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_drawn_is_refused(message):
    with pytest.raises(DataError, match=re.escape(message)):
        REFUSED[message]()
