"""The image room's commands: ``hierforecast ssl pretrain | evaluate | show``.

`pretraining` trains and saves, `evaluating` scores what was saved by the `tasks`; `task` says which
features a saved network has, and `output` how tables and pictures leave.
"""

from __future__ import annotations

import typer

from hierforecast.image_ssl.cli import evaluating, pretraining

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
for command in (pretraining.pretrain, evaluating.evaluate, evaluating.show):
    app.command()(command)
