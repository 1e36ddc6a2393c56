"""The image room's commands: ``hierforecast ssl pretrain | probe | transformations | ...``.

`pretraining` trains and saves, `judging` holds the commands that judge what was saved; `backbones`
says which features a saved network has, and `output` how tables and pictures leave.
"""

from __future__ import annotations

import typer

from hierforecast.image_ssl.cli import judging, pretraining

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
for command in (
    pretraining.pretrain,
    judging.probe,
    judging.transformations,
    judging.poses,
    judging.retrieve,
    judging.segment,
    judging.show,
):
    app.command()(command)
