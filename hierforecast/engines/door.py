"""The door for frames of engines: one decorator, through which verbs take them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar

import pandas as pd

from hierforecast.engines.homes import home_of
from hierforecast.engines.job import Job
from hierforecast.engines.parts import by_cutoff
from hierforecast.errors import DataError

Verb = TypeVar("Verb", bound=Callable[..., Any])


def anywhere(verb: Verb) -> Verb:
    """Let a verb of a forecaster take frames of Ray, Spark and Dask as well, and answer in kind.

    Its name is the job's, its first argument the frame. What `evaluate` finds comes as pandas. With
    ``out=``, a new folder, the answer is written there as Parquet.
    """
    asked = signature(verb)

    @wraps(verb)
    def answer(self: Any, frame: Any, *args: Any, out: Any = None, **options: Any) -> Any:
        home = home_of(frame)
        if out is not None and verb.__name__ == "evaluate":
            raise DataError("evaluate gives a small frame at once: leave out= away")
        if home is None and out is not None:
            raise DataError(
                "out= writes answers for folders of Parquet, lazy frames and engines; the answer "
                "for a frame in memory is one: leave it out"
            )
        if home is None:
            return verb(self, frame, *args, **options)
        given = asked.bind(self, frame, *args, **options)
        given.apply_defaults()
        _, _, *names = given.arguments
        job = Job.of(self, verb.__name__, {name: given.arguments[name] for name in names})
        found = home.run(*by_cutoff(job, frame, home))
        if job.verb == "evaluate":
            return pd.DataFrame(job.merge(home.collect(found)))
        return found if out is None else home.write(found, str(out))

    if verb.__name__ != "evaluate":
        new = Parameter("out", Parameter.KEYWORD_ONLY, default=None, annotation="str | Path | None")
        shown = asked.replace(parameters=[*asked.parameters.values(), new])
        answer.__signature__ = shown  # type: ignore[attr-defined]
    return answer  # type: ignore[return-value]
