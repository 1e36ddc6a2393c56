"""Edits of saved forecasters that attackers and newer versions make, and what a refusal names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hierforecast.io.folders import _checksums
from hierforecast.storage import OPTIONS


def edit(folder: Path, change: Any, *, checksums: bool = True) -> None:
    """Change a document as an attacker or a newer version would: its checksums fit."""
    file = folder / OPTIONS
    document = json.loads(file.read_text())
    change(document)
    if checksums:
        document["sha256"] = _checksums(document)
    file.write_text(json.dumps(document))


def set_in(*path: Any) -> Any:
    """A change that sets one entry; the last of the arguments is the value."""
    *above, key, value = path

    def change(document: Any) -> None:
        for name in above:
            document = document[name]
        document[key] = value

    return change


HOSTILE = {
    "width": (set_in("model", "options", "width", 10**9), "'model'"),
    "a wider network than the weights": (set_in("model", "options", "width", 2**14), "'model'"),
    "depth": (set_in("model", "options", "depth", 10**7), "'model'"),
    "depth, negative": (set_in("model", "options", "depth", -1), "'model'"),
    "heads": (set_in("model", "options", "heads", 0), "'model'"),
    "width, a text": (set_in("model", "options", "width", "8"), "'model'"),
    "waves": (set_in("model", "options", "waves", 10**9), "'model'"),
    "head": (set_in("model", "options", "head", {"name": "x"}), "'model'"),
    "rank": (
        set_in("model", "options", "head", {"name": "lowrank", "options": {"rank": 10**9}}),
        "'model'",
    ),
    "newer option": (set_in("model", "options", "gates", 3), "'gates'"),
    "class": (set_in("model", "class", ["HiPerformer"]), "'model'"),
    "model": (set_in("model", []), "'model'"),
    "context of the task": (set_in("task", "context_length", 12), "context_length=12"),
    "context": (set_in("options", "context_length", 12), "context_length=11"),
    "context, negative": (set_in("options", "context_length", -12), "context_length"),
    "horizon": (set_in("task", "prediction_length", 10**12), "prediction_length"),
    "targets": (set_in("task", "n_targets", 3), "n_targets=3"),
    "types": (set_in("task", "n_types", 10**9), "n_types"),
    "categories of the task": (set_in("task", "static", [None, 10**9]), "static"),
    "levels": (set_in("task", "n_levels", 10**9), "n_levels"),
    "task": (set_in("task", "colour", 3), "colour"),
    "option": (set_in("options", "gates", 3), "'gates'"),
    "learning rate": (set_in("options", "learning_rate", {}), None),
    "columns": (set_in("columns", "colour", "c"), "'colour'"),
    "columns, nothing": (set_in("columns", None), "'columns'"),
    "target": (set_in("columns", "target", [3]), "'columns'"),
    "vocabulary": (set_in("vocabulary", "covariates", [{}]), "'vocabulary'"),
    "vocabulary, a number": (set_in("vocabulary", "types", 3), "'vocabulary'"),
    "units": (set_in("vocabulary", "targets", [{"offset": "0", "unit": 1.0}] * 2), "offset='0'"),
    "units, too few": (set_in("vocabulary", "targets", [{}]), "units of 1 targets"),
    "unit of zero": (set_in("vocabulary", "targets", [{"unit": 0.0}] * 2), "not above zero"),
    "unit, endless": (set_in("vocabulary", "targets", [{"unit": float("inf")}] * 2), "unit=inf"),
    "labels": (set_in("vocabulary", "types", [{}, []]), "types="),
    "categories": (set_in("vocabulary", "covariates", 1, "categories", [{}, []]), "categories="),
    "covariates of other columns": (set_in("columns", "static", []), "'vocabulary'"),
    "types, true": (set_in("task", "n_targets", True), "n_targets=True"),
    "step": (set_in("step", "weekly"), "'step'"),
    "dtype": (set_in("dtype", "float8_e5m2"), "'dtype'"),
    "dtype, wrong": (set_in("dtype", "float64"), "float32"),
    "dtype, code": (set_in("dtype", "load"), "'dtype'"),
    "trainer": (set_in("trainer", [1]), "'trainer'"),
    "trainer, ours": (set_in("trainer", {"max_steps": 5}), "max_steps"),
    "weights": (set_in("weights", "file", "../../a"), "'weights'"),
    "weights, a number": (set_in("weights", 3), "'weights'"),
    "weights, absolute": (set_in("weights", "file", "/etc/passwd"), "'weights'"),
    "format, true": (set_in("format", True), "format True"),
}
