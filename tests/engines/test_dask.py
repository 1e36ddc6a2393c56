"""Dask, with two workers."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

from tests.engines.checks import QUIET_IMPUTING
from tests.engines.homes import Home, HomeTests

REASON = "Dask is not installed: make engines, or pip install 'hierforecast[dask]'"
distributed = pytest.importorskip("distributed", reason=REASON)
dask = pytest.importorskip("dask.dataframe", reason=REASON)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(*QUIET_IMPUTING)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Home]:
    def carry(frame: pd.DataFrame) -> dask.DataFrame:
        shuffled = frame.sample(frac=1.0, random_state=0).reset_index(drop=True)
        return dask.from_pandas(shuffled, 7)

    def bring(found: dask.DataFrame) -> pd.DataFrame:
        whole = found.compute()
        assert list(found._meta.dtypes) == list(whole.dtypes)
        return whole

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    folder = str(tmp_path_factory.mktemp("dask"))
    with (
        distributed.LocalCluster(**options, local_directory=folder) as cluster,
        distributed.Client(cluster),
    ):
        yield Home("dask", carry, bring)


class TestDask(HomeTests):
    pass
