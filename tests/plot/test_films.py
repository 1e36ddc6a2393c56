"""Films of a rollout: what is written to files, by which program, and what the clock shows."""

from __future__ import annotations

import base64
import io
import json
import re
import stat
import sys

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from PIL import Image

from hierforecast import plot
from hierforecast.errors import DataError, MissingExtraError
from hierforecast.plot.animate import HOLD
from hierforecast.plot.scene import read_scene
from tests.plot.plays import (
    H,
    T,
    _close,  # noqa: F401 (a fixture)
    clock,
    in_all_libraries,
    story,
)


def test_animations_are_written(frames, tmp_path):
    full, history, forecast, samples = frames
    seen: list[tuple[int, int]] = []
    small = {"context": 3, "dpi": 30, "progress": lambda i, n: seen.append((i, n))}
    gif, page = tmp_path / "a.gif", tmp_path / "a.html"
    plot.animate_rollout(history, forecast, full, samples, path=gif, fps=10, **small)
    assert seen == [(i, 3 + H) for i in range(3 + H)]
    with Image.open(gif) as image:
        assert image.n_frames == 3 + H and image.info["duration"] == 100
        image.seek(4)
        assert image.convert("RGB").getpixel((1, 80)) == (255, 255, 255)  # no tint
    plot.animate_rollout(history, forecast, full, path=page, **small)
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'"([A-Za-z0-9+/=]{200,})"', text)
    assert len(found) == 3 + H and "http" not in text
    with Image.open(io.BytesIO(base64.b64decode(found[-1]))) as image:
        assert image.size == (288, 162)
    assert len(set(found)) == len(found)  # it moves


def test_animation_shows_nothing_of_the_future_before_the_cutoff(frames):
    full, history, forecast, samples = frames
    view = read_scene(history, forecast, full, samples)
    early = view.until(T - 3)
    assert not early.truth and not early.forecast and not early.samples
    assert all(track.times.max() == T - 3 for track in early.past.values())
    later = view.until(T)
    assert all(len(track) == 1 for track in later.truth.values())
    assert all(len(track) == 1 for track in later.forecast.values())
    animation = plot.animate_rollout(history, forecast, full, context=2)
    animation._func(0)
    assert len(plt.get_fignums()) == 1
    animation._draw_was_started = True


# P9: films


def fake_ffmpeg(folder, codecs: str) -> None:
    """An ffmpeg that knows some codecs, and writes down how it was called and what it was given."""
    script = folder / "ffmpeg"
    script.write_text(
        f"#!{sys.executable}\nimport json, sys\nraw = sys.stdin.buffer.read()\n"
        f"codec = sys.argv[sys.argv.index('-c:v') + 1]\n"
        f"if codec not in {codecs!r}: sys.exit('Unknown encoder ' + codec)\n"
        "json.dump([sys.argv, len(raw)], open(sys.argv[-1], 'w'))\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)


def film(path, **options) -> None:
    plot.animate_rollout(*story(), path=path, context=3, dpi=25, **options)


def test_a_film_is_written_by_the_ffmpeg_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_ffmpeg(tmp_path, "mpeg4")
    film(tmp_path / "a.MP4", fps=5, figsize=(5.0, 3.0))
    (*_, (arguments, size)) = [json.loads((tmp_path / "a.MP4").read_text())]
    assert arguments[arguments.index("-s") + 1] == "126x76"  # even
    assert arguments[arguments.index("-r") + 1] == "5"
    assert size == (3 + H + HOLD) * 126 * 76 * 3
    fake_ffmpeg(tmp_path, "none")
    with pytest.raises(
        DataError, match=r"ffmpeg could not write '.*b\.mp4': Unknown encoder mpeg4"
    ):
        film(tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


def test_without_ffmpeg_the_error_names_the_extra_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtraError, match=r"hierforecast\[video\]"):
        film(tmp_path / "a.mp4", progress=lambda i, n: pytest.fail("drawn"))


def test_a_real_film(tmp_path):
    extra = pytest.importorskip("imageio_ffmpeg")
    film(tmp_path / "a.mp4", fps=10)
    frames, seconds = extra.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert frames == 3 + H + HOLD and seconds == pytest.approx(frames / 10, abs=0.05)


# P10: seconds


@pytest.mark.parametrize(
    ("step", "rate", "first", "last"),
    [
        (None, None, "history −11", "forecast +4 of 4"),
        (None, 6.25, "history −1.8 s", "forecast +0.6 of 0.6 s"),
        (None, 1.0, "history −11 s", "forecast +4 of 4 s"),
        ("40ms", None, "history −0.44 s", "forecast +0.16 of 0.16 s"),
        ("1h", None, "history −11 h", "forecast +4 of 4 h"),
        ("1D", None, "history −11 d", "forecast +4 of 4 d"),
    ],
)
@in_all_libraries
def test_the_clock_shows_seconds_where_they_are_known(convert, step, rate, first, last):
    frames = story()
    if step is not None:
        frames = [
            f.assign(ds=pd.Timestamp("2024-01-01") + f.ds * pd.Timedelta(step)) for f in frames
        ]
    animation = plot.animate_rollout(*map(convert, frames), rate=rate)
    shown = [clock(animation, frame) for frame in (0, T - 1, T + H - 1)]
    assert shown == [first.replace("−", "\N{MINUS SIGN}"), "cutoff", last]
