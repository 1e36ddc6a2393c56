"""What a benchmark is: arms, the measure of one of them, and tables of all that was found.

A module of `benchmarks/` names its declarations in `EXPERIMENTS`; ``python -m benchmarks`` lists
and runs them. Each run of an arm under a seed is kept as a file in the folder and not done again.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from pkgutil import iter_modules
from time import process_time
from typing import Any, NamedTuple

import pandas as pd
import torch

from benchmarks._kept import kept_file, once, spend
from benchmarks.timing import steady


class OptionError(ValueError):
    """An option or arm is not declared, or an option is not that of the folder's runs."""


Options = argparse.Namespace
Found = dict[tuple[str, int], Any]
Table = Callable[[Found], pd.DataFrame]
SETTINGS = "options.json"


class Section(NamedTuple):
    """One table of a page.

    Args:
        key: its name, in the markers around it.
        title: its heading.
        table: rows by name.
        note: what a reader must know.
    """

    key: str
    title: str
    table: pd.DataFrame
    note: str = ""


@dataclass(frozen=True)
class Experiment:
    """A declaration: what is measured, under which options, and where its tables stand.

    Args:
        title: one line for the list.
        page: of its tables, a file in `benchmarks/results` without suffix.
        keys: of its sections; ``*`` stands for what the options decide.
        measure: an arm's name and the options, with the run's ``seed`` -> what is kept: a frame
            (CSV) or plain values (JSON). None keeps nothing: the run was only prepared.
        sections: all that is kept, by arm and seed, and the options -> the tables.
        arms: names; or the options -> names.
        seeds: that are run by default.
        options: names and defaults of what shapes a run; the folder holds runs of one choice only.
        beside: names and defaults of options that change no kept result.
        needs: arms without which there are no tables yet.
    """

    title: str
    page: str
    keys: Sequence[str]
    measure: Callable[[str, Options], Any]
    sections: Callable[[Found, Options], Iterable[Section]]
    arms: Sequence[str] | Callable[[Options], Sequence[str]] = ("all",)
    seeds: Sequence[int] = (0,)
    options: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)
    needs: Sequence[str] = ()

    def given(self, folder: str | Path = "runs/x", **changes: Any) -> Options:
        """The options of one call.

        Raises:
            OptionError: for an option that is not declared.
        """
        defaults = {**self.options, **self.beside, "seeds": self.seeds, "seed": self.seeds[0]}
        if unknown := set(changes) - set(defaults):
            there = ", ".join({**self.options, **self.beside}) or "none"
            raise OptionError(f"no such option: {', '.join(sorted(unknown))}; there are {there}")
        return Options(folder=Path(folder), **{**defaults, **changes})

    def declares(self, key: str) -> bool:
        """Whether a section of this key is one of the experiment's."""
        return any(fnmatch(key, pattern) for pattern in self.keys)

    def names(self, given: Options) -> list[str]:
        """The arms under some options."""
        return list(self.arms(given) if callable(self.arms) else self.arms)

    def run(self, given: Options, arms: Sequence[str] = (), jobs: int = 1) -> Found:
        """Do what is not done yet, and read all that is kept.

        Args:
            given: the options, ``seeds`` among them.
            arms: to run, by name or pattern; none stands for all.
            jobs: processes at a time.

        Raises:
            OptionError: if the folder holds runs of other options, or for an unknown arm.
        """
        names = self.names(given)
        chosen = [n for n in names if not arms or any(n == a or fnmatch(n, a) for a in arms)]
        if not chosen:
            raise OptionError(f"no such arm: {', '.join(arms)}; there are {', '.join(names)}")
        self._settle(given)
        missing = [
            (name, Options(**{**vars(given), "seed": seed}))
            for seed in given.seeds
            for name in chosen
            if kept_file(stem(name, given, seed)) is None
        ]
        if jobs > 1:
            # Fresh processes: a forked one cannot use a GPU.
            with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,)) as p:
                waiting = [p.submit(_keep, self.measure, *job) for job in missing]
                for done in as_completed(waiting):
                    done.result()
        else:
            for job in missing:
                _keep(self.measure, *job)
        return self.found(given)

    def found(self, given: Options) -> Found:
        """All runs that the folder keeps, in the order of the arms, those of earlier calls too."""
        there = {}
        for name in self.names(given):
            of_arm = re.compile(re.escape(stem(name, given, 0).name[:-1]) + r"(\d+)\.(csv|json)")
            matches = (of_arm.fullmatch(path.name) for path in given.folder.iterdir())
            for seed in sorted(int(match[1]) for match in matches if match):
                there[name, seed] = once(stem(name, given, seed), lambda: None)
        return there

    def tables(self, found: Found, given: Options) -> list[Section]:
        """The sections of all that is kept; none while something that they need is missing."""
        if missing := set(self.needs) - {name for name, seed in found if seed == given.seed}:
            print(f"no tables yet: without {', '.join(sorted(missing))}")
        return [] if missing or not found else list(self.sections(found, given))

    def _settle(self, given: Options) -> None:
        """Note the options in the folder, or hold them against those of its runs."""
        now = json.loads(json.dumps({name: getattr(given, name) for name in self.options}))
        path = given.folder / SETTINGS
        if path.exists() and (then := json.loads(path.read_text())) != now:
            other = {key: value for key, value in then.items() if now.get(key) != value}
            raise OptionError(
                f"{given.folder} holds runs of other options ({other}): give another --folder"
            )
        given.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(now))


