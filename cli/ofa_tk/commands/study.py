"""`ofa-tk study`: recipes compared over seeds, and the figures of a training run."""

from __future__ import annotations

import click

from ofa_tk.commands.study_commands import figures, runs


@click.group()
def command() -> None:
    """Compare recipes over seeds; draw figures of training."""


for _subcommand in (
    runs.run_command,
    runs.status_command,
    runs.report_command,
    runs.measure_command,
    figures.initialization,
    figures.gradients,
    figures.curves,
    figures.gradient_curves,
):
    command.add_command(_subcommand)
