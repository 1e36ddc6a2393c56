"""Times in fractions: each scene's frames are counted, and only gaps of its own are gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from hierforecast import Columns
from hierforecast.errors import DataError
from hierforecast.frame import read_frame
from tests.frames import jitter, mended


def scenes(times: Callable[[pd.DataFrame], Any]) -> pd.DataFrame:
    """Three scenes of two series and 30 frames, each third one missing 7 frames."""
    at = [(s, i, k) for s in range(3) for i in "ab" for k in range(30) if s < 2 or not 9 < k < 17]
    frame = pd.DataFrame(at, columns=["scene", "unique_id", "ds"])
    return frame.assign(y=1.0, ds=times(frame))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (lambda f: (f.ds / 30 + 7.013 * f.scene).round(2), "lie about 0.0333333 apart"),
        (lambda f: f.ds / 25 + 7.013 * f.scene, "lie 0.04 apart"),
        (lambda f: f.ds / 25 + jitter(0.004, len(f)), "lie about 0.04 apart"),
        (lambda f: f.ds / 25 + 1e9 + jitter(0.002, 99)[3 * f.ds + f.scene], "about 0.04 apart"),
    ],
    ids=["rounded, from anywhere", "exact, from anywhere", "jitter of rows", "jitter of frames"],
)
def test_counted_frames_of_scenes_have_only_their_own_gaps(
    times: Any, message: str, to: Any
) -> None:
    frame, columns = to(scenes(times)), Columns(group=None, scene="scene")
    scope = mended(message, lambda: read_frame(frame, columns), frame=frame)
    own = read_frame(scope["frame"], columns)
    assert (own.present == read_frame(scenes(lambda f: f.ds), columns).present).all()


def test_frames_with_gaps_are_not_numbered() -> None:
    frame = scenes(lambda f: f.ds / 25 + jitter(0.03, len(f)))
    with pytest.raises(DataError, match=r"no even clock counts .* interpolate each") as caught:
        read_frame(frame, Columns(group=None, scene="scene"))
    assert caught.value.remedy is None
