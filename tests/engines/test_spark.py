"""Spark on this machine: two cores, and four tries for a task whose worker dies."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator

import pandas as pd
import pytest

from tests.engines.checks import QUIET_IMPUTING
from tests.engines.homes import Home, HomeTests

REASON = "Spark is not installed: make engines, or pip install 'hierforecast[spark]'"
sql = pytest.importorskip("pyspark.sql", reason=REASON)
if shutil.which("java") is None:
    pytest.skip("Spark runs on Java, and there is none here", allow_module_level=True)
SPARKS = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(*QUIET_IMPUTING, *SPARKS)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Home]:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    options = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("spark")),
        "spark.sql.session.timeZone": "UTC",
    }
    builder = sql.SparkSession.builder.master("local[2,4]").config(map=options)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")

    def carry(frame: pd.DataFrame) -> sql.DataFrame:
        return spark.createDataFrame(frame.sample(frac=1.0, random_state=0)).repartition(3)

    try:
        yield Home("spark", carry, lambda found: found.toPandas())
    finally:
        spark.stop()
        del os.environ["PYSPARK_PYTHON"]


class TestSpark(HomeTests):
    pass
