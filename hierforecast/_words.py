"""Messages in options: what Python calls ``Columns(scene=...)`` is ``--scene`` to who typed it."""

from __future__ import annotations

import re
import shlex
from ast import literal_eval

# Arguments whose option is not their own name with dashes.
RENAMED = {
    "past_covariates": "past",
    "known_covariates": "known",
    "context_length": "context",
    "prediction_length": "horizon",
    "max_steps": "steps",
    "n_samples": "samples",
    "quantiles": "quantile",
    "n": "samples",
}
# Arguments that messages may speak of: they are options too.
ARGUMENTS = (
    *RENAMED, "batch_size", "learning_rate", "seed", "stride", "level", "known", "given",
    "n_windows", "start", "refit", "sep", "decimal", "thousands", "encoding", "date_format", "zone",
    "time_step", "names", "file_column", "fill", "freq", "how", "calendar",
    "holidays",
)  # fmt: skip
PHRASES = {
    "group=None": "no --group",
    "with resume=False": "without --resume",
    "as trainer={'default_root_dir': ...}": "as --checkpoints",
    " in Columns(...)": "",
    "nothing in Columns uses it": "no column uses it",
}
VALUE = r"(?:'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\.\.\.|[^\s,;:()]+)"
CALL = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
CODE = rf"\b(?:frame|pd|pl|pc|pa)\b(?: = |\[[^\]]*\]|{CALL}|[^\s,;\[\]()])*"


def as_options(message: str) -> str:
    """A message in options: ``Columns(scene=...)`` is ``--scene``, and code that helps goes."""
    message = re.sub(rf",? e\.g\. {CODE}", "", message)
    message = re.sub(rf"\bresample{CALL}", "'hierforecast resample'", message)
    for python, typed in PHRASES.items():
        message = message.replace(python, typed)
    message = re.sub(rf"Columns\((?P<name>\w+)=(?P<value>{VALUE})\)", _as_option, message)
    # "known" and "level" are words too, so those without an underscore need their "=".
    bare = "|".join(name for name in ARGUMENTS if "_" in name)
    given = rf"(?P<name>{'|'.join(ARGUMENTS)})=(?P<value>{VALUE})?|(?P<bare>{bare})(?![\w(=])"
    return re.sub(rf"(?<![-\w.'\"/])(?:{given})", _as_option, message)


def _as_option(found: re.Match[str]) -> str:
    parts = found.groupdict()
    option, value = flag(parts["name"] or parts["bare"]), parts["value"]
    if value is None or "..." in value or value == "None":
        return option
    try:
        plain = literal_eval(value)
    except (SyntaxError, ValueError):
        plain = value
    values = plain if isinstance(plain, list) else [plain]
    return " ".join(f"{option}={shlex.quote(str(one))}" for one in values)


def flag(name: str) -> str:
    """The option of an argument, or of a role of `Columns`."""
    return "--" + RENAMED.get(name, name).replace("_", "-")
