"""The page on totals: its code runs as it stands, and what it says is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

import hierforecast
from hierforecast.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "totals.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the page's code leaves, after a short fit."""
    fit = hierforecast.Forecaster.fit

    def short(self: Any, *args: Any, **options: Any) -> Any:
        self.set_params(max_steps=20, trainer={"enable_progress_bar": False})
        return fit(self, *args, **options)

    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hierforecast.Forecaster, "fit", short)
        blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        assert len(blocks) == 6
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), found)
    return found


def test_the_panels_are_of_sectors(names: dict[str, Any]):
    history, panels = names["frame"].groupby(["sector", "ds"]).y.sum(), names["panels"]
    for ax, sector in zip(panels, ["Energy", "Health", "Tech"], strict=True):
        lines = {line.get_gid(): line for line in ax.lines}
        assert ax.get_title(loc="left") == sector and len(ax.collections) == 1
        np.testing.assert_allclose(lines["past"].get_ydata(), history[sector].tail(20))
        rows = names["by_sector"].query("sector == @sector")
        np.testing.assert_allclose(lines["forecast"].get_ydata()[1:], rows.HiPerformer)


def test_the_spread_is_that_of_two_sectors(names: dict[str, Any]):
    means = names["by_sector"].set_index(["sector", "ds"]).HiPerformer
    spread = names["spread"]
    expected = (means["Tech"] - means["Energy"]).to_numpy()
    np.testing.assert_allclose(spread.mean[0, :, 0], expected, atol=1e-5)
    assert spread.quantile(0.05).shape == (1, 5, 1)


def test_risk_by_quantiles_is_that_of_draws(names: dict[str, Any]):
    first = names["draws"][names["draws"].ds == names["tomorrow"].ds].HiPerformer
    exceeded = (first < -names["var_of_a_day"]).mean()
    assert abs(exceeded - 0.05) < 0.02
    loss = names["loss"]
    assert abs((loss > names["var"]).mean() - 0.05) < 0.001
    worst = np.sort(loss)[-100:].mean()  # five percent of the draws
    assert names["expected_shortfall"] == pytest.approx(worst, rel=1e-12)
    assert worst > names["var"] > 0


def test_intervals_of_the_whole_are_narrower_than_their_sum(names: dict[str, Any]):
    def width(table: pd.DataFrame) -> pd.Series:
        return (table["HiPerformer-hi-90"] - table["HiPerformer-lo-90"]).groupby(table.ds).sum()

    assert (width(names["everything"]) < width(names["by_sector"])).all()


def test_a_shock_comes_back_as_it_is_and_moves_the_total(names: dict[str, Any]):
    shocked = names["shocked"][names["shocked"].ds == names["tomorrow"].ds].set_index("sector")
    assert (shocked.loc["Energy", ["HiPerformer", "HiPerformer-lo-90"]] == -5).all()
    assert names["loss_then"].mean() > names["loss"].mean() + 0.05 * names["plan"].y.abs().sum()


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas])
def test_the_recipe_in_another_library(names: dict[str, Any], make: Any):
    frame, forecaster = names["frame"].reset_index(drop=True), names["forecaster"]
    found = forecaster.predict(make(frame), by=(), weights="stake", quantiles=[0.05]).to_pandas()
    assert found["HiPerformer-q-5"][0] == pytest.approx(-names["var_of_a_day"], rel=1e-5)
    draws = forecaster.sample(
        make(frame), 50, seed=0, given=make(names["plan"]), by=(), weights="stake"
    )
    expected = forecaster.sample(
        frame, 50, seed=0, given=names["plan"], by=(), weights="stake"
    ).HiPerformer
    np.testing.assert_allclose(draws.to_pandas().HiPerformer, expected, rtol=1e-6)


def test_the_same_from_the_command_line(names: dict[str, Any], tmp_path: Path):
    names["forecaster"].save(tmp_path / "model")
    names["frame"].to_csv(tmp_path / "frame.csv", index=False)
    names["plan"].to_csv(tmp_path / "plan.csv", index=False)
    command = [
        "predict",
        f"{tmp_path}/frame.csv",
        f"{tmp_path}/model",
        "--out",
        f"{tmp_path}/o.csv",
    ]
    told = ["--by", "sector", "--how", "mean", "--given", f"{tmp_path}/plan.csv", "--level", "90"]
    for more in (told, ["--by", "", "--weights", "stake", "--samples", "20"]):
        result = CliRunner().invoke(app, [*command, *more])
        assert result.exit_code == 0, result.output
        table = pd.read_csv(tmp_path / "o.csv")
        if more is told:
            np.testing.assert_allclose(table.HiPerformer, names["shocked"].HiPerformer, rtol=1e-5)
        else:
            assert list(table.columns) == ["ds", "sample_id", "HiPerformer"]
