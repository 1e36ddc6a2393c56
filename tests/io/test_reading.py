"""Files as people have them: what is read, what is refused, and remedies that work when run."""

from __future__ import annotations

import gzip
import lzma
import shlex
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, read_table
from hierforecast.errors import DataError
from tests.commands import call, complaint
from tests.frames import PLAIN, mend, mended

DAYS = pd.date_range("2024-01-25", periods=12)


def series(times, sep=",", y=lambda i: f"{i}.5", ids=("a", "b")) -> str:
    """A table of two series, y = 0.5, 1.5, ..."""
    rows = [sep.join(["unique_id", "ds", "y"])]
    rows += [sep.join([u, str(t), y(i)]) for u in ids for i, t in enumerate(times)]
    return "\n".join(rows) + "\n"


def write(path, text, encoding="utf-8"):
    opened = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opened(path, "wt", encoding=encoding) as stream:
        stream.write(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("t.tsv", series(DAYS.date, "\t"), {}),
        ("t.tsv.gz", series(DAYS.date, "\t"), {}),
        ("t.txt.xz", series(DAYS.date, " "), {}),
        ("t.txt", series(DAYS.date, "   "), {}),
        ("t.csv", series(DAYS.date, ";"), {}),
        ("t.csv", series(DAYS.date, ", "), {}),
        ("t.csv", series(DAYS.date, "|"), {}),
        ("t.CSV", series(DAYS.date, ";", lambda i: f"{i},5"), {"decimal": ","}),
        ("t.csv", series(DAYS.strftime("%d.%m.%y")), {"date_format": "%d.%m.%y"}),
        ("t.csv", series(DAYS.date).split("\n", 1)[1], {"names": ["unique_id", "ds", "y"]}),
        ("t.csv", "\ufeff" + series(DAYS.date), {}),
    ],
)
def test_what_is_read(name, text, options, tmp_path):
    frame = read_table(write(tmp_path / name, text), PLAIN, **options)
    assert frame.columns.tolist() == ["unique_id", "ds", "y"]
    assert frame.unique_id.tolist() == ["a"] * 12 + ["b"] * 12
    assert frame.ds.tolist() == [*DAYS, *DAYS]
    assert frame.y.tolist() == [i + 0.5 for _ in "ab" for i in range(12)]


@pytest.mark.parametrize(
    ("cells", "first", "last"),
    [
        (["1998 Q1", "1998 Q2", "1998 Q4"], "1998-01-01", "1998-10-01"),
        (["1998Q3", "1999q1"], "1998-07-01", "1999-01-01"),
        (["2023-W52", "2024-W05"], "2023-12-25", "2024-01-29"),
        (["2024-3-8", "2024-3-10"], "2024-03-08", "2024-03-10"),
        (["2024-01", "2024-02"], "2024-01-01", "2024-02-01"),
        (["2024-01-31T06:00+01:00", "2024-02-01T06:00+01:00"], "2024-01-31T05Z", "2024-02-01T05Z"),
        (["0.0", "10.0", "20.0"], 0, 20),
        (["1e1", "2e1"], 10, 20),
        (["1704067200000000001", "1704067200000000003"], 1704067200000000001, 1704067200000000003),
    ],
)
def test_times_that_need_no_option(cells, first, last, tmp_path):
    ds = read_table(write(tmp_path / "t.csv", series(cells)), PLAIN).ds
    if isinstance(first, str):
        first, last = pd.Timestamp(first), pd.Timestamp(last)
        assert ds.iloc[0] == first and ds.iloc[-1] == last
    else:
        assert ds.dtype == np.int64 and (ds.iloc[0], ds.iloc[-1]) == (first, last)


