"""The verbs of a forecaster over an engine that users have already: Ray, Spark or Dask.

`job.Job` is a verb and a fitted forecaster, made to travel: from a frame of whole scenes to the
answer, on any machine. An adapter brings whole scenes to it, one module for each engine; `door`
sends the engine's frames there. None of them imports its engine before such a frame arrives.
"""

from hierforecast.engines.job import Job

__all__ = ["Job"]
