"""What every test shares: one thread, one seed, no window, the way to real data, and `--fast`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

# Before numpy and torch are imported: two workers with two threads each would fight for two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).parents[1]
# An unpacked sdist has no pages, notebooks and benchmarks: their tests are left out there.
OF_THE_REPOSITORY = [
    *(
        f"test_{name}.py"
        for name in ("benchmarks*", "docs*", "files", "golden", "notebooks", "project")
    ),
    *("test_readme.py", "test_security.py", "datasets/test_cards.py"),
]
collect_ignore_glob = [] if (REPOSITORY / "docs").is_dir() else OF_THE_REPOSITORY


# What tests took when they last ran, in pytest's cache; from so many seconds on they are not fast.
TOOK, LONG = "hierforecast/took", 0.3


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out what took long last time")


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)
    if not hasattr(config, "workerinput"):  # workers of xdist report to the process that has none
        config.pluginmanager.register(Took(config))


class Took:
    """Keeps what each test takes, so that the fast ones are known without anyone naming them."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.seconds = config, dict[str, float]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        cache = getattr(self.config, "cache", None)  # none with -p no:cacheprovider
        if cache is not None and self.seconds:
            cache.set(TOOK, {**cache.get(TOOK, {}), **self.seconds})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--fast`` leave out what took long; of a test that never ran, its mark says it."""
    if not config.getoption("--fast"):
        return
    cache = getattr(config, "cache", None)
    took = {} if cache is None else cache.get(TOOK, {})
    late = [
        item
        for item in items
        if took.get(item.nodeid, LONG * (item.get_closest_marker("slow") is not None)) >= LONG
    ]
    config.hook.pytest_deselected(items=late)
    items[:] = [item for item in items if item not in set(late)]


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """The same random numbers for each test, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    yield
    torch.set_default_dtype(default)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    if not (REPOSITORY / "docs").is_dir():
        pytest.skip("an unpacked sdist has no cards and pages")
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, one folder each: `shared_data / "nba"`."""
    places = [REPOSITORY.parent / "shared" / "data"]
    if "HIERFORECAST_DATA" in os.environ:
        places.insert(0, Path(os.environ["HIERFORECAST_DATA"]))
    for place in places:
        if place.is_dir():
            return place
    pytest.skip("real data stand neither in HIERFORECAST_DATA nor in ../shared/data")


@pytest.fixture(scope="module")
def networks() -> Iterator[None]:
    """For tests of what networks do, also where a simpler rung would be as good."""
    from tests.helpers import trained_answers

    with pytest.MonkeyPatch.context() as patch:
        trained_answers(patch)
        yield
