"""Frames that plots are drawn of, and what is read from the axes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

T, H, K = 12, 4, 8
TEAM = {"ball": "ball", "home_0": "home", "home_1": "home", "away_0": "away", "away_1": "away"}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def play(scenes: int = 1) -> pd.DataFrame:
    """Five agents walking straight on a court for T + H steps."""
    rng = np.random.default_rng(0)
    rows = []
    for scene in range(scenes):
        for name, team in TEAM.items():
            steps = np.arange(T + H)
            xy = rng.uniform([20, 10], [70, 40]) + np.outer(steps, rng.normal(0, 0.6, 2))
            x, y = xy.T
            rows.append(
                pd.DataFrame(
                    {"scene": scene, "ds": steps, "unique_id": name, "team": team, "x": x, "y": y}
                )
            )
    return pd.concat(rows, ignore_index=True)


def forecast_of(history: pd.DataFrame, draws: int = 0) -> pd.DataFrame:
    """The last position, repeated; with noise once per draw."""
    rng = np.random.default_rng(1)
    last = history.dropna().sort_values("ds").groupby(["scene", "unique_id"], as_index=False).last()
    rows = []
    for draw in range(max(draws, 1)):
        for step in range(T, T + H):
            noise = rng.normal(0, 1, (len(last), 2)) if draws else np.zeros((len(last), 2))
            rows.append(
                pd.DataFrame(
                    {
                        "scene": last.scene,
                        "unique_id": last.unique_id,
                        "ds": step,
                        "M_x": last.x + noise[:, 0],
                        "M_y": last.y + noise[:, 1],
                    }
                ).assign(**({"sample_id": draw} if draws else {}))
            )
    out = pd.concat(rows, ignore_index=True)
    if not draws:
        for name in ("M_x", "M_y"):
            out[f"{name}-lo-90"], out[f"{name}-hi-90"] = out[name] - 2, out[name] + 2
    return out


def story() -> list[pd.DataFrame]:
    """A history, its forecast and the truth."""
    full = play()
    history = full[full.ds < T].reset_index(drop=True)
    return [history, forecast_of(history), full]


def stocks() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Three sectors of two tickers whose noises cancel in the first sector."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", periods=30)
    names = ["a0", "a1", "b0", "b1", "c0", "c1"]
    history = pd.DataFrame(
        [(n, d, n[0], float(i)) for n in names for i, d in enumerate(days[:26])],
        columns=["unique_id", "ds", "sector", "y"],
    )
    rows = []
    for draw in range(200):
        noise = {name: rng.normal(0, 1) for name in names}
        noise["a1"], noise["b1"] = -noise["a0"], noise["b0"]
        rows += [(n, d, draw, 25.0 + noise[n]) for n in names for d in days[26:]]
    samples = pd.DataFrame(rows, columns=["unique_id", "ds", "sample_id", "M"])
    forecast = samples.groupby(["unique_id", "ds"], as_index=False)["M"].mean()
    forecast["M-lo-80"], forecast["M-hi-80"] = forecast.M - 1, forecast.M + 2
    return history, forecast, samples


LIBRARIES = {"pandas": lambda frame: frame, "polars": pl.from_pandas, "arrow": pa.Table.from_pandas}
in_all_libraries = pytest.mark.parametrize("convert", LIBRARIES.values(), ids=LIBRARIES)


def crowd(low=(0.0, 0.0), high=(15.0, 14.0), leavers: int = 30, n: int = 4) -> pd.DataFrame:
    """`n` walkers seen at 60 steps between two corners, and others who left one after another."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n + leavers):
        end = 60 if i < n else 1 + i
        xy = rng.uniform(low, high, (end, 2))
        rows.append(
            pd.DataFrame({"unique_id": float(i), "ds": range(end), "x": xy[:, 0], "y": xy[:, 1]})
        )
    return pd.concat(rows, ignore_index=True)


def ahead(frame: pd.DataFrame, cutoff: int, horizon: int = 3, context: int = 8) -> pd.DataFrame:
    """The last position of all who were seen within the context, repeated."""
    seen = frame[(frame.ds <= cutoff) & (frame.ds > cutoff - context)]
    last = seen.sort_values("ds").groupby("unique_id", as_index=False).last()
    steps = [last.assign(ds=cutoff + 1 + step) for step in range(horizon)]
    return pd.concat(steps, ignore_index=True).rename(columns={"x": "M_x", "y": "M_y"})


def gids(ax, role: str) -> set[str]:
    return {
        str(artist.get_gid()).split("/", 1)[1]
        for artist in ax.get_children()
        if str(artist.get_gid()).startswith(f"{role}/")
    }


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def save(ax, path):
    ax.get_figure().savefig(path, dpi=40)
    assert path.stat().st_size > 2000


def clock(animation, frame: int) -> str:
    animation._draw_was_started = True
    return animation._func(frame)[-1].get_text()
