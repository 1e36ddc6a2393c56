"""The page on hidden players: its code runs as it stands, and what it says is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import hierforecast

PAGE = Path(__file__).parents[2] / "docs" / "imputing.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the page's code leaves, after a short fit."""
    fit = hierforecast.Forecaster.fit

    def short(self: Any, *args: Any, **options: Any) -> Any:
        self.set_params(max_steps=60, trainer={"enable_progress_bar": False})
        return fit(self, *args, **options)

    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hierforecast.Forecaster, "fit", short)
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
            exec(block, found)
    plt.close("all")
    return found


def test_filled_frames_are_whole(names: dict[str, Any]):
    keys = ["scene", "unique_id", "ds"]
    filled, test = (names[name].sort_values(keys) for name in ("filled", "test"))
    assert filled[keys].to_numpy().tolist() == test[keys].to_numpy().tolist()
    kept = ~names["hidden"].loc[test.index].to_numpy()
    assert (filled[["x", "y"]].to_numpy()[kept] == test[["x", "y"]].to_numpy()[kept]).all()


def test_even_a_short_fit_is_closer_than_straight_lines(names: dict[str, Any]):
    keys = ["scene", "unique_id", "ds"]
    truth = names["test"][names["hidden"]].sort_values(keys)
    lines = names["test"].sort_values(keys).copy()
    lines.loc[names["hidden"], ["x", "y"]] = np.nan
    lines[["x", "y"]] = lines.groupby(keys[:2])[["x", "y"]].transform(lambda x: x.interpolate())
    straight = lines.loc[truth.index, ["x", "y"]]
    ours = names["imputed"].sort_values(keys)[["HiPerformer_x", "HiPerformer_y"]]
    errors = [np.linalg.norm(x.to_numpy() - truth[["x", "y"]], axis=1) for x in (ours, straight)]
    assert errors[0].mean() < 0.8 * errors[1].mean()


def test_paths_leave_and_arrive_where_players_are_seen(names: dict[str, Any]):
    """Draws have no jump at either end that is larger than the largest step of the truth."""
    keys = ["sample_id", "scene", "unique_id"]
    draws = names["draws"].rename(columns=names["names"])
    seen = names["seen"]
    ends = seen[seen.ds.isin([24, 35])].merge(draws[keys].drop_duplicates(), on=keys[1:])
    whole = np.stack([
        rows[["x", "y"]].to_numpy()
        for _, rows in pd.concat([draws, ends]).sort_values("ds").groupby(keys)
    ])  # fmt: skip
    step = np.linalg.norm(np.diff(whole, axis=1), axis=-1)
    assert whole.shape[1] == 12
    assert step[:, [0, -1]].max() < 1.5 * step[:, 1:-1].max()
