"""Numbers of any size, and windows that lead back to the user's by offsets and units."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster, LastValue, Ridge
from hierforecast.errors import SeriesDroppedWarning
from hierforecast.frame import Vocabulary, read_frame
from hierforecast.frame.vocabulary import Units
from hierforecast.windows import WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of
from tests.helpers import DOUBLE, EVERYTHING, H, L, make_frame
from tests.walks import (
    KEYS,
    ONE,
    TWO,
    forecaster,
    lifted,
    net,
    numbers,
    pytestmark,  # noqa: F401
    walks,
)

# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["series", "coordinates", "mirrored", "returns"])
@pytest.mark.parametrize("factor", [2.0**66, 2.0**120, 2.0**-66, 2.0**-1000])
def test_a_size_costs_nothing(scale, factor):
    """1e20, 1e36, 1e-20, 1e-300: the forecast is that of the plain numbers, times as much."""
    frame = walks()
    for model in (Ridge(scale=scale), net(scale=scale))[: 1 if abs(np.log2(factor)) > 70 else 2]:
        name, large = type(model).__name__, frame.assign(y=frame.y * factor)
        one, two = (forecaster(model).fit(f) for f in (frame, large))
        plain, found = one.predict(frame, level=[80]), two.predict(large, level=[80])
        np.testing.assert_allclose(
            numbers(found, name) / factor, numbers(plain, name), rtol=1e-5, atol=1e-5
        )
        nll = [f.evaluate(d, ["nll"]).value[0] for f, d in ((one, frame), (two, large))]
        assert np.isfinite(nll).all()


@pytest.mark.parametrize("model", [LastValue(), Ridge(), net()], ids=["last", "ridge", "network"])
def test_an_idle_series_takes_the_usual_size(model):
    wave = 2e-6 + 1e-6 * np.sin(np.arange(80))
    frame = pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": np.arange(80), "y": y})
            for name, y in {"wave": wave, "zero": 0.0, "const": 3e-6, "noise": 0.3}.items()
        ]
    )
    # A rounding in the last digit is no size either.
    noisy = (frame.unique_id == "noise") & (frame.ds % 2 == 1)
    frame.loc[noisy, "y"] = 0.1 + 0.2
    lonely = pd.DataFrame({"unique_id": "one cell", "ds": [79], "y": 5e-6})
    fitted = forecaster(model).fit(frame)
    found = fitted.predict(pd.concat([frame, lonely]), level=[80]).set_index("unique_id")
    name = type(model).__name__
    half = (found[f"{name}-hi-80"] - found[f"{name}-lo-80"]) / 2
    usual = half["zero"].iloc[0]
    assert 1e-10 < usual < 3e-6
    for other in ("const", "noise"):
        np.testing.assert_allclose(half[other], half["zero"], rtol=1e-5)
    assert half["one cell"].between(1e-10, 1e-5).all()
    assert (np.abs(found.loc["one cell", name] - 5e-6) < 1e-5).all()


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("scale", ["series", "coordinates", "returns"])
def test_mixtures_are_finite(scale, gaps):
    """Series of 1e-9 and of 1e9, targets 1e12 apart, one that never moves, one wild cell."""
    frame = walks("abcd")
    size = frame.unique_id.map({"a": 1e-9, "b": 1e-9, "c": 1.0, "d": 1e9})
    frame = frame.assign(y=frame.y * size, x=frame.x * 1e12, z=5.0 + 0 * frame.y)
    frame.loc[30, "x"] = 1e37
    frame.loc[np.random.default_rng(0).random(len(frame)) < gaps, ["y", "x", "z"]] = np.nan
    columns = Columns(target=["y", "x", "z"], group=None)
    for model in (Ridge(scale=scale), net(scale=scale)):
        fitted = forecaster(model, columns).fit(frame)
        found = numbers(fitted.predict(frame, level=[80]), type(model).__name__, columns.targets)
        assert np.isfinite(found).all()
        assert np.isfinite(fitted.evaluate(frame, ["mae", "nll", "crps"]).value).all()
        if scale == "series":
            rows = fitted.predict(frame, level=[80]).unique_id
            width = found[:, 0, 2] - found[:, 0, 1]
            assert (width[rows == "a"] < 1e-6).all() and (width[rows == "d"] > 1e6).all()


def test_nothing_ever_moved():
    """Then the unit is a hundredth of the level, about."""
    frame = walks("ab", 40)[KEYS].assign(y=3e8)
    found = forecaster().fit(frame).predict(frame, level=[80])
    assert (found.LastValue == 3e8).all()
    assert (found["LastValue-hi-80"] - 3e8).between(1e5, 1e7).all()


# --- windows and promises ------------------------------------------------------------------------


def panel_of(frame: pd.DataFrame) -> Any:
    panel = read_frame(frame, EVERYTHING, dtype=np.float64)
    panel.vocabulary = panel.learn(panel.length)
    return panel


@pytest.mark.parametrize("origin", ["row", "zero", None])
def test_windows_lead_back_to_the_numbers(origin):
    frame = make_frame(missing=0.4)
    panel = panel_of(frame.assign(x=frame.x + 2**30, pulse=1e5 * frame.pulse))
    windows = WindowDataset(panel, cutoffs_of(panel, L, H), L, H, origin=origin)
    batch, future = windows.__getitems__(list(range(0, len(windows), 7)))
    start = panel.cell_offset[future.rows] + future.cutoff.numpy() - L
    cells = start[:, None] + np.arange(L + H)
    values = torch.cat([batch.values, future.values], 1).numpy()
    seen = torch.cat([batch.present, future.present], 1).numpy()
    back = future.offset + future.unit * values
    np.testing.assert_array_equal(back[seen], panel.values[cells][seen])
    assert (values[~seen] == 0).all()
    middle = np.array([u.offset for u in panel.vocabulary.targets])
    assert middle[0] > 2**30 and (np.log2(windows.unit) % 1 == 0).all()
    if origin == "row":
        last = [row[shown][-1] for row, shown in zip(values[:, :L], seen[:, :L], strict=True)]
        assert (np.array(last) == 0).all() and (np.abs(batch.level.numpy()) < 1).all()
        level = (future.offset - middle) / future.unit
        np.testing.assert_array_equal(batch.level, level)
    else:
        assert (np.asarray(future.offset) == 0).all() and (batch.level == 0).all()
    pulse = batch.past[..., 0][batch.present]
    assert (pulse.abs().max() <= 1) == (origin is not None)


@pytest.mark.parametrize("origin", ["row", "zero"])
def test_hidden_cells_change_nothing(origin):
    """An offset is a visible cell, and garbage in missing cells stays where it is."""
    panel = panel_of(make_frame(missing=0.4))
    junk = replace(panel, values=panel.values.copy())
    junk.values[~panel.present] = np.resize([np.nan, np.inf, 1e300], (~panel.present).sum())[
        :, None
    ]

    def hide(present: np.ndarray, window: np.ndarray, generator: object) -> np.ndarray:
        return present & (np.arange(L) < L - 3)

    cutoffs = cutoffs_of(panel, L, H)
    spoilt = replace(junk, values=junk.values.copy())
    one, two = (WindowDataset(p, cutoffs, L, H, hide, origin)[3] for p in (panel, junk))
    for name in ("values", "level"):
        assert torch.equal(getattr(one.batch, name), getattr(two.batch, name))
    assert torch.equal(one.future.values, two.future.values)
    late = np.zeros(len(panel.present), dtype=bool)
    late[(panel.cell_offset[one.future.rows] + one.future.cutoff.numpy() - 1)] = True
    spoilt.values[late] = 1e9  # the last context step is hidden
    three = WindowDataset(spoilt, cutoffs, L, H, hide, origin)[3]
    assert torch.equal(one.batch.values, three.batch.values)


@pytest.mark.parametrize("model", [net(), net(scale="series"), net(scale="mirrored")])
def test_missing_is_deleted_and_names_are_nothing_at_a_level(model):
    """In float64, at a level of 1e6, to the last digits of the level."""
    _, high = lifted(walks("abcd"), y=1e6, x=-1e6)
    fitted = forecaster(model, TWO, trainer=DOUBLE, series_dropout=0.2).fit(high)
    before = fitted.predict(high, level=[80]).set_index(KEYS)
    with pytest.warns(SeriesDroppedWarning, match="unique_id .b."):
        gone = fitted.predict(high.assign(y=high.y.mask(high.unique_id == "b")), level=[80])
    never = fitted.predict(high[high.unique_id != "b"], level=[80])
    pd.testing.assert_frame_equal(gone, never, check_exact=True)
    names = {"a": "z", "c": "a", "d": "c"}
    turned = fitted.predict(high.assign(unique_id=high.unique_id.replace(names)), level=[80])
    back = {new: old for old, new in names.items()}
    turned = turned.assign(unique_id=turned.unique_id.replace(back)).set_index(KEYS)
    gap = (turned.loc[before.index] - before).abs().max().max()
    assert gap <= 4 * np.spacing(1e6)


def test_saving_keeps_offsets_and_units(tmp_path):
    _, high = lifted(walks(), y=1e8 / 3, x=0.1)
    fitted = forecaster(net(), replace(ONE, past_covariates=["x"])).fit(high)
    fitted.save(tmp_path / "f")
    loaded = Forecaster.load(tmp_path / "f")
    assert loaded.vocabulary_ == fitted.vocabulary_
    assert loaded.vocabulary_.targets[0].offset in set(high.y)
    pd.testing.assert_frame_equal(
        loaded.predict(high, [80]), fitted.predict(high, [80]), check_exact=True
    )


def test_a_vocabulary_of_an_older_version_has_no_units():
    old = {"covariates": [{"name": "k", "role": "past", "categories": None}], "types": []}
    vocabulary = Vocabulary.from_dict(old)
    assert vocabulary.targets == () and vocabulary.covariates[0].units == Units(0.0, 1.0)
    panel = read_frame(walks(), ONE, vocabulary=vocabulary)
    windows = WindowDataset(panel, cutoffs_of(panel, 8, 3), 8, 3, origin="row")
    assert windows.unit.tolist() == [1.0] and windows.middle.tolist() == [0.0]


def test_units_come_from_the_steps_that_are_trained_on():
    panel = read_frame(walks("ab", 40), replace(ONE, past_covariates=["x"]))
    later = replace(panel, values=panel.values.copy(), past=panel.past.copy())
    late = np.arange(len(panel.present)) % 40 >= 30
    later.values[late], later.past[late] = 1e9, 1e9
    end = np.array([30])
    assert panel.learn(end) == later.learn(end)
    assert panel.learn(end) != later.learn(np.array([40]))


@pytest.mark.parametrize(
    ("numbers", "units"),
    [
        ([], Units(0.0, 1.0)),
        ([0.0, 0.0], Units(0.0, 1.0)),
        ([4.0, 1.0, 2.0, 3.0], Units(2.0, 4.0)),
        ([-7.0], Units(-7.0, 8.0)),
        ([1e8, 1e8 + 1, 1e8 - 1], Units(1e8, 2.0)),
    ],
)
def test_units_by_hand(numbers, units):
    assert Units.of(np.array(numbers)) == units
