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
    whole, keys = frame, job.keys
    if keys is not None:
        # Each name stands for itself, a dot or a space in it too.
        quoted = ["`" + name.replace("`", "``") + "`" for name in keys]
        whole = frame.repartition(*quoted) if keys else frame.repartition(1)
        whole = whole.sortWithinPartitions(*quoted) if keys else whole
    # Of late Spark wants to be told the zone of its timestamps.
    zone = {"timezone": frame.sparkSession.conf.get("spark.sql.session.timeZone")}
    zone = zone if "timezone" in signature(types.to_arrow_schema).parameters else {}
    own = types.to_arrow_schema(frame.schema, **zone)
    wanted = job.empty(own.empty_table()).schema

    def answers(batches: Iterator[Any]) -> Iterator[Any]:
        for table in whole_scenes(batches, keys):
            yield from job(table).cast(wanted).to_batches(max_chunksize=ROWS)

    return whole.mapInArrow(answers, _schema(frame, own, wanted))


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


def _schema(frame: Any, own: Any, wanted: Any) -> Any:
    """Spark's types of an Arrow schema, as in the frame, whose Arrow schema is `own`."""
    types = import_extra("pyspark.sql.types", "spark", "for Spark DataFrames")
    plain = {
        "string": types.StringType(),
        "double": types.DoubleType(),
        "int64": types.LongType(),
        "bool": types.BooleanType(),
    }
    pairs = [(arrow, given.dataType) for arrow, given in zip(own, frame.schema, strict=True)]
    # Of the name if it is of its type, such as a label; else any of the type, such as a cutoff's.
    by_name = {(arrow.name, arrow.type): kind for arrow, kind in pairs}
    by_type = {_plain(arrow): kind for arrow, kind in pairs} | plain
    found = [by_name.get((f.name, f.type), by_type.get(_plain(f))) for f in wanted]
    return types.StructType(
        [types.StructField(f.name, kind) for f, kind in zip(wanted, found, strict=True)]
    )


def _plain(field: Any) -> str:
    return str(field.type).removeprefix("large_")
