"""What the command lines of all rooms share: options, one-line errors, commands imported late."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, TypeAlias, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from hierforecast._words import as_options
from hierforecast.errors import DataError, MissingExtraError, NotFittedError

Names: TypeAlias = list[str] | None
KINDS = {bool: "true or false", int: "a whole number"}


class Commands(TyperGroup):
    """Commands whose expected errors are one line, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what the user can mend ends with exit code 2, Ctrl-C with 130."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except (ValueError, OSError, MissingExtraError, NotFittedError) as error:
            if ctx.params.get("traceback"):
                raise
            text = error.on_command_line() if isinstance(error, DataError) else str(error)
            say(f"error: {as_options(' '.join(text.split()))}")
            raise typer.Exit(2) from error
        except KeyboardInterrupt as stop:
            say(str(stop) or "interrupted")
            raise typer.Exit(130) from stop


class LateCommands(TyperGroup):
    """Commands of a module that is imported when one of them is called.

    Subclasses say which: its name in `module`, the typer application in it is called `app`.
    """

    module: str

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the module."""
        return self._imported().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of them, or None."""
        return self._imported().get_command(ctx, cmd_name)

    def _imported(self) -> TyperGroup:
        return typer.main.get_group(import_module(self.module).app)


def late(place: str) -> type[TyperCommand]:
    """A command whose module is imported when it is called.

    Args:
        place: ``module:function``.
    """

    class Late(TyperCommand):
        """Knows its name and its help alone; the context is that of the command itself."""

        def make_context(self, info_name: Any, args: Any, parent: Any = None, **more: Any) -> Any:
            """The context of the command, with its own options."""
            module, _, function = place.partition(":")
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(self.name)(getattr(import_module(module), function))
            return typer.main.get_command(alone).make_context(info_name, args, parent, **more)

    return Late


def option(name: str, text: str, *former: str, **more: Any) -> Any:
    """An option with its help; former names work too."""
    return typer.Option(name, *former, help=text, **more)


def declare(
    name: str,
    options: Mapping[str, Any] | type[Any],
    build: Callable[[dict[str, Any]], Any] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare options for a command, which takes what is built of them as one parameter.

    Args:
        name: the parameter of the command that stands for the options.
        options: a dataclass, whose fields have their annotations and defaults; or the annotations
            by name, and None is the default of all.
        build: from the options by name; None: an object of the dataclass.
    """
    hints: Mapping[str, Any] = options if isinstance(options, Mapping) else {}
    defaults = dict.fromkeys(hints)
    if isinstance(options, type):
        hints = get_type_hints(options, include_extras=True)
        defaults = {field.name: field.default for field in fields(options)}
    made = build or (lambda given: options(**given))  # type: ignore[operator]
    new = [
        Parameter(key, Parameter.KEYWORD_ONLY, default=default, annotation=hints[key])
        for key, default in defaults.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = signature(command, eval_str=True)

        @wraps(command)
        def run(**given: Any) -> None:
            built = made({key: given.pop(key) for key in defaults})
            command(**given, **{name: built})

        kept = [p for key, p in own.parameters.items() if key != name]
        kept = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in kept]
        run.__signature__ = own.replace(parameters=[*kept, *new])  # type: ignore[attr-defined]
        return run

    return decorate


def read_settings(given: Names, known: Mapping[str, Any]) -> dict[str, Any]:
    """``key=value`` texts as options; a value is JSON where it can be, else text.

    Args:
        given: the texts.
        known: the options, with their defaults.

    Raises:
        DataError: if a text has no ``=``, its key is not in `known`, or its value is no whole
            number, or not true or false, where the default is.
    """
    options: dict[str, Any] = {}
    for setting in given or []:
        key, equals, value = setting.partition("=")
        if not known:
            raise DataError(f"--set {setting}: there is nothing to set")
        if not equals or key not in known:
            raise DataError(f"--set {setting}: give KEY=VALUE with KEY of {', '.join(known)}")
        try:
            options[key] = json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            options[key] = value
        kind = type(known[key])
        if kind in KINDS and type(options[key]) is not kind:
            raise DataError(f"--set {setting}: {key} must be {KINDS[kind]}, e.g. {known[key]}")
    return options


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line, without the place in the code that it comes from."""
    say(f"warning: {' '.join(str(message).split())}")


def say(text: str) -> None:
    """Tell the user, on the error stream: the output may be a table on its way elsewhere."""
    typer.echo(text, err=True)