TIMES = {
    "day first": ([f"{d}/03/2024" for d in range(8, 20)], "2024-03-08", "2024-03-20"),
    "two digits": ([f"{d:02}.3.24" for d in range(8, 20)], "2024-03-08", "2024-03-20"),
    "month first": ([f"03/{d:02}/24" for d in range(8, 20)], "2024-03-08", "2024-03-20"),
    "with a clock": (
        [f"{d}/3/2024 13:30" for d in range(8, 20)], "2024-03-08 13:30", "2024-03-20 13:30",
    ),
    "month names": (
        pd.date_range("2024-01", periods=12, freq="MS").strftime("%b %Y"),
        "2024-01-01", "2025-01-01",
    ),
    "thirtieths": ([f"{i / 30:.3f}" for i in range(12)], 0.0, 0.4),
    "offsets": (
        [f"2024-03-{d}T12:00:00+0{1 + (d > 25)}:00" for d in range(20, 32)],
        None, None,
    ),
    "seconds": ([f"{i * 0.04:.2f}" for i in range(12)], 0.0, 0.48),
    "hundredths": ([f"{i / 30:.2f}" for i in range(12)], 0.0, 0.4),
    "milliseconds": ([f"{100 + i * 62.5}" for i in range(12)], 100.0, 850.0),
}  # fmt: skip


@pytest.mark.parametrize("case", TIMES)
def test_remedies_of_times_work(case, tmp_path):
    cells, first, following = TIMES[case]
    path = write(tmp_path / "t.csv", series(cells))
    message = r"column 'ds' of '.*t\.csv' has '.*' in line \d+"
    scope = mended(message, lambda: read_table(path, PLAIN), paths=path, columns=PLAIN)
    ds = scope["frame"].ds
    assert ds.is_monotonic_increasing is False and ds.nunique() == 12
    if case == "offsets":
        assert str(ds.dt.tz) == "UTC" and ds.iloc[-1] == pd.Timestamp("2024-03-31T10:00Z")
        return  # which are 23 hours apart at one place: the user's zone mends that
    if isinstance(first, str):
        assert ds.iloc[0] == pd.Timestamp(first)
    fit = ["fit", path, tmp_path / "m", "--context", 4, "--horizon", 1, "--model", "last-value"]
    shown = complaint(*fit)
    options = shlex.split(shown[shown.rindex(" --") :])
    assert "read_table" not in shown and options[0] in ("--date-format", "--time-step")
    call(*fit, *options)
    answer = call("predict", path, tmp_path / "m", *options).stdout.splitlines()
    assert answer[0] == "unique_id,ds,LastValue"
    label = answer[1].split(",")[1]
    if isinstance(first, str):
        assert pd.Timestamp(label) == pd.Timestamp(following) and label.startswith("202")
    else:
        assert float(label) == pytest.approx(following, abs=1e-3), "in the unit of the file"


