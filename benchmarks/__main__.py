"""List the benchmarks, or run one: ``python -m benchmarks [NAME] [--set key=value ...]``."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks._kept import spent
from benchmarks._results import write
from benchmarks.experiment import Experiment, OptionError, experiments


def value_of(name: str, text: str, default: Any) -> Any:
    """The value of an option, of the kind of its default; lists are written with commas.

    Raises:
        OptionError: if it is of another kind.
    """
    if isinstance(default, str) or (default is None and not text.replace(".", "").isdigit()):
        return text
    if isinstance(default, (tuple, list)):
        kind = default[0] if default else ""
        return [value_of(name, part, kind) for part in text.split(",")]
    value = ast.literal_eval(text.title() if isinstance(default, bool) else text)
    if isinstance(default, float) and isinstance(value, int):
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise OptionError(f"{name}={text} must be like {default!r}")
    return value


def changes(settings: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Options from ``key=value``.

    Raises:
        OptionError: for an option that is not declared, or a value of another kind.
    """
    found = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in defaults:
            there = ", ".join(f"{k}={v}" for k, v in defaults.items()) or "none"
            raise OptionError(f"no such option: {setting}; there are {there}")
        found[name] = value_of(name, text, defaults[name])
    return found


def listing(known: Mapping[str, Experiment]) -> str:
    """A line for each benchmark, and one for its options."""
    lines = []
    for name, one in known.items():
        lines.append(f"{name:24} {one.title}")
        options = " ".join(f"{key}={value}" for key, value in {**one.options, **one.beside}.items())
        lines += [f"{'':24} {options}"] if options else []
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", help="none: list them with their options")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", help="of the kept runs and fits [runs/NAME]")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--arms", nargs="+", default=[], help="run these only")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--write", action="store_true", help="put the tables into their page")
    given = parser.parse_args(arguments)
    known = experiments()
    if given.name is None:
        print(listing(known))
        return
    if given.name not in known:
        parser.error(f"no such benchmark: {given.name}; there are {', '.join(known)}")
    torch.set_num_threads(given.threads)
    one = known[given.name]
    try:
        options = changes(given.set, {**one.options, **one.beside})
        seeds = {"seeds": given.seeds, "seed": given.seeds[0]} if given.seeds else {}
        chosen = one.given(given.folder or f"runs/{given.name}", **options, **seeds)
        found = one.run(chosen, given.arms, given.jobs)
    except OptionError as error:
        parser.error(str(error))
    for section in one.tables(found, chosen):
        print(f"\n{section.title}\n{section.table.to_string()}\n{section.note}", flush=True)
        if given.write and one.declares(section.key):
            write(one.page, section, seconds=spent(chosen.folder))


if __name__ == "__main__":
    main()
