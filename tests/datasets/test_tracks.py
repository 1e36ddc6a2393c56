from __future__ import annotations

import numpy as np
import pytest

from hierforecast.datasets._tracks import resample, strings


def ramp(*lengths: int) -> tuple[np.ndarray, np.ndarray]:
    """Scenes whose values are their own step number."""
    steps = np.concatenate([np.arange(n, dtype=float) for n in lengths])
    return np.stack([steps, 100 + steps], -1)[:, None], np.array(lengths)


@pytest.mark.parametrize(
    ("native", "rate", "stride"),
    [(25, 5, 5), (25, 8.33, 3), (100 / 12, 8.33, 1), (100 / 12, 6.25, 4 / 3), (100 / 12, 5, 5 / 3)],
)
def test_resampling_stays_on_the_grid_and_inside_the_scene(native, rate, stride):
    tracks, lengths = ramp(20, 1, 9, 2)
    out, kept = resample(tracks, lengths, native, rate)
    assert kept.tolist() == [int((n - 1) / stride + 1e-9) + 1 for n in lengths]
    expected = np.concatenate([np.arange(k) * stride for k in kept])
    np.testing.assert_allclose(out[:, 0, 0], expected, rtol=0, atol=1e-12)


def test_whole_strides_change_no_value():
    tracks = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    out, _ = resample(tracks, np.array([50]), 25.0, 5.0)
    assert (out == tracks[::5]).all() and out.dtype == np.float32


def test_a_missing_cell_spoils_only_the_steps_that_need_it():
    tracks, lengths = ramp(9)
    tracks[4] = np.nan
    out, _ = resample(tracks, lengths, 100 / 12, 6.25)  # 0, 4/3, 8/3, 4, 16/3, ...
    assert np.isnan(out[:, 0, 0]).tolist() == [False] * 3 + [True] + [False] * 3
    tracks[:] = ramp(9)[0]
    tracks[3] = np.nan
    out, _ = resample(tracks, lengths, 100 / 12, 6.25)
    assert np.isnan(out[:, 0, 0]).tolist() == [False, False, True] + [False] * 4


def test_text_columns_are_text():
    column = strings(["b", "a"], np.array([1, 1, 0]))
    assert column.tolist() == ["a", "a", "b"]
    assert column.dtype == np.array(["a"]).dtype or str(column.dtype) in ("str", "object")
