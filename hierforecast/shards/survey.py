"""What must be known of all shards before one is learned from: categories, and the step of time."""

from __future__ import annotations

from typing import Any

from hierforecast._progress import progress
from hierforecast.frame import Columns, Vocabulary
from hierforecast.frame.categories import categories_of, encode
from hierforecast.frame.freq import step_of
from hierforecast.frame.grid import Grid
from hierforecast.frame.labels import Rows
from hierforecast.frame.table import Table
from hierforecast.shards.folder import Shards

_ID = "one series"


def learn_categories(shards: Shards, columns: Columns) -> Vocabulary:
    """The categories and types of all shards: one pass over their columns, distinct values kept.

    Raises:
        DataError: if one cannot be used.
    """
    import pyarrow as pa

    roles = [
        (role, name)
        for role in ("past", "known")
        for name in getattr(columns, f"{role}_covariates")
    ]
    roles += [("static", name) for name in columns.static]
    kinds = {name: shards.schema.field(name).type for _, name in roles}
    texts = [name for name, kind in kinds.items() if _is_label(kind)]
    if columns.group_type is not None:
        texts.append(columns.group_type)
    found: dict[str, dict[Any, None]] = {name: {} for name in texts}
    for batch in shards.each(list(dict.fromkeys(texts))) if texts else ():
        for name in texts:
            found[name] |= dict.fromkeys(batch.column(name).unique().to_pylist())
    covariates = []
    for role, name in roles:
        # A null keeps the type where there is no value at all.
        values = pa.array([None, *found.get(name, ())], kinds[name])
        table = Table.open(pa.table({name: values}), columns)
        covariates.append(encode(table, name, role, None)[1])
    types: tuple[Any, ...] = ()
    if columns.group_type is not None:
        name = columns.group_type
        labels = [label for label in found[name] if label is not None]
        kind = shards.schema.field(name).type
        table = Table.open(pa.table({name: pa.array(labels, kind)}), columns)
        types = categories_of(table, name, table.labels(name)[1])
    return Vocabulary(tuple(covariates), types)


def learn_step(shards: Shards, columns: Columns, bar: bool = True) -> str:
    """The step of time of all shards, see `Clock.step`; only scenes and times are read.

    Shards that show another step, such as every second day only, are looked at together.

    Raises:
        DataError: if the times of a shard are not regular.
    """
    if columns.freq is not None:
        return str(step_of(columns.freq))
    shown: dict[str, Any] = {}
    for number in progress(range(len(shards)), "looking at times", len(shards), bar):
        moments = _moments(shards, number, columns)
        shown.setdefault(_step_of(moments, columns), moments)
    if len(shown) == 1:
        return next(iter(shown))
    import pyarrow as pa

    return _step_of(pa.concat_tables(shown.values()), columns)


def _is_label(kind: Any) -> bool:
    import pyarrow as pa

    return any(
        fits(kind) for fits in (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
    )


def _moments(shards: Shards, number: int, columns: Columns) -> Any:
    """The distinct scenes and times of a shard."""
    names = [*columns.scenes, columns.time]
    return shards.read([number], names).group_by(names).aggregate([])


def _step_of(moments: Any, columns: Columns) -> str:
    """The step of distinct scenes and times."""
    import pyarrow as pa

    table = moments.append_column(_ID, pa.repeat(0, len(moments)))
    plain = Columns(id=_ID, time=columns.time, group=None, scene=columns.scene)
    return Grid.lay(Rows.read(Table.open(table, plain))).clock.step