def test_offsets_of_a_zone_are_days_there(tmp_path):
    text = series([f"2024-03-{d}T00:00:00+0{1 + (d > 31)}:00" for d in range(20, 32)])
    text = text.replace("2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00")
    path = write(tmp_path / "t.csv", text)
    sizes = ["--context", 4, "--horizon", 1, "--model", "last-value", "--zone", "Europe/Berlin"]
    call("fit", path, tmp_path / "m", *sizes)
    answer = call("predict", path, tmp_path / "m", "--zone", "Europe/Berlin").stdout
    assert "a,2024-04-02 00:00:00+02:00" in answer
    assert "no time zone" in complaint("fit", path, tmp_path / "m", *sizes, "--zone", "Mars")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (series([0, 1], y=lambda i: f'"{i},5"'), {}, "'0,5' in line 2, .*decimal=','"),
        (series([0, 1], y=lambda i: f'"{i + 1},500.5"'), {}, "'1,500.5' .*thousands=','"),
        (series([0, 1], ";", y=lambda i: f"1.{i}00,5"), {}, r"'1\.000,5' .*thousands='\.'"),
        (series([0, 1], y=lambda i: "broken"), {}, "'broken' in line 2.*correct it"),
        ("0 1.0 2.5\n10 1.0 2.5\n", {}, r"no header.*names=\['unique_id', 'ds', 'y'\]"),
        (series([0, 1]), {"names": ["a", "b"]}, r"names=\['a', 'b'\] are 2 columns.*has 3 cells"),
        (series([0, 1]), {"sep": ";;"}, "one character"),
        ("unique_id,y,ds,y\na,1,0,1\n", {}, "two columns called 'y'"),
        ("unique_id:ds:y\na:0:1\n", {}, r"one column only.*sep=':'"),
        (series([0, 1]), {"encoding": "klingon"}, "encoding='klingon' is no encoding"),
        (series(["1/2/2024", "2/2/2024"]), {}, "it may be '%d/%m/%Y' or '%m/%d/%Y'"),
        (series(["8/2/2024", "9/2/2024"]), {"date_format": "%Y"}, "not written as '%Y' says"),
        (series(["0.1", "0.2"]), {"time_step": -1}, "time_step=-1 must be a number above 0"),
        (series([0, 1]), {"file_column": "y"}, "has a column 'y'"),
        (series([0, 1]), {"fill": {"Y": 0}}, "no column is called 'Y'"),
        ("# exported\n" + series([0, 1]), {}, "begins with a comment .*delete the lines above"),
        ("a,b\n" + series([0, 1]), {"sep": ","}, "some have more than the first.*delete what is"),
        (series(["0.1", "0.17", "0.34", "3"]), {}, "no size of a step counts these, so number"),
        (series(["soon", "0"]), {}, "'soon' in line 2"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(text, options, message, tmp_path):
    path = write(tmp_path / "t.txt", text)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path, PLAIN, **options)
    if caught.value.remedy is not None and "date_format" not in options and "sep" not in options:
        frame = mend(caught.value, paths=path, columns=PLAIN)["frame"]
        assert pd.api.types.is_numeric_dtype(frame.y) and len(frame) in (1, 2, 4)


def test_encodings(tmp_path):
    text = series([0, 1], ids=("Köln", "b"))
    latin, wide = tmp_path / "latin.csv", tmp_path / "wide.csv"
    write(latin, text, "latin-1"), write(wide, text, "utf-16")
    assert read_table(wide, PLAIN).unique_id[0] == "Köln", "its byte-order mark says so"
    assert read_table(latin, PLAIN, encoding="latin-1").unique_id[0] == "Köln"
    shown = complaint("fit", latin, tmp_path / "m", "--context", 1, "--horizon", 1)
    assert "latin.csv" in shown and shown.endswith("--encoding latin-1")


def test_several_files_are_one_table(tmp_path):
    """One play a file: a pattern, a folder or a list of files, and the file's name as the scene."""
    (tmp_path / "plays").mkdir()
    for i, play in enumerate(("b.x", "a")):
        rows = series(range(10), "\t").replace("0.5", f"{i}0.5")
        write(tmp_path / "plays" / f"{play}.tsv", rows)
    (tmp_path / "plays" / "README.md").write_text("not a table")
    columns = Columns(group=None, scene="play")
    folder, pattern = tmp_path / "plays", tmp_path / "plays" / "*.tsv"
    ways = [folder, str(pattern), [folder / "a.tsv", folder / "b.x.tsv"], [folder, pattern]]
    frames = [read_table(way, columns, file_column="play") for way in ways]
    for frame in frames:
        pd.testing.assert_frame_equal(frame, frames[0])
    assert frames[0].groupby("play").y.first().to_dict() == {"a": 10.5, "b.x": 0.5}
    roles = ["--scene", "play", "--file-column", "play", "--context", 4, "--horizon", 2]
    for given in ([pattern], [folder], sorted(folder.glob("*.tsv"))):
        call("fit", *given, tmp_path / "m", *roles, "--model", "last-value")
        answer = call("predict", *given, tmp_path / "m", "--file-column", "play").stdout
        rows = pd.read_csv(StringIO(answer))
        assert rows.iloc[0, :3].tolist() == ["a", "a", 10] and len(rows) == 8
        assert rows.LastValue.tolist() == pytest.approx([9.5] * 8)
    scored = call("evaluate", pattern, tmp_path / "m", "--file-column", "play", "--metric", "mae")
    assert "LastValue" in scored.stdout
    tables = sorted(folder.glob("*.tsv"))
    assert "'pattern' in quotes" in complaint("evaluate", *tables, tmp_path / "m")
    assert "comes last" in complaint("fit", *tables, *roles)


