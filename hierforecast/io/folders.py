"""A folder with weights as safetensors and everything else as JSON; reading it runs no code.

The weights are named after their content. The JSON names them, with their size and SHA-256, and
holds a SHA-256 of each of its own entries. Saving writes the weights, then replaces the JSON in one
step, then removes the weights that it names no longer: a reader finds one save or the next, whole,
and a killed save leaves the one before. Where folders cannot be locked (Windows) old weights stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import save
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.io.atomic import LEFTOVER, only_writer, write_atomically
from hierforecast.io.limits import MIB, parse_json, read_file
from hierforecast.io.weights import fill, read_weights

FORMAT = 2
# Format 1 had no checksums, and weights of one name.
OLD_FORMAT, OLD_WEIGHTS = 1, "weights.safetensors"
WEIGHTS = re.compile(r"weights-[0-9a-f]{16}\.safetensors")
LARGEST_JSON = 64 * MIB

T = TypeVar("T")


def write_folder(
    path: Path,
    options: str,
    document: dict[str, Any],
    module: nn.Module,
    what: str,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a folder: a reader sees the old save or the new, never a half or a mixture.

    Args:
        path: of the folder; links are followed.
        options: name of the JSON file.
        document: its content.
        module: whose weights are kept.
        what: it is, for messages.
        beside: further tensors, by names that no module's weights have; kept with the weights.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
        TypeError: if JSON does not hold what `document` holds.
    """
    path = Path(os.path.realpath(path))
    check_place(path, options, what)
    tensors = {**module.state_dict(), **(beside or {})}
    weights = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    digest = hashlib.sha256(weights).hexdigest()
    name = f"weights-{digest[:16]}.safetensors"
    by = {package: version(package) for package in ("hierforecast", "torch")}
    entries = {
        "format": FORMAT,
        "saved_by": by,
        "weights": {"file": name, "sha256": digest, "size": len(weights)},
        **document,
    }
    entries = json.loads(json.dumps(entries))  # as a reader will see it
    text = json.dumps({**entries, "sha256": _checksums(entries)}, indent=2) + "\n"
    if len(text) > LARGEST_JSON:
        raise DataError(f"the options of this {what} have {len(text):,} bytes: more than is read")
    path.mkdir(parents=True, exist_ok=True)
    with only_writer(path) as certain:
        kept = {entry.name for entry in path.iterdir()}  # unless all goes well
        try:
            write_atomically(path / name, lambda stream: stream.write(weights))
            write_atomically(path / options, lambda stream: stream.write(text.encode()))
            kept = {options, name}
        finally:
            for entry in path.iterdir() if certain else ():
                if entry.name not in kept and _is_ours(entry, options):
                    with contextlib.suppress(OSError):  # the next save will try again
                        entry.unlink()


