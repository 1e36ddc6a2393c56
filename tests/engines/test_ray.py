"""Ray on this machine, with two CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from hierforecast.engines import ray as engine
from tests.engines.checks import QUIET_IMPUTING
from tests.engines.homes import Home, HomeTests

REASON = "Ray is not installed: make engines, or pip install 'hierforecast[ray]'"
ray = pytest.importorskip("ray", reason=REASON)
data = pytest.importorskip("ray.data", reason=REASON)
# What Ray itself warns of, and what it leaves open when it ends.
RAYS = (
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(*QUIET_IMPUTING, *RAYS)]


def begin(**options: Any) -> None:
    """Start Ray, which gives up after 30 s; on a busy machine it may need another try."""
    for tries in range(3):
        try:
            ray.init(**options)
            return
        except Exception as error:
            ray.shutdown()
            if tries == 2 or "timed out during startup" not in str(error):
                raise


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    def carry(frame: pd.DataFrame) -> data.Dataset:
        shuffled = frame.sample(frac=1.0, random_state=0)
        return data.from_pandas([shuffled[start::3] for start in range(3)])

    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "BLOCKS", 1)
        # Each new worker imports torch: those that wait are kept.
        patch.setenv("RAY_idle_worker_killing_time_threshold_ms", "600000")
        patch.setenv("RAY_num_workers_soft_limit", "4")
        begin(num_cpus=2, object_store_memory=128 * 2**20, **options)
        data.DataContext.get_current().enable_progress_bars = False
        try:
            yield Home("ray", carry, lambda found: found.to_pandas())
        finally:
            ray.shutdown()


class TestRay(HomeTests):
    pass
