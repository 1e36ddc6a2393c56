"""Draws in a rollout: as paths or as densities, and the regions that hold a share of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hierforecast import plot
from hierforecast.errors import DataError
from hierforecast.plot.regions import sample_ellipse
from tests.plot.plays import (
    _close,  # noqa: F401 (a fixture)
    ahead,
    crowd,
    gids,
    legend,
)


def test_ellipse_holds_its_share_of_the_samples():
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, size=(500, 2))  # a Gaussian radius would miss the share
    points = heavy @ np.array([[3.0, 1.0], [0.0, 0.5]]) + [40, 20]
    shape = sample_ellipse(points, 90)
    assert shape is not None
    centre, width, height, angle = shape
    turn = np.radians(-angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    inside = (((points - centre) @ rotation.T / [width / 2, height / 2]) ** 2).sum(axis=1) <= 1
    assert inside.mean() == pytest.approx(0.9, abs=0.005)
    assert sample_ellipse(points[:3], 90) is None
    assert sample_ellipse(np.ones((9, 2)), 90) is None


def draws_of(forecast: pd.DataFrame, draws: int, spread: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    parts = []
    for draw in range(draws):
        noise = rng.normal(0, spread, (len(forecast), 2))
        parts.append(
            forecast[["unique_id", "ds"]].assign(
                sample_id=draw, M_x=forecast.M_x + noise[:, 0], M_y=forecast.M_y + noise[:, 1]
            )
        )
    return pd.concat(parts, ignore_index=True)


# P6, P7: samples, limits and units


def test_many_samples_are_a_density_and_few_are_paths():
    frame = crowd((-50, -33), (50, 33), leavers=0, n=22).assign(
        team=lambda t: np.where(t.unique_id < 11, "home", "away")
    )
    forecast = ahead(frame, 59)
    samples = draws_of(forecast, 20)
    ax = plot.plot_rollout(frame, forecast, samples=samples)
    assert gids(ax, "samples") == set() and gids(ax, "density") == {"home", "away"}
    assert "samples, density" in legend(ax) and len(gids(ax, "region")) == 22
    clouds = {image.get_gid(): np.asarray(image.get_array())[..., 3] for image in ax.images}
    assert all(cloud.max() == pytest.approx(0.6) for cloud in clouds.values())
    # Where an agent of a team ends there is its cloud.
    x, y = forecast[forecast.unique_id == 0].iloc[-1][["M_x", "M_y"]]
    (x0, x1, y0, y1) = ax.images[0].get_extent()
    rows, columns = clouds["density/home"].shape
    at = int((y - y0) / (y1 - y0) * rows), int((x - x0) / (x1 - x0) * columns)
    assert clouds["density/home"][at] > 0.3
    few = plot.plot_rollout(frame, forecast, samples=samples, agents=[0, 5.0])
    assert gids(few, "samples") == gids(few, "region") == {"0.0", "5.0"}
    assert len(gids(few, "forecast")) == 22 and not few.images
    paths = [c for c in few.collections if str(c.get_gid()).startswith("samples/")]
    assert [len(c.get_segments()) for c in paths] == [20, 20]
    assert not plot.plot_rollout(frame, forecast, samples=samples, max_paths=440).images
    assert plot.plot_rollout(
        frame, forecast, samples=samples[samples.sample_id < 2], max_paths=0
    ).images
    with pytest.raises(DataError, match=r"agents \['x'\]"):
        plot.plot_rollout(frame, forecast, samples=samples, agents=["x"])


@pytest.mark.parametrize("court", ["basketball", None])
def test_regions_lie_within_the_limits_and_above_the_legend(court):
    frame = crowd((2, 2), (92, 48), leavers=0, n=8)
    forecast = ahead(frame, 59)
    for more in ({"samples": draws_of(forecast, 20, spread=9.0)}, {}):
        wide = forecast.assign(
            **{
                f"M_{c}-{s}-90": forecast[f"M_{c}"] + (30 if s == "hi" else -30)
                for c in "xy"
                for s in ("lo", "hi")
            }
        )
        ax = plot.plot_rollout(frame, wide, court=court, **more)
        ax.figure.draw_without_rendering()
        legend_box = ax.get_legend().get_window_extent()
        assert len(gids(ax, "region")) == 8
        for patch in ax.patches:
            if str(patch.get_gid()).startswith("region/"):
                box = patch.get_window_extent()
                assert ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1
                assert ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1
                assert not box.overlaps(legend_box)
