"""Panels and the frames made of them are what they were: recorded once, equal ever after.

``python -m tests.frame.test_golden`` records them anew, where a change is meant.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from hierforecast.frame import Columns, Panel, Vocabulary, read_frame
from tests.frames import LIBRARIES, PLAIN, days
from tests.helpers import EVERYTHING, make_frame, newest

GOLDEN = Path(__file__).parents[1] / "golden" / "frames.json"
ARRAYS = (
    *("length", "begin", "cutoff", "row_offset", "row_scene", "groups", "types", "static"),
    *("cell_offset", "values", "present", "past", "known"),
)


def walks(times: Any, ids: Any = "ab", **columns: Any) -> pd.DataFrame:
    """Series with holes, in rows of a random order."""
    rng = np.random.default_rng(len(times))
    parts = [pd.DataFrame({"unique_id": i, "ds": times, **columns}) for i in ids]
    frame = pd.concat(parts, ignore_index=True).assign(y=lambda f: rng.normal(size=len(f)).round(3))
    kept = rng.random(len(frame)) < 0.8
    kept[-1] = True
    return frame[kept].sample(frac=1, random_state=0).reset_index(drop=True)


def shops() -> pd.DataFrame:
    frame = walks(range(7), ["k", "l", "m"], city="x", shop=np.int8(1))
    more = frame.assign(city="y", ds=frame.ds + 30, unique_id=frame.unique_id + "2")
    return pd.concat([frame, more, frame.assign(shop=np.int8(2))]).astype({"city": "category"})


def plans() -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = walks(range(0, 20, 2)).assign(plan=lambda f: f.ds / 4)
    ahead = pd.DataFrame({"unique_id": [*"aabbc"], "ds": [20, 22] * 2 + [20], "plan": range(5)})
    return frame, ahead.astype({"plan": float})


SHOP = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
EVERY, WHOLE = (make_frame(2, steps=6, missing=share) for share in (0.3, 0.0))
CASES: dict[str, tuple[pd.DataFrame, Columns, dict[str, Any]]] = {
    "every role": (EVERY, EVERYTHING, {}),
    "every role, horizon": (EVERY[EVERY.ds < 4], EVERYTHING, {"known": WHOLE, "horizon": 2}),
    "integers": (walks(np.arange(3, 40, 3, dtype="uint8")), PLAIN, {"horizon": 2}),
    "days": (walks(days("2024-02-20", periods=12)), PLAIN, {"horizon": 2}),
    "business days of a zone": (
        walks(days("2024-03-20", periods=12, freq="B", tz="Europe/Berlin")),
        PLAIN,
        {"horizon": 3},
    ),
    "hours of a zone": (
        walks(days("2024-10-26 20:00", periods=12, freq="h", tz="America/New_York")),
        PLAIN,
        {"horizon": 1},
    ),
    "month ends": (walks(days("2024-01-31", periods=9, freq="ME")), PLAIN, {"horizon": 3}),
    "third Fridays": (walks(days("2024", periods=12, freq="WOM-3FRI")), PLAIN, {"horizon": 2}),
    "stated weeks": (
        walks(days("2024", periods=8, freq="W-SUN")),
        Columns(group=None, freq="W-SUN"),
        {"horizon": 1},
    ),
    "own week": (
        walks(days("2024", periods=17, freq=SHOP)),
        Columns(group=None, freq="Mon Tue Wed Thu Fri Sat"),
        {},
    ),
    "durations": (walks(pd.to_timedelta(np.arange(9) * 40, unit="ms")), PLAIN, {"horizon": 2}),
    "ids and groups of several columns": (
        shops(),
        Columns(id=["shop", "unique_id"], scene="city", group=[["city", "shop"], "unique_id"]),
        {},
    ),
    "two targets": (
        walks(range(10), z=[1.5, None] * 5, b=[True, False] * 5),
        Columns(target=["y", "z", "b"], group=None),
        {},
    ),
    "plans": (plans()[0], Columns(group=None, known_covariates=["plan"]), {"known": plans()[1],
              "horizon": 2}),
    "the fitted step": (walks(days("2024-03-06", periods=3)), PLAIN, {"step": "B/1/0/1"}),
    "the fitted categories": (
        walks(range(6), kind=["p", "q", "r"] * 2, size=2.5),
        Columns(group=None, past_covariates=["kind"], static=["size"]),
        {
            "vocabulary": Vocabulary.from_dict(
                {
                    "covariates": [
                        {"name": "kind", "role": "past", "categories": ["o", "p", "q"]},
                        {"name": "size", "role": "static", "categories": None},
                    ],
                    "types": [],
                }
            )
        },
    ),
}  # fmt: skip


def read(case: str, library: str) -> Panel:
    frame, columns, options = CASES[case]
    to = LIBRARIES[library]
    known = {"known": to(options["known"])} if "known" in options else {}
    return read_frame(to(frame), columns, **(options | known))


def record(panel: Panel) -> dict[str, Any]:
    """A panel and the frame of all its cells, as JSON has them."""
    clock = panel.clock
    lengths = panel.length[panel.row_scene]
    rows = np.repeat(np.arange(len(lengths)), lengths)
    steps = np.arange(len(rows)) - panel.cell_offset[rows]
    ends = panel.time_column("end", panel.row_scene[rows], steps + 1)
    back = nw.from_native(panel.to_frame(rows, steps, {"end": ends, "y": panel.values[:, 0]}))
    found = {
        "step": clock.step,
        "unit": clock.unit,
        "zone": None if clock.zone is None else str(clock.zone),
        "start": clock.start.tolist(),
        "of_day": clock.of_day.tolist(),
        "duration": clock.duration,
        "scene_labels": panel.scene_labels.tolist(),
        "ids": panel.ids.tolist(),
        **{name: getattr(panel, name).tolist() for name in ARRAYS},
        "vocabulary": panel.vocabulary.to_dict(),
        "types_of_columns": {name: str(kind) for name, kind in back.schema.items()},
        "frame": [[str(cell) for cell in row] for row in back.rows()],
    }
    return json.loads(json.dumps(found))


@newest
@pytest.mark.parametrize("case", CASES)
def test_panels_and_frames_are_those_recorded(case: str, library: str) -> None:
    wanted = json.loads(GOLDEN.read_text())[case]
    found = record(read(case, library))
    wanted = {**wanted["pandas"], **wanted.get(library, {})}
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        # NaN is equal to NaN.
        assert json.dumps(found[name]) == json.dumps(value), name


def main() -> None:
    """Record every case; of the other libraries only what differs from pandas."""
    golden: dict[str, Any] = {}
    for case in CASES:
        every = {library: record(read(case, library)) for library in LIBRARIES}
        first = every["pandas"]
        golden[case] = {
            library: {
                name: value
                for name, value in found.items()
                if found is first or json.dumps(value) != json.dumps(first[name])
            }
            for library, found in every.items()
        }
    GOLDEN.write_text(json.dumps(golden, separators=(",", ":")).replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
