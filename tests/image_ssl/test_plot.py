"""Pictures of images and features: what is in the axes, and what errors say."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import Features
from hierforecast.image_ssl.nn.resnet import small_resnet
from hierforecast.image_ssl.plot import (
    plot_comparison,
    plot_features,
    plot_images,
    plot_learning_curves,
    plot_turning_map,
    principal_axes,
)
from hierforecast.image_ssl.plot.style import look_of

pytestmark = pytest.mark.usefixtures("figures_closed")


def draw(picture):
    """Lay out and render, as a user's notebook would; warnings are errors here."""
    figure = getattr(picture, "figure", picture)
    figure.canvas.draw()
    return figure


def clouds(n: int = 60, d: int = 5, classes: int = 3) -> Features:
    y = torch.arange(n) % classes
    return Features(torch.randn(classes, d)[y] * 4 + torch.randn(n, d), y, ("a", "b", "c"))


# Feature space


def test_every_point_has_the_color_of_its_class():
    features = clouds()
    ax = plot_features(features, title="space")
    (points,) = ax.collections
    places = principal_axes(features.x)[0].numpy()
    by_place = {
        tuple(np.round(place, 6)): look_of(label)[0]
        for place, label in zip(places, features.y.tolist(), strict=True)
    }
    drawn = np.round(np.asarray(points.get_offsets()), 6)
    colors = [to_hex(color).upper() for color in points.get_facecolors()]
    assert len(drawn) == len(features)
    assert all(by_place[tuple(at)] == color for at, color in zip(drawn, colors, strict=True))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    assert ax.get_title(loc="left") == "space"
    draw(ax)


def test_of_many_points_some_are_drawn_on_the_axes_of_all():
    features = clouds(400)
    (some,) = plot_features(features, max_points=50).collections
    places = np.round(principal_axes(features.x)[0].numpy(), 6)
    drawn = np.round(np.asarray(some.get_offsets()), 6)
    assert len(drawn) == 50
    assert {tuple(at) for at in drawn} <= {tuple(at) for at in places}


def test_more_classes_than_colors_get_other_markers():
    assert len({look_of(number) for number in range(48)}) == 48
    ax = plot_features(Features(torch.randn(200, 4), torch.arange(200) % 20))
    assert sum(len(points.get_offsets()) for points in ax.collections) == 200
    assert len(ax.collections) == 3 and len(ax.get_legend().get_texts()) == 20


def test_the_legend_stands_outside_and_own_axes_are_used():
    ax = plt.figure(layout="constrained").subplots()
    assert plot_features(clouds(), ax) is ax
    draw(ax)
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


# A feature map that turns


def image(size: int = 17) -> torch.Tensor:
    return torch.randint(0, 256, (3, size, size), dtype=torch.uint8)


def cells(figure) -> np.ndarray:
    axes = np.array(figure.axes)
    side = round((len(axes) + 0.25) ** 0.5 - 0.5)  # side columns, side + 1 rows
    return axes.reshape(side + 1, side)


@pytest.mark.parametrize("group", ["C2", "C4", "D1", "D4"])
def test_frames_of_one_color_hold_one_map_moved_as_its_image(group):
    """Turned back by numpy, without the group's own arithmetic."""
    network = small_resnet(group, 3)
    grid = cells(draw(plot_turning_map(network, image())))
    order = network.group.order
    assert grid.shape == (order + 1, order)

    def undo(a, values):
        turned = np.rot90(values, -network.group.quarter_turns(a))
        return np.fliplr(turned) if network.group.is_mirror(a) else turned

    def shown(ax):
        return np.asarray(ax.images[0].get_array())

    def frame(ax):
        return to_hex(ax.spines["left"].get_edgecolor())

    first = {frame(ax): shown(ax) for ax in grid[1:, 0]}
    assert len(first) == order
    places = set()
    for a in range(order):
        assert np.allclose(undo(a, shown(grid[0, a])), shown(grid[0, 0]))
        for ax in grid[1:, a]:
            assert np.allclose(undo(a, shown(ax)), first[frame(ax)], atol=1e-5)
        places.add(tuple(frame(ax) for ax in grid[1:, a]))
    assert len(places) == order  # in every column they stand otherwise


def test_the_line_below_tells_of_a_network_that_does_not_commute():
    network = small_resnet("C4", 3)
    good = plot_turning_map(network, image())._supxlabel.get_text()

    def broken(images):
        maps = network.maps(images).clone()
        maps[:, :, 1] = maps[:, :, 1].flip(-1)
        return maps

    bad = plot_turning_map(network, image(), maps=broken)._supxlabel.get_text()

    def error(text):
        return float(text.split("difference is ")[1].split(" of")[0])

    assert error(good) < 1e-5 < 1e-2 < error(bad)


def test_a_channel_or_an_earlier_layer_may_be_chosen():
    network = small_resnet("C4", 3)
    some = image(17)
    grid = cells(plot_turning_map(network, some, 2, maps=network.stem, title="stem"))
    network.eval()
    with torch.no_grad():
        wanted = network.stem(some[None].float() / 255)[0, 2]
    for k in range(4):
        assert np.allclose(grid[k + 1, 0].images[0].get_array(), wanted[k], atol=1e-6)


def test_the_channel_whose_maps_differ_most_is_drawn():
    network = small_resnet("C4", 3)

    def maps(images):
        found = torch.zeros(len(images), 3, 4, 5, 5)
        found[:, 0] = 100 * torch.rand(5, 5)  # strong, but all four are alike
        found[:, 1, 2] = 1.0
        return found

    text = plot_turning_map(network, image(), maps=maps)._supxlabel.get_text()
    assert text.startswith("Channel 1 of C4")


