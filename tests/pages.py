"""Pages whose code is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import hierforecast
from hierforecast.image_ssl import training


def blocks(text: str, language: str) -> list[str]:
    """The blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few training steps, whatever the code asks for."""

    def shortened(verb: Any) -> Any:
        def short(self: Any, *args: Any, **options: Any) -> Any:
            return verb(self.set_params(max_steps=2, batch_size=4), *args, **options)

        return short

    for name in ("fit", "pretrain"):
        verb = getattr(hierforecast.Forecaster, name)
        monkeypatch.setattr(hierforecast.Forecaster, name, shortened(verb))
    usual = training.over_defaults
    monkeypatch.setattr(
        training,
        "over_defaults",
        lambda options, saver, steps, name: usual(options, saver, 2, name),
    )


def run(page: Path, names: dict[str, Any]) -> dict[str, Any]:
    """Run every block of Python of a page, one after the other; what they leave."""
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        exec(compile(block, page.name, "exec"), names)
    return names
