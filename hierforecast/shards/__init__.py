"""Tables larger than memory: cut into shards once, then read one shard after another.

`cutting.shard` makes any table (`sources`) a folder of Parquet files in which every scene lies
whole; `folder.Shards` opens such a folder.
"""

from hierforecast.shards.cutting import shard
from hierforecast.shards.folder import Shards

__all__ = ["Shards", "shard"]