def test_files_that_do_not_fit_together(tmp_path):
    write(tmp_path / "a.csv", series([0, 1])), write(tmp_path / "b.csv", "unique_id,ds,z\na,0,1\n")
    with pytest.raises(DataError, match=r"a\.csv' and '.*b\.csv' .*first has \['y'\].*\['z'\]"):
        read_table(tmp_path, PLAIN)
    write(tmp_path / "c.tsv", series([0, 1], "\t"))
    with pytest.raises(DataError, match=r"several kinds \(\.csv, \.tsv\): give a pattern"):
        read_table(tmp_path, PLAIN)
    with pytest.raises(FileNotFoundError, match="no file fits the pattern"):
        read_table(tmp_path / "*.parquet", PLAIN)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no table"):
        read_table(tmp_path / "none", PLAIN)
    with pytest.raises(DataError, match="no table that can be read"):
        read_table(write(tmp_path / "t.xlsx", ""), PLAIN)
    with pytest.raises(DataError, match="no table is given"):
        read_table([], PLAIN)


def test_labels_are_of_all_files_together(tmp_path):
    write(tmp_path / "1.csv", series([0], ids=("1", "2")))
    write(tmp_path / "2.csv", series([0], ids=("3", "x")))
    assert read_table(tmp_path, PLAIN).unique_id.tolist() == ["1", "2", "3", "x"]
    write(tmp_path / "2.csv", series([0], ids=("3", "4")))
    assert read_table(tmp_path, PLAIN).unique_id.tolist() == [1, 2, 3, 4]
    with pytest.raises(DataError, match=r"2\.csv' has 'x' in line 3"):
        write(tmp_path / "2.csv", series([0, "x"], ids=("3",)))
        read_table(tmp_path, PLAIN)


def test_parquet_times_are_read_like_text(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"unique_id": "a", "ds": ["1/2/2024", "15/2/2024"], "y": 1.0})
    frame.to_parquet(tmp_path / "t.parquet")
    frame = read_table(tmp_path / "t.parquet", PLAIN, date_format="%d/%m/%Y")
    assert frame.ds.iloc[0] == pd.Timestamp("2024-02-01")
    frame.assign(ds=[0.0, 1.0]).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", PLAIN).ds.tolist() == [0, 1]


def test_empty_cells_are_filled_and_repeated_rows_left_out(tmp_path):
    rows = [
        f"{u},{t},{g},{t}.0,{e}" for u, g, e in (("a", "A", 1), ("ball", "", 2)) for t in range(9)
    ]
    rows += ["a,3,A,3.0,another event", "a,8,A,8.0,another event"]
    path = write(tmp_path / "t.csv", "unique_id,ds,team,y,event\n" + "\n".join(rows))
    fit = ["fit", path, tmp_path / "m", "--group", "team", "--context", 4, "--horizon", 2]
    fit += ["--model", "last-value"]
    assert "--fill team=" in complaint(*fit)
    fitted = call(*fit, "--fill", "team=none")
    assert "left out 2 rows" in fitted.stderr
    answer = pd.read_csv(
        StringIO(call("predict", path, tmp_path / "m", "--fill", "team=none").stdout)
    )
    assert answer.unique_id.tolist() == ["a", "a", "ball", "ball"]
    assert answer.ds.tolist() == [9, 10] * 2 and answer.LastValue.tolist() == pytest.approx([8] * 4)
    assert "COLUMN=VALUE" in complaint(*fit, "--fill", "team")
