"""HiPerformer on the Hugging Face hub, by the hub's own mixin (the extra ``hub``).

>>> from hierforecast.hub import HiPerformer  # doctest: +SKIP
>>> HiPerformer.from_pretrained("someone/basketball")  # doctest: +SKIP

It is the same model, with `save_pretrained`, `from_pretrained` and `push_to_hub`. The hub holds
weights and options of the network; `Forecaster.save` holds the roles of columns too.
"""

from __future__ import annotations

from hierforecast import models
from hierforecast.errors import import_extra
from hierforecast.task import Task

import_extra("huggingface_hub", "hub", "to exchange models with the Hugging Face hub")

from huggingface_hub import PyTorchModelHubMixin  # noqa: E402 (after the check)


class HiPerformer(
    PyTorchModelHubMixin,
    models.HiPerformer,
    library_name="hierforecast",
    license="apache-2.0",
    paper_url="https://arxiv.org/abs/2305.08073",
    tags=["time-series-forecasting", "equivariance"],
    coders={Task: (Task.to_dict, Task.from_dict)},
):
    """`hierforecast.HiPerformer` that can go to and from the hub; heads go by their names only."""