def test_the_network_is_left_as_it_was():
    network = small_resnet("C4", 3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.stages[0].eval()
    modes = [module.training for module in network.modules()]
    plot_turning_map(network, image())
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# Tables


def curves() -> pd.DataFrame:
    rows = [
        (name, size, seed, base + 0.1 * number + 0.01 * seed**2)
        for name, base in (("linear probe", 0.3), ("kNN", 0.25))
        for number, size in enumerate((10, 100, 1000))
        for seed in range(3)
    ]
    return pd.DataFrame(rows, columns=["classifier", "labels", "seed", "accuracy"])


def test_lines_are_means_and_bands_reach_the_extremes():
    table = curves().sample(frac=1, random_state=0)
    ax = plot_learning_curves(table, chance=0.1)
    lines = {line.get_label(): line for line in ax.lines}
    mean = [np.mean([0.25 + 0.1 * n + 0.01 * s**2 for s in range(3)]) for n in range(3)]
    assert list(lines["kNN"].get_xdata()) == [10, 100, 1000]
    assert np.allclose(lines["kNN"].get_ydata(), mean)
    bands = [band.get_paths()[0].vertices for band in ax.collections]
    assert any(
        np.isclose(band[:, 1].min(), 0.25) and np.isclose(band[:, 1].max(), 0.49) for band in bands
    )
    assert {text.get_text() for text in ax.texts} == {"linear probe", "kNN", "chance"}
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "100", "1,000"]
    draw(ax)


def test_lines_may_be_told_apart_by_several_columns():
    table = pd.concat([curves().assign(arm="plain"), curves().assign(arm="p4")])
    ax = plot_learning_curves(table, ["arm", "classifier"])
    assert {text.get_text() for text in ax.texts} == {
        "plain, linear probe", "plain, kNN", "p4, linear probe", "p4, kNN",
    }  # fmt: skip
    heights = sorted(text.xy[1] for text in ax.texts)
    assert min(np.diff(heights)) > 0.01  # equal ends, but no label upon another


def runs() -> pd.DataFrame:
    rows = [
        (method, arm, base + step * seed)
        for method, base in (("MoCo", 0.6), ("SwAV", 0.5))
        for arm, step in (("plain", 0.02), ("equivariant", 0.05))
        for seed in range(3)
    ]
    return pd.DataFrame(rows, columns=["method", "arm", "score"])


def test_bars_are_means_with_their_deviation():
    ax = plot_comparison(runs(), title="arms", label="accuracy")
    heights = sorted(bar.get_height() for bar in ax.patches)
    assert np.allclose(heights, [0.52, 0.55, 0.62, 0.65])
    whiskers = [
        np.ptp(segment[:, 1]) / 2
        for container in ax.containers
        if type(container).__name__ == "ErrorbarContainer"
        for segment in container.lines[2][0].get_segments()
    ]
    assert np.allclose(sorted(whiskers), [0.02, 0.02, 0.05, 0.05])
    assert ax.get_ylim()[0] == 0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["plain", "equivariant"]
    assert [text.get_text() for text in ax.texts] == ["62.0", "52.0", "65.0", "55.0"]
    assert ax.get_ylabel() == "accuracy"
    draw(ax)


def test_a_single_run_has_no_spread_and_a_missing_one_no_bar():
    table = runs().drop_duplicates(["method", "arm"])
    ax = plot_comparison(table.iloc[1:])
    assert len(ax.patches) == 3 and not ax.collections
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["equivariant", "plain"]


# Images


@pytest.mark.parametrize("kind", ["uint8", "float", "numpy"])
def test_images_stand_in_order_under_their_labels(kind):
    some = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8)
    given = {"uint8": some, "float": some / 255, "numpy": some.numpy()}[kind]
    figure = draw(plot_images(given, list("vwxyz"), columns=3, title="five"))
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == list("vwxyz")
    for ax, pixels in zip(shown, some, strict=True):
        wanted = pixels.permute(1, 2, 0).numpy() / 255
        assert np.allclose(ax.images[0].get_array(), wanted)


# What cannot be drawn

NOTHING, FLAT = torch.zeros(0, 3, 4, 4), torch.zeros(3, 4, 4)
REFUSED = {
    "collapsed": lambda: plot_features(Features(torch.ones(5, 3), torch.arange(5))),
    "span no plane": lambda: plot_features(Features(torch.randn(5, 1), torch.arange(5))),
    "one color": lambda: plot_features(Features(torch.randn(5, 3), torch.ones(5, 2))),
    "plain network": lambda: plot_turning_map(small_resnet("C1", 3), image()),
    "give one square": lambda: plot_turning_map(small_resnet("C4", 3), image()[None]),
    "no channel 99: this layer has 12": lambda: plot_turning_map(
        small_resnet("C4", 3), image(), 99
    ),
    "no column 'seed'": lambda: plot_learning_curves(curves().drop(columns="seed")),
    "no column 'arm'": lambda: plot_comparison(runs().drop(columns="arm")),
    "no rows": lambda: plot_comparison(runs().iloc[:0]),
    "shape (0, 3, 4, 4): give at least one": lambda: plot_images(NOTHING),
    "shape (3, 4, 4): give at least one": lambda: plot_images(FLAT),
    "2 labels do not fit 1 images": lambda: plot_images(FLAT[None], ["a", "b"]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_drawn_is_refused(message):
    with pytest.raises(DataError, match=re.escape(message)):
        REFUSED[message]()
