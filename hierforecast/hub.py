"""HiPerformer on the Hugging Face hub, by the hub's own mixin (the extra ``hub``).

>>> from hierforecast.hub import HiPerformer  # doctest: +SKIP
>>> HiPerformer.from_pretrained("someone/basketball")  # doctest: +SKIP

It is the same model, with `save_pretrained`, `from_pretrained` and `push_to_hub`. The hub holds
weights and options of the network; `Forecaster.save` holds the roles of columns too.

Loading is strict: the mixin by itself fills in random weights for what a repository lacks, and
falls back to pickles.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from hierforecast import models
from hierforecast.errors import DataError, import_extra
from hierforecast.io.limits import MIB, parse_json, read_file
from hierforecast.io.weights import fill, read_weights
from hierforecast.models.former import current_options, current_weights
from hierforecast.task import Task

import_extra("huggingface_hub", "hub", "to exchange models with the Hugging Face hub")

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download  # noqa: E402 (after the check)
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError  # noqa: E402

OPTIONS, WEIGHTS = "config.json", "model.safetensors"
REMEDY = "save it again with save_pretrained or push_to_hub"


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

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> HiPerformer:
        """Load a model from the hub or a folder, whole or not at all, in evaluation mode.

        Args:
            pretrained_model_name_or_path: ``"user/name"``, or a folder of `save_pretrained`.
            **options: of the download (``revision``, ``token``, ``cache_dir``, ``force_download``,
                ``local_files_only``), ``map_location``, or options of the model that are to differ
                from the saved ones, such as ``dropout``.

        Raises:
            FileNotFoundError: if the options or the weights are missing.
            DataError: if one is damaged, the options name no task, or the two do not fit together.
        """
        names = ("revision", "token", "cache_dir", "force_download", "local_files_only")
        download = {name: options.pop(name) for name in names if name in options}
        place, device = str(pretrained_model_name_or_path), options.pop("map_location", "cpu")
        options.pop("strict", None)  # it always is
        file = _file(place, OPTIONS, download)
        config = parse_json(read_file(file, MIB), file, REMEDY)
        if not isinstance(config, dict) or not (options.get("task") or config.get("task")):
            raise DataError(
                f"'{file}' names no task, so there is no network to put weights in: build the "
                f"model with task=..., and {REMEDY}"
            )
        weights = current_weights(read_weights(_file(place, WEIGHTS, download), REMEDY))

        floats = (weight.dtype for weight in weights.values() if weight.is_floating_point())
        dtype = next(floats, torch.float32)

        def build() -> HiPerformer:
            return cls(**{**current_options(config), **options}).to(dtype)

        model: HiPerformer = fill(build, weights, lambda problem: _error(file, problem))
        return model.to(device)


def _file(place: str, name: str, download: dict[str, Any]) -> Path:
    """A file of a folder, or of a repository on the hub."""
    try:
        if not os.path.isdir(place):
            return Path(hf_hub_download(repo_id=place, filename=name, **download))
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):  # no network, which says nothing of the hub
            raise
        raise FileNotFoundError(f"'{place}' on the hub holds no {name}: {REMEDY}") from error
    if not os.path.lexists(Path(place, name)):
        raise FileNotFoundError(f"'{place}' holds no {name}: {REMEDY}")
    return Path(place, name)


def _error(file: Path, problem: str) -> DataError:
    return DataError(f"'{file}' {problem}: {REMEDY}")
