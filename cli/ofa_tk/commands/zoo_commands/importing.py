"""`ofa-tk zoo import`: checkpoints and networks of others as supernet folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.request_options import request_options
from ofa_toolkit.pipelines.zoo.request import ImportRequest

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.zoo.importing import Imported
    from ofa_toolkit.spaces import SearchSpace


@click.command("import")
@request_options(ImportRequest)
@options.json_option
def command(request: ImportRequest, as_json: bool) -> None:
    """Make a supernet folder of a checkpoint, or of a network's net.config and init.

    Checkpoints of the once-for-all repositories and of other training programs are read, and safetensors
    files; no code in them is run. Where only part of the space was trained, say which: the search offers
    nothing else.
    """
    from ofa_toolkit.pipelines.search.suggestion import next_command
    from ofa_toolkit.pipelines.zoo.importing import import_supernet
    from ofa_toolkit.zoo.supernet import load_supernet

    made = import_supernet(request)
    if as_json:
        from ofa_toolkit.spaces.space_file import space_document

        output.print_json(
            {
                "folder": made.folder,
                "space": space_document(made.space),
                "trained_space": space_document(made.trained_space),
                "use_kernel_transforms": made.use_kernel_transforms,
                "member_of": made.member_of,
                "loaded": made.loaded,
                "left_out": made.left_out,
                "notes": made.notes,
            }
        )
    else:
        output.print_fields(_fields(made))
    for note in made.notes:
        output.note(note)
    output.next_step(next_command(load_supernet(made.folder)))


def _fields(made: Imported) -> dict[str, object]:
    trained, is_single = made.trained_space, made.space.has_one_subnet
    fields: dict[str, object] = {
        "single network" if is_single else "supernet": made.folder,
        "loaded": made.loaded,
        "left out": "; ".join(made.left_out) or "nothing",
        "classes": made.space.num_classes,
        "resolutions": ", ".join(map(str, made.space.resolutions)),
    }
    if is_single:
        fields["space"] = f"its own; a subnet of {made.member_of}" if made.member_of else "its own"
        return fields
    return fields | {
        "space": made.space.name,
        "kernel matrices": "yes" if made.use_kernel_transforms else "no",
        "trained kernel sizes": _choices(trained, "kernel_sizes"),
        "trained depths": _choices(trained, "depths"),
        "trained expand ratios": _choices(trained, "expand_ratios"),
    }


def _choices(space: SearchSpace, name: str) -> str:
    values = sorted({value for stage in space.stages for value in getattr(stage, name)})
    return ", ".join(f"{value:g}" for value in values)
