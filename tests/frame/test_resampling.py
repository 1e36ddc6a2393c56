"""Another step of time, against plain loops and pandas, in every library; gaps stay gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, resample
from hierforecast.errors import DataError
from tests.commands import call, complaint
from tests.frames import PLAIN, fit, pl, to_pandas
from tests.helpers import COLUMNS, EVERYTHING, make_frame


def long(times: Any, values: Any = None, uid: str = "a") -> pd.DataFrame:
    values = np.arange(len(times)) * 1.0 if values is None else values
    return pd.DataFrame({"unique_id": uid, "ds": times, "y": values})


def on_a_line(frame: pd.DataFrame, stride: float) -> dict[tuple[Any, ...], float]:
    """(scene, id, new step, target) -> value, by loops over everything."""
    out = {}
    for (scene, uid), own in frame.groupby(["scene", "unique_id"]):
        for name in ("x", "y"):
            seen = dict(zip(own.ds, own[name], strict=True))
            for k in range(int(own.ds.max() / stride) + 1):
                low = int(np.floor(k * stride))
                share = k * stride - low
                if low in seen and (share == 0 or low + 1 in seen):
                    end = seen[low] if share == 0 else seen[low + 1]
                    out[scene, uid, k, name] = seen[low] + share * (end - seen[low])
    return out


@pytest.mark.parametrize("rate", [(25, 5), (25, 10), (25, 8), (5, 12), (6.25, 6.25)])
def test_rates_are_those_of_plain_loops(rate: tuple[float, float], library: str, to: Any) -> None:
    given = make_frame(3, missing=0.3).sample(frac=1, random_state=0)
    frame = to(given)
    new = resample(frame, COLUMNS, rate=rate)
    assert type(new) is type(frame)
    new, expected = to_pandas(new), on_a_line(given, rate[0] / rate[1])
    found = new.melt(["scene", "unique_id", "ds"], ["x", "y"]).set_index(
        ["scene", "unique_id", "ds", "variable"]
    )["value"]
    assert set(found.index) == set(expected) and len(found) == len(expected)
    assert max(abs(found[key] - value) for key, value in expected.items()) < 1e-12
    team = given.groupby("unique_id").team.first()
    assert (new.team == new.unique_id.map(team)).all()
    assert new.columns.tolist() == ["scene", "unique_id", "ds", "x", "y", "team", "kind"]
    assert to_pandas(frame).equals(given if library == "pandas" else given.reset_index(drop=True))


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(
    ("freq", "how"),
    [("D", "sum"), ("W-SUN", "mean"), ("6h", "max"), ("MS", "first"), ("ME", "last"), ("B", "min")],
)
def test_dates_are_those_of_pandas(freq: str, how: str, zone: str | None, to: Any) -> None:
    """Over both changes of summer time, less the steps that are not whole."""
    times = pd.date_range("2024-03-01 05:00", "2024-11-20 16:00", freq="h", tz=zone, unit="us")
    frame = long(times, np.sin(np.arange(len(times))))
    expected = getattr(frame.set_index("ds").y.resample(freq), how)().iloc[1:-1]
    new = to_pandas(resample(to(frame), PLAIN, freq=freq, how=how)).set_index("ds").y
    new.index = new.index.tz_convert("UTC") if zone else new.index
    expected.index = expected.index.tz_convert("UTC") if zone else expected.index
    assert new.index.tolist() == expected.index.tolist()
    np.testing.assert_allclose(new, expected, rtol=1e-12, atol=1e-12)
    holed = frame.drop(index=[1000, 3000])
    fewer = to_pandas(resample(to(holed), PLAIN, freq=freq, how=how))
    lost = set(times[[1000, 3000]].tz_localize(None).to_period("M" if freq[0] == "M" else "D"))
    assert len(new) - len(fewer) == len(lost), "a step with a gap is a gap"


def test_every_kind_of_column_is_carried() -> None:
    frame = make_frame(2, missing=0.1)
    new = resample(frame, EVERYTHING, rate=(4, 2))
    same = frame[frame.ds % 2 == 0].assign(ds=lambda f: f.ds // 2)
    keys = ["scene", "unique_id", "ds"]
    same = same.sort_values(keys, ignore_index=True)[new.columns]
    pd.testing.assert_frame_equal(new, same)
    half = resample(frame, EVERYTHING, rate=(4, 8))
    assert set(half.weather) == {"sun", "rain"} and set(half.role) == {"guard", "centre"}
    mean = resample(frame, EVERYTHING, freq=4, how={"x": "sum"})
    one = frame[(frame.scene == 0) & (frame.unique_id == "home_1")]
    for _, row in mean[(mean.scene == 0) & (mean.unique_id == "home_1")].iterrows():
        own = one[one.ds.between(row.ds, row.ds + 3)]
        assert len(own) == 4 and row.ds % 4 == 0
        assert row.x == pytest.approx(own.x.sum()) and row.plan == pytest.approx(own.plan.mean())


def test_integers_stay_integers_and_picked_values_are_untouched(to: Any) -> None:
    frame = long(np.arange(100, 140, dtype="int16"), np.arange(40, dtype="int32"))
    new = resample(to(frame), PLAIN, freq=5, how="point")
    new = to_pandas(new)
    assert new.ds.tolist() == list(range(100, 140, 5)) and new.ds.dtype == np.int16
    assert new.y.tolist() == list(range(0, 40, 5)) and new.y.dtype == np.int32
    finer = to_pandas(resample(to(frame), PLAIN, rate=(1, 2)))
    assert finer.ds.tolist()[:3] == [200, 201, 202] and finer.y.tolist()[:3] == [0, 0.5, 1]


def test_missing_targets_stay_missing() -> None:
    values = np.arange(12) * 1.0
    values[4] = np.nan
    new = resample(long(np.arange(12), values), PLAIN, freq=3, how="sum")
    assert new.y.isna().tolist() == [False, True, False, False]
    fine = resample(long(np.arange(12), values), PLAIN, rate=(1, 2))
    assert fine.ds[fine.y.isna()].tolist() == [7, 8, 9]


def test_days_of_polars_become_hours() -> None:
    frame = pl.from_pandas(long(pd.date_range("2024-01-01", periods=3))).with_columns(
        pl.col("ds").cast(pl.Date)
    )
    fine = resample(frame, PLAIN, freq="12h")
    assert fine["ds"].dtype == pl.Datetime and fine["y"].to_list() == [0, 0.5, 1, 1.5, 2]
    assert resample(frame, PLAIN, freq="2D")["ds"].dtype == pl.Date


def test_a_fit_at_another_step_takes_what_resample_gives() -> None:
    frame = long(np.arange(200))
    fitted = fit(resample(frame, PLAIN, rate=(25, 5)), horizon=2)
    answer = fitted.predict(resample(frame.tail(101), PLAIN, rate=(25, 5)))
    assert answer.ds.tolist() == [40, 41] and answer.LastValue.tolist() == [195, 195]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give freq=, the new step, or rate="),
        ({"freq": 2, "rate": (25, 5)}, "give freq=, the new step, or rate="),
        ({"rate": 5}, r"rate=5 must be \(old, new\) steps a second"),
        ({"rate": (25, 0)}, "rate=0 must be a number above 0"),
        ({"freq": "D"}, "freq='D' must be a whole number"),
        ({"freq": 0}, "freq=0 must be a whole number"),
        ({"freq": 2, "how": "median"}, "how='median': columns are y, and each may be point"),
        ({"freq": 2, "how": {"z": "sum"}}, "columns are y"),
        ({"freq": 99}, "no step of freq=99"),
    ],
)  # fmt: skip
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        resample(long(np.arange(20)), PLAIN, **options)


def test_dates_that_cannot_be() -> None:
    frame = long(pd.date_range("2024-01-01", periods=20, unit="s"))
    with pytest.raises(DataError, match="freq='fortnight' is no step of dates"):
        resample(frame, PLAIN, freq="fortnight")
    fine = resample(frame.assign(ds=frame.ds.dt.tz_localize("Asia/Kolkata")), PLAIN, freq="500ms")
    assert fine.ds[1] == pd.Timestamp("2024-01-01 00:00:00.5", tz="Asia/Kolkata")
    with pytest.raises(DataError, match="do not go together"):
        resample(frame.assign(z=1.0), Columns(target=["y", "z"], group=None), freq="W-SUN",
                 how={"y": "point"})  # fmt: skip


def test_the_command(tmp_path: Any) -> None:
    path = tmp_path / "t.csv"
    make_frame(2, missing=0.0).to_csv(path, index=False)
    roles = ["--scene", "scene", "--group", "team", "--target", "x", "--target", "y"]
    call("resample", path, tmp_path / "slow.csv", *roles, "--rate", "25:5")
    slow = pd.read_csv(tmp_path / "slow.csv")
    assert slow.ds.unique().tolist() == [0, 1, 2, 3, 4] and slow.scene.nunique() == 2
    call("resample", path, tmp_path / "sums.csv", *roles, "--freq", 4, "--how", "x=sum")
    sums = pd.read_csv(tmp_path / "sums.csv")
    fast = pd.read_csv(path)
    own = fast[(fast.scene == 0) & (fast.unique_id == "ball")]
    assert sums.x[0] == pytest.approx(own.x[:4].sum()) or sums.unique_id[0] != "ball"
    assert "--rate x" in complaint("resample", path, tmp_path / "o.csv", *roles, "--rate", "x:5")
    assert "--freq" in complaint("resample", path, tmp_path / "o.csv", *roles)
