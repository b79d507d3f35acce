"""What is exported, and in which form: found, completed and refused before any work starts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from torch import nn

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.export.ends import Ends, ends_for, factors
from ofa_toolkit.export.exporter import FileForm
from ofa_toolkit.export.target_devices import Target, resolve_target
from ofa_toolkit.pipelines.export.given_network import EXPORTABLE, given_network
from ofa_toolkit.pipelines.export.network import ExportNetwork
from ofa_toolkit.pipelines.export.options import ExportOptions
from ofa_toolkit.pipelines.export.searched_target import searched_precision, searched_target
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import SubnetFile, SubnetLike, subnet_file
from ofa_toolkit.zoo.opening import open_subnet
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike, load_supernet


@dataclass(frozen=True)
class ExportRequest(ExportOptions):
    """A network, and how it is exported."""

    subnet: SubnetLike | tuple[SupernetLike, SubnetLike] | nn.Module | None = None
    """A found subnet, its file, a file of the once-for-all repositories, a supernet and a subnet, or a
    network as `LoadedSupernet.extract` gave it, also trained since; None for the only subnet of `supernet`,
    or for `./subnet.json`."""
    onnx_file: str | Path | None = None
    "File to write; nothing is written until every check has passed."
    _: KW_ONLY
    supernet: SupernetLike | None = None
    "Name or folder of the supernet; the one searched where None."
    options: ExportOptions | None = None
    "Values of the other parameters, where they are not given."
    reporter: Reporter = SILENT
    "Hears what is being done."

    def chosen(self) -> ExportOptions:
        """The options, those of `options` among them."""
        usual = ExportOptions()
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(usual)
            if getattr(self, field.name) != getattr(usual, field.name)
        }
        return dataclasses.replace(self.options or usual, **given)


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """A subnet, and the form of its file.

    Attributes:
        source: The supernet that holds the weights.
        described: The subnet and its predictions.
        given: The network itself, where it was trained in Python since it was cut out; else None.
        options: All options.
        form: Target, precision and batch size of the file.
        ends: Input and output of the file.
    """

    source: LoadedSupernet
    described: SubnetFile
    given: ExportNetwork | None
    options: ExportOptions
    form: FileForm
    ends: Ends

    @property
    def runtime(self) -> str:
        """Software that will execute the file."""
        return self.options.runtime or self.form.target.generation.runtime


def plan_export(request: ExportRequest) -> ExportPlan:
    """Find what is exported, and refuse before the work starts what can be refused then."""
    given: ExportNetwork | None = None
    options, subnet = request.chosen(), request.subnet
    if isinstance(options.target, str):  # A mistake in it is told before anything is fetched.
        options = dataclasses.replace(options, target=resolve_target(options.target, options.tables))
    if isinstance(subnet, nn.Module):
        known_as = given_network(subnet, options)
        given, options, subnet = known_as.network, known_as.options, (known_as.supernet, known_as.found)
    if isinstance(subnet, Subnet) and request.supernet is not None:
        subnet = (request.supernet, subnet)
    if isinstance(subnet, tuple):
        source = load_supernet(subnet[0])
        described = subnet_file(subnet[1], source.space, resolution=options.resolution)
    elif subnet is None or isinstance(subnet, str | os.PathLike | Mapping | SubnetFile):
        known = getattr(subnet, "source", None) if request.supernet is None else request.supernet
        described, source = open_subnet(subnet, known, options.resolution)
    else:
        raise ExportError(f"A '{type(subnet).__name__}' cannot be exported: {EXPORTABLE}.")
    named = options.target or searched_target(described.predicted)
    target = named if isinstance(named, Target) else resolve_target(named, options.tables)
    precision = options.precision or searched_precision(described.predicted, target)
    gives_maps = options.output == "features"
    form = FileForm(target=target, precision=precision, batch_size=options.batch_size, gives_maps=gives_maps)
    if options.precision is None and precision != "fp32":
        told = f"Precision {precision}, which the latency on {target.name} was predicted for"
        request.reporter.message(told)
    check_options(form, has_data=options.data is not None)
    if options.engine:
        check_runs_tensorrt(target)
    ends = ends_for(
        target, source.space.num_classes, pixels=options.pixels, layout=options.layout, output=options.output
    )
    if options.engine:
        check_engine_output(ends)
    if ends.takes_pixels:
        factors(source.preprocessing or {})
    return ExportPlan(source=source, described=described, given=given, options=options, form=form, ends=ends)


def check_options(form: FileForm, *, has_data: bool) -> None:
    """Raise `ExportError` for what cannot be written, before any work."""
    target = form.target
    target.check_precision(form.precision)
    if form.batch_size is None and not target.takes_dynamic_batch:
        raise ExportError(
            f"Engines for {target.name} need a fixed batch size.",
            hint="Use --batch-size N, not --dynamic-batch.",
        )
    if form.precision == "int8" and not has_data:
        raise ExportError(
            "int8 needs real images, to find the range of every activation and to judge what it costs.",
            hint="--data SOURCE, such as imagefolder:DIR",
        )
    if form.precision == "int8" and form.gives_maps:
        raise ExportError(
            "int8 is judged by the accuracy it costs, which maps without a classifier do not tell.",
            hint="--precision fp16, and quantise the whole detector",
        )


def check_engine_output(ends: Ends) -> None:
    """Raise `ExportError` for an engine whose outputs its check cannot judge."""
    if ends.output == "topk":
        raise ExportError(
            "An engine is checked by one value a class, which topk does not give.",
            hint="--output probabilities",
        )
    if ends.gives_maps:
        raise ExportError(
            "An engine is checked by one value a class, which maps without a classifier do not give.",
            hint="Write the file with --onnx; trtexec --onnx=FILE builds the engine.",
        )


def check_runs_tensorrt(target: Target) -> None:
    """Raise `ExportError` where no engine can be built for a target."""
    if not target.generation.software.builds_engines:
        raise ExportError(
            f"{target.name} does not run TensorRT.",
            hint="--target DEVICE, or a generation such as tensorrt-8.6",
        )
