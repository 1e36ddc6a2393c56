"""Rollouts in a browser: one page, nothing from outside, everything that was given on it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hierforecast import Columns, ConstantVelocity, Forecaster
from hierforecast.cli import app
from hierforecast.datasets import simulate_basketball
from hierforecast.errors import DataError
from hierforecast.io.files import write_table
from hierforecast.plot import rollout_page
from tests.helpers import QUIET

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    test = simulate_basketball(2, 60, seed=1)
    forecaster = Forecaster(
        ConstantVelocity(), context_length=20, prediction_length=10,
        columns=simulate_basketball.columns, trainer=QUIET,
    ).fit(simulate_basketball(4, seed=0))  # fmt: skip
    history = test[(test.ds < 50) & (test.unique_id != "away_3")]
    return {
        "history": history,
        "forecast": forecaster.predict(history, level=[90]),
        "truth": test,
        "samples": forecaster.sample(history, 60),
    }


def inside(page: Any) -> dict[str, Any]:
    """What the page holds."""
    text = re.search(r'type="application/json">(.*?)</script>', page.html, re.S)
    return json.loads(text[1])


def cell(track: list[float | None], step: int) -> list[float | None]:
    at = 1 + 2 * (step - track[0])
    return track[at : at + 2]


def test_the_page_holds_what_the_frames_say(frames):
    found = inside(rollout_page(**frames, scene=1, context=None, rate=6.25))
    truth = frames["truth"].query("scene == 1").set_index(["unique_id", "ds"])
    forecast = frames["forecast"].query("scene == 1").set_index(["unique_id", "ds"])
    draws = frames["samples"].query("scene == 1 and sample_id == 7").set_index(["unique_id", "ds"])
    assert len(found["clock"]) == 60 and found["cutoff"] == 49
    assert found["clock"][49] == "cutoff" and found["clock"][59] == "forecast +1.6 of 1.6 s"
    series = {one["name"]: one for one in found["series"]}
    assert set(series) == set(frames["truth"].unique_id)
    hidden = series.pop("away_3")
    assert hidden["hidden"] and hidden["color"] is None and "forecast" not in hidden
    for name, one in series.items():
        assert not one["hidden"] and len(one["samples"]) == 40
        seen, ahead = truth.loc[(name, 12)], forecast.loc[(name, 55)]
        np.testing.assert_allclose(cell(one["past"], 12), seen[["x", "y"]].tolist(), atol=0.01)
        models = [f"ConstantVelocity_{target}" for target in "xy"]
        np.testing.assert_allclose(cell(one["forecast"], 55), ahead[models].tolist(), atol=0.01)
        low = ahead[[f"{model}-lo-90" for model in models]]
        np.testing.assert_allclose(cell(one["low"], 55), low.tolist(), atol=0.01)
        drawn = draws.loc[(name, 55)][models]
        np.testing.assert_allclose(cell(one["samples"][7], 55), drawn.tolist(), atol=0.01)
        wanted = truth.loc[(name, 58)][["x", "y"]].tolist()
        np.testing.assert_allclose(cell(one["truth"], 58), wanted, atol=0.01)
    plan = frames["truth"].query("scene == 1 and ds >= 50 and unique_id == 'ball'")
    told = {
        one["name"]: one for one in inside(rollout_page(**frames, scene=1, given=plan))["series"]
    }
    assert [name for name, one in told.items() if "given" in one] == ["ball"]
    assert found["ground"]["box"] == [0, 0, 94, 50] and found["unit"] == "ft"
    assert found["speed"] == [6.25, "ft/s"]


def test_nothing_comes_from_outside_and_names_stay_names(frames, tmp_path):
    named = {
        key: frame.assign(unique_id=frame.unique_id.replace("home_1", "</script><b>"))
        for key, frame in frames.items()
    }
    path = tmp_path / "scene.html"
    page = rollout_page(**named, scene=0, path=path, title="<i>A & B</i>")
    assert path.read_text("utf-8") == page.html
    assert not re.search(r"https?:|src=|@import|url\(", page.html)
    assert "default-src 'none'" in page.html and page.html.count("</script>") == 2
    assert "</script><b>" in [one["name"] for one in inside(page)["series"]]
    assert "<iframe srcdoc=" in page._repr_html_()


def test_gaps_and_a_missing_surface(frames):
    history = frames["history"].query("scene == 0")
    gone = history[(history.unique_id != "home_2") | ~history.ds.between(20, 30)]
    found = inside(rollout_page(gone, frames["forecast"], scene=0, court=None, context=None))
    track = next(one for one in found["series"] if one["name"] == "home_2")["past"]
    assert cell(track, 25) == [None, None] and None not in cell(track, 31)
    assert found["ground"] is None and found["speed"][1] == "units/step"
    with pytest.raises(DataError, match=r"end in \.html"):
        rollout_page(history, path="scene.png")
    with pytest.raises(DataError, match="court= is a function"):
        rollout_page(history, court=lambda ax: None)
    flat = Columns(target="x", group="team", scene="scene")
    with pytest.raises(DataError, match="two targets"):
        rollout_page(history, columns=flat)


def test_half_a_minute_of_a_soccer_match_is_no_large_file():
    rng, steps = np.random.default_rng(0), 625  # 25 s at 25 Hz
    ids = [f"player {k}" for k in range(23)]
    keys = pd.MultiIndex.from_product([ids, range(steps)], names=["unique_id", "ds"])
    walk = rng.normal(size=(23, steps, 2)).cumsum(1).reshape(-1, 2)
    frame = pd.DataFrame(walk, keys, ["x", "y"]).reset_index()
    ahead = frame[frame.ds >= 525].rename(columns={"x": "Model_x", "y": "Model_y"})
    draws = pd.concat([ahead.assign(sample_id=k) for k in range(20)])
    page = rollout_page(frame[frame.ds < 525], ahead, frame, draws, context=None, court="soccer")
    assert len(page.html) < 3e6


@pytest.mark.skipif(BROWSER is None, reason="no chromium on the PATH")
@pytest.mark.slow
def test_a_browser_plays_it_and_tells_what_is_pointed_at(frames, tmp_path):
    page = rollout_page(**frames, scene=0, context=None, rate=6.25, path=tmp_path / "scene.html")
    point = """<script>onerror = text => document.body.append(`failed${": "}${text}`);
    setTimeout(() => { document.title = clock.textContent; pause(false); go(scene.cutoff + 3);
      const p = px(place(scene.series.find(s => s.name === "home_1")));
      canvas.onpointermove({offsetX: p[0], offsetY: p[1]}); }, 1000);</script>"""
    (tmp_path / "played.html").write_text(page.html + point, "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    flags += [f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    seen = subprocess.run(
        [BROWSER, *flags, (tmp_path / "played.html").as_uri()], capture_output=True, text=True
    ).stdout
    assert "failed:" not in seen
    assert re.search(r"<title>history −\d\.\d s</title>", seen), "it plays by itself"
    tip = re.search(r'id="tip"[^>]*>(.*?)</div>', seen, re.S)[1]
    assert tip.startswith("home_1 (home)") and "ft/s" in tip and "90 %: x" in tip
    assert "forecast +0.5 of 1.6 s" in seen


def test_the_command_draws_each_kind(frames, tmp_path):
    from typer.testing import CliRunner

    paths = {name: tmp_path / f"{name}.csv" for name in frames}
    for name, path in paths.items():
        write_table(frames[name], path)

    def call(out: Path, *more: str) -> Any:
        given = [paths["history"], paths["forecast"], "--out", out, *more]
        return CliRunner().invoke(app, ["plot", *map(str, given)])

    found = call(tmp_path / "a.html", "--which", "1", "--samples", str(paths["samples"]))
    assert found.exit_code == 0, found.output
    text = (tmp_path / "a.html").read_text("utf-8")
    one = inside(type("Page", (), {"html": text}))["series"][0]
    assert len(one["samples"]) == 40
    for ending in ("png", "svg"):
        assert call(tmp_path / f"a.{ending}", "--which", "0").exit_code == 0
        assert (tmp_path / f"a.{ending}").stat().st_size > 5_000
    looks = ["--which", "0", "--court", "grid", "--unit", "cubits"]
    assert call(tmp_path / "c.html", *looks, "--dark").exit_code == 0
    assert re.search(r"squares of \d+ cubits", (tmp_path / "c.html").read_text("utf-8"))
    corners = {}
    for more in ("--dark", "--court=none"):
        assert call(tmp_path / "c.png", "--which", "0", more).exit_code == 0
        with Image.open(tmp_path / "c.png") as image:
            corners[more] = image.convert("RGB").getpixel((0, 0))
    assert corners == {"--dark": (0, 0, 0), "--court=none": (255, 255, 255)}
    several, unknown, other = (
        call(tmp_path / "b.png"), call(tmp_path / "b.png", "--which", "9"), call(tmp_path / "b.txt")
    )  # fmt: skip
    assert "choose one with --which: 0, 1" in several.stderr and several.exit_code == 2
    assert "no such scene" in unknown.stderr and "end in one of .png" in other.stderr
    assert not (tmp_path / "b.png").exists()


def test_the_command_draws_fans_of_one_target(tmp_path):
    from typer.testing import CliRunner

    ds = np.arange(40)
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.sin(ds / 3)})
    ahead = frame[frame.ds >= 30].rename(columns={"y": "Ridge"}).assign(**{"Ridge-lo-90": -1.0})
    write_table(frame[frame.ds < 30], tmp_path / "h.csv")
    write_table(ahead.assign(**{"Ridge-hi-90": 1.0}), tmp_path / "f.csv")
    given = ["plot", tmp_path / "h.csv", tmp_path / "f.csv", "--out", tmp_path / "fan.png"]
    found = CliRunner().invoke(app, [*map(str, given)])
    assert found.exit_code == 0, found.output
    assert (tmp_path / "fan.png").stat().st_size > 5_000
    which = CliRunner().invoke(app, [*map(str, given), "--which", "nope"])
    assert which.exit_code == 2 and "no column of scenes: leave it out" in tidy(which.stderr)
    page = CliRunner().invoke(app, [*map(str, given[:-1]), str(tmp_path / "fan.html")])
    assert page.exit_code == 2 and "let the file end in one of .png" in tidy(page.stderr)
    assert not (tmp_path / "fan.html").exists()


def tidy(text: str) -> str:
    return " ".join(text.split())
