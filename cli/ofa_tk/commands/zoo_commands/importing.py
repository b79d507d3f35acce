"""`ofa-tk zoo import`: checkpoints and networks of others as supernet folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ofa_tk import options, output

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.zoo.importing import Imported
    from ofa_toolkit.spaces import SearchSpace


class _Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers separated by commas."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Split and read them."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self._kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is no list of numbers, such as 3,5.", param, ctx)


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE|DIR")
@options.space_option("The supernet's search space; a network needs none.")
@click.option("--kernel-sizes", type=_Numbers(int), default=(), metavar="K,K", help="Those trained; 7 alone.")
@click.option("--depths", type=_Numbers(int), default=(), metavar="D,D", help="Those trained.")
@click.option("--expand-ratios", type=_Numbers(float), default=(), metavar="E,E", help="Those trained.")
@click.option(
    "--resolutions",
    type=_Numbers(int),
    default=(),
    metavar="R,R",
    help="Input sizes trained, in place of the space's; of a network its own.",
)
@click.option(
    "--weights", metavar="KEY", help="Which weights, where a file holds several, such as state_dict_ema."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The supernet folder to write.",
)
@options.force_option
@options.json_option
def command(
    source: Path,
    space: str | None,
    kernel_sizes: tuple[int, ...],
    depths: tuple[int, ...],
    expand_ratios: tuple[float, ...],
    resolutions: tuple[int, ...],
    weights: str | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Make a supernet folder of a checkpoint, or of a network's net.config and init.

    Checkpoints of the once-for-all repositories and of other training programs are read, and safetensors
    files; no code in them is run. Where only part of the space was trained, say which: the search offers
    nothing else.
    """
    from ofa_toolkit.pipelines.search.suggestion import next_command
    from ofa_toolkit.pipelines.zoo.importing import ImportRequest, import_supernet
    from ofa_toolkit.zoo.supernet import load_supernet

    made = import_supernet(
        ImportRequest(
            source=source,
            out=out,
            space=space,
            kernel_sizes=kernel_sizes,
            depths=depths,
            expand_ratios=expand_ratios,
            resolutions=resolutions,
            weights=weights,
            force=force,
        )
    )
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