def one_table(
    key: str, page: str, title: str, measure: Callable[..., pd.DataFrame], note: str, **options: Any
) -> Experiment:
    """An experiment of a single run, a whole table of cells; the machine is held steady for it.

    Args:
        key, page, title, note: as of `rows_of`.
        measure: the options by name -> the table.
        **options: and their defaults.
    """

    def table(found: Found) -> pd.DataFrame:
        return pd.DataFrame.from_dict([*found.values()][-1], orient="index")

    run = partial(_steadily, measure, tuple(options))
    return rows_of(key, page, title, run, note, table=table, arms=("all",), options=options)


def rows_of(
    key: str,
    page: str,
    heading: str,
    measure: Callable[[str, Options], Any],
    note: str | Callable[[Found, Options], str] = "",
    facts: Sequence[str] = (),
    table: Table | None = None,
    **more: Any,
) -> Experiment:
    """An experiment of one table, by default with the arms as its rows.

    Args:
        key, heading: of the section, in which ``{name}`` stands for an option.
        page, measure: see `Experiment`.
        note: the text under the table, in which ``{name}`` stands for an option, ``{seeds}`` for
            the seeds and ``{runs}`` for their number; or all that is kept and the options -> it.
        facts: further arms, that only the note tells of.
        table: all that is kept of the other arms -> the table; `cells` by default.
        **more: of `Experiment`; `title` is the heading if it is not among them.
    """
    arms, made, title = more.pop("arms"), table or cells, more.pop("title", heading)

    def sections(found: Found, given: Options) -> list[Section]:
        rows = {arm: kept for arm, kept in found.items() if arm[0] not in facts}
        listed = {"seeds": ", ".join(map(str, given.seeds)), "runs": len({s for _, s in found})}
        words = {**vars(given), **listed}
        text = note.format(**words) if isinstance(note, str) else note(found, given)
        return [Section(key.format(**words), heading.format(**words), made(rows), text)]

    def names(given: Options) -> list[str]:
        return [*(arms(given) if callable(arms) else arms), *facts]

    keys = (re.sub(r"\{\w+\}", "*", key),)
    return Experiment(title, page, keys, measure, sections, names, needs=facts, **more)


def _steadily(
    measure: Callable[..., pd.DataFrame], options: Sequence[str], name: str, given: Options
) -> dict[str, Any]:
    """The measure of `one_table`: rows of cells."""
    steady()
    torch.manual_seed(given.seed)
    return measure(**{name: getattr(given, name) for name in options}).to_dict("index")


def cells(found: Found) -> pd.DataFrame:
    """Rows of a table from runs of one seed each, that keep the cells of their row."""
    rows = {name: row for (name, _), row in found.items()}
    columns = [*max(rows.values(), key=len)]
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).fillna("-")


def averaged(
    titles: Mapping[str, str] | None = None, digits: int | Callable[[str], int] = 3
) -> Table:
    """What makes a table of kept numbers: a row an arm, mean and deviation over its seeds.

    Args:
        titles: of the columns, by the names under which numbers are kept; None stands for all.
        digits: of the figures, or the title of a column -> those of its figures.
    """

    def table(found: Found) -> pd.DataFrame:
        rows = {}
        for arm in dict.fromkeys(name for name, _ in found):
            runs = pd.DataFrame([kept for (name, _), kept in found.items() if name == arm])
            columns = titles or dict(zip(runs, runs, strict=True))
            rows[arm] = {
                title: spread(runs[name], digits(title) if callable(digits) else digits)
                for name, title in columns.items()
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    return table


def tidy(found: Found) -> pd.DataFrame:
    """Frames of all runs in one, with arm and seed of each row where it has none."""
    runs = ({"arm": name, "seed": seed} | dict(frame) for (name, seed), frame in found.items())
    return pd.concat(map(pd.DataFrame, runs), ignore_index=True)


def spread(values: pd.Series, digits: int = 3, mark: str = " ± ") -> str:
    """Mean over seeds, and the deviation if there are several; a dash if there is none."""
    if not len(values):
        return "-"
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) < 2 else f"{mean}{mark}{values.std():.{digits}f}"


def experiments() -> dict[str, Experiment]:
    """Every declaration by name, from the `EXPERIMENTS` of each module of this folder."""
    found: dict[str, Experiment] = {}
    for module in iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_") and not module.ispkg:
            found |= getattr(import_module(f"benchmarks.{module.name}"), "EXPERIMENTS", {})
    return dict(sorted(found.items()))


def stem(name: str, given: Options, seed: int | None = None) -> Path:
    """The file of a run without its suffix."""
    slug = re.sub(r"[^\w(),%+.=-]", "_", name)
    return given.folder / f"{slug}-{given.seed if seed is None else seed}"


def _keep(measure: Callable[[str, Options], Any], name: str, given: Options) -> None:
    """Measure an arm and keep what was found, whole or not at all."""
    begun = process_time()
    found = once(stem(name, given), lambda: measure(name, given))
    seconds, done = process_time() - begun, "prepared" if found is None else "kept"
    spend(given.folder, seconds, arm=name, seed=given.seed)
    print(f"{name}, seed {given.seed}: {done} after {seconds:.0f} s of a processor", flush=True)
