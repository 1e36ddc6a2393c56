"""Spark: a verb over the partitions of a DataFrame, once a scene lies in one of them whole."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

from hierforecast.engines.job import Job
from hierforecast.engines.scenes import whole_scenes
from hierforecast.errors import import_extra

# Rows that go back to Spark at a time.
ROWS = 10_000


def run(job: Job, frame: Any) -> Any:
    """The answers as a Spark DataFrame, worked out when it is asked for.

    A scene's rows are brought together and sorted, so that a worker holds some scenes at a time and
    not its whole partition.

    Raises:
        DataError: for options that cannot be.
    """
    types = import_extra("pyspark.sql.pandas.types", "spark", "for Spark DataFrames")
    scenes = list(job.columns.scenes)
    # Each name stands for itself, a dot or a space in it too.
    quoted = ["`" + name.replace("`", "``") + "`" for name in scenes]
    whole = frame.repartition(1)
    if scenes:
        whole = frame.repartition(*quoted).sortWithinPartitions(*quoted)
    # Of late Spark wants to be told the zone of its timestamps.
    zone = {"timezone": frame.sparkSession.conf.get("spark.sql.session.timeZone")}
    zone = zone if "timezone" in signature(types.to_arrow_schema).parameters else {}
    wanted = job.empty(types.to_arrow_schema(frame.schema, **zone).empty_table()).schema

    def answers(batches: Iterator[Any]) -> Iterator[Any]:
        for table in whole_scenes(batches, job.columns):
            yield from job(table).cast(wanted).to_batches(max_chunksize=ROWS)

    return whole.mapInArrow(answers, _schema(job, frame, wanted))


def collect(frame: Any) -> Iterator[Any]:
    """A Spark DataFrame, in pieces of pandas."""
    yield frame.toPandas()


def read(folder: str) -> Any:
    """A folder of Parquet, by the session that there is, or a local one."""
    sql = import_extra("pyspark.sql", "spark", "for --engine spark")
    return sql.SparkSession.builder.getOrCreate().read.parquet(folder)


def write(frame: Any, folder: str) -> None:
    """Write a folder of Parquet."""
    frame.write.mode("append").parquet(folder)


def _schema(job: Job, frame: Any, wanted: Any) -> Any:
    """Spark's types of an Arrow schema: those of the frame for labels and times."""
    types = import_extra("pyspark.sql.types", "spark", "for Spark DataFrames")
    plain = {"string": types.StringType(), "double": types.DoubleType(), "int64": types.LongType()}
    time = job.columns.time
    kept = {field.name: field.dataType for field in frame.schema} | {
        "cutoff": frame.schema[time].dataType
    }
    numbers = {} if job.verb == "evaluate" else kept
    return types.StructType(
        [
            types.StructField(field.name, _type(field, numbers, plain, job.columns.targets))
            for field in wanted
        ]
    )


def _type(field: Any, kept: Any, plain: Any, targets: Any) -> Any:
    own = field.name in kept and field.name not in targets
    return kept[field.name] if own else plain[str(field.type).removeprefix("large_")]