def check_place(path: Path, options: str, what: str) -> None:
    """Refuse a place where saving would remove anything but an earlier save.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir() or not all(_is_ours(entry, options) for entry in path.iterdir()):
        raise DataError(
            f"{path} holds something else than a saved {what}, which saving would remove: "
            "give a new folder, e.g. one inside it"
        )


def _is_ours(entry: Path, options: str) -> bool:
    """Whether a save wrote it, or began to."""
    name = entry.name
    ours = (
        name == options
        or WEIGHTS.fullmatch(name)
        or (name == OLD_WEIGHTS and entry.with_name(options).is_file())
        or (LEFTOVER.fullmatch(name) and name.startswith((f".{options}.", ".weights-")))
    )
    # A file may have gone since the folder was listed: another save cleans up.
    return bool(ours) and (entry.is_file() or not os.path.lexists(entry))


@dataclass(frozen=True)
class Saved:
    """What a folder holds. Its parts are checked one by one as they are built.

    Args:
        file: the JSON file.
        what: it describes, for messages.
        document: its content.
        weights: by name.
    """

    file: Path
    what: str
    document: dict[str, Any]
    weights: dict[str, Tensor]

    def part(self, key: str, make: Callable[[Any], T]) -> T:
        """What `make` builds of one entry.

        Raises:
            DataError: if the entry is missing, or `make` fails; it names the file and the key.
        """
        if key not in self.document:
            raise self.error(f"has no key {key!r}")
        try:
            return make(self.document[key])
        except Exception as error:  # an entry may hold anything
            reason = f"no {error}" if isinstance(error, KeyError) else str(error) or repr(error)
            raise self.error(f"has a key {key!r} that cannot be used ({reason})") from error

    def error(self, problem: str) -> DataError:
        """An error that names the file, the versions and the remedy."""
        by = self.document.get("saved_by")
        theirs = by.get("hierforecast") if isinstance(by, dict) else None
        here = version("hierforecast")
        remedy = f"save the {self.what} again"
        if theirs != here:
            remedy = f"load it with the version that saved it, or {remedy}"
        who = f"saved by hierforecast {theirs or 'of an earlier version'}, this is {here}"
        return DataError(f"'{self.file}' {problem} ({who}): {remedy}")

    def check(self) -> None:
        """Refuse a document that was changed after it was saved; format 1 cannot tell.

        Raises:
            DataError: then.
        """
        if self.document["format"] == OLD_FORMAT:
            return
        stated, found = self.document.get("sha256"), _checksums(self.document)
        stated = stated if isinstance(stated, dict) else {}
        for key in {**found, **stated}:
            if stated.get(key) != found.get(key):
                raise self.error(
                    f"was changed after it was saved: its key {key!r} does not fit its SHA-256"
                )

    def fill(self, build: Callable[[], nn.Module], keys: str, *, ours: bool = True) -> nn.Module:
        """A module with the saved weights in it; see `fill`.

        Args:
            build: makes the module, of the saved options.
            keys: what says how it is built, for messages.
            ours: whether the saved options decide how large it gets.
        """
        return fill(build, self.weights, self.error, keys, ours=ours)


def read_folder(path: Path, options: str, what: str) -> Saved:
    """What a folder holds, whole and of a format that is known.

    Raises:
        FileNotFoundError: if a file is missing.
        DataError: if one is damaged, or of another format; the message names it.
    """
    before = None
    while True:
        try:
            content = read_file(path / options, LARGEST_JSON)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(path, options) from error
        try:
            return _parse_folder(path / options, content, what)
        except FileNotFoundError:
            if content == before:
                raise
            before = content  # a save may have replaced JSON and weights in between: look again


def _missing(folder: Path, name: str) -> FileNotFoundError:
    if folder.is_file():
        return FileNotFoundError(f"'{folder}' is a file: give the folder that save() wrote")
    return FileNotFoundError(f"{folder} holds no {name}: is it a folder that save() wrote?")


def _parse_folder(file: Path, content: bytes, what: str) -> Saved:
    remedy = f"save the {what} again"
    document = parse_json(content, file, remedy)
    saved = Saved(file, what, document if isinstance(document, dict) else {}, {})
    found = saved.document.get("format")
    if found not in (OLD_FORMAT, FORMAT) or isinstance(found, (bool, float)):
        raise saved.error(f"has format {found!r}, this version reads {OLD_FORMAT} and {FORMAT}")
    listed = {"file": OLD_WEIGHTS} if found == OLD_FORMAT else document.get("weights")
    name = str(listed.get("file")) if isinstance(listed, dict) else ""
    if name != OLD_WEIGHTS and not WEIGHTS.fullmatch(name):
        raise saved.error(f"has a key 'weights' that names no file ({name!r})")
    try:
        weights = read_weights(file.parent / name, remedy, listed if found == FORMAT else None)
    except (FileNotFoundError, DataError) as error:
        saved.check()
        if isinstance(error, FileNotFoundError):
            raise _missing(file.parent, name) from error
        raise
    return replace(saved, weights=weights)


def _checksums(document: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of each entry, however it is laid out and ordered."""
    texts = {
        key: json.dumps(value, sort_keys=True, separators=(",", ":"))
        for key, value in document.items()
        if key != "sha256"
    }
    return {key: hashlib.sha256(text.encode()).hexdigest() for key, text in texts.items()}
