"""What holds for every file of the repository: it is short, and no test reads a clock."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLOCKS = re.compile(
    r"(timeit|time\.(?!sleep)\w+|([\w.]+\.)?(datetime|date|Timestamp)\.(now|utcnow|today))\b"
)


def clocks(source: str) -> list[str]:
    """The clocks that a program names: imported from `time`, or read as an attribute."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "timeit"):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            found.append(ast.unparse(node))
    return [name for name in found if CLOCKS.match(name)]


def test_no_test_reads_a_clock():
    """On a busy machine it would fail; what is measured stands in `benchmarks/`."""
    for bad in (
        "from time import perf_counter",
        "import time\ntime.monotonic()",
        "import timeit",
        "datetime.datetime.now()",
        "pd.Timestamp.now()",
    ):
        assert clocks(bad), bad
    assert not clocks("import time\ntime.sleep(1)\npd.Timestamp('2020-01-01').time()")
    files = [*(ROOT / "tests").rglob("*.py")]
    assert len(files) > 100
    assert not {str(file.relative_to(ROOT)): c for file in files if (c := clocks(file.read_text()))}


def test_no_file_is_long():
    """Who opens one reads it whole; a test that outgrows its file finds another by its topic."""
    rooms = ("hierforecast", "benchmarks", "datasets", "docs", "tests")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    assert len(files) > 600
    lengths = {str(file.relative_to(ROOT)): file.read_text().count("\n") for file in files}
    assert not {name: lines for name, lines in lengths.items() if lines > 300}
