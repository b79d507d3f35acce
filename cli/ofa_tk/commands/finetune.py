"""`ofa-tk finetune`: adapt one subnet to a user's images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.commands.train import print_costs
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.pipelines.training.request import FinetuneRequest

if TYPE_CHECKING:
    from ofa_toolkit.training.run_folder import Resume


@click.command()
@request_options(FinetuneRequest)
@options.offline_option
@options.resume_option
@options.json_option
def command(request: FinetuneRequest, resume: Resume, as_json: bool) -> None:
    """Train one subnet on your images, from a supernet's weights. Your classes get their own classifier."""
    from ofa_toolkit.evaluation.sampling import accuracy_text
    from ofa_toolkit.pipelines.export.searched_target import export_file_command
    from ofa_toolkit.pipelines.training.finetune import finetune

    with TerminalReporter() as reporter:
        result, path = finetune(request, resume=resume, reporter=reporter)
    if as_json:
        output.print_json({**vars(result), "subnet": path})
    else:
        top1 = accuracy_text(result.accuracies["subnet"], result.num_validation_images)
        output.print_fields({"validation top-1 %": top1, "subnet": path})
        print_costs([result.total_cost])
    output.next_step(export_file_command(path, "--data", request.data))
