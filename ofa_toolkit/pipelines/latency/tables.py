"""What `ofa-tk latency` list, show, predict and calibrate do."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ofa_toolkit.core import resources, rng
from ofa_toolkit.core.errors import FileFormatError, LatencyTableError
from ofa_toolkit.latency.calibration import (
    Calibration,
    ExpectedError,
    Prior,
    calibrate,
    expected_errors,
    spread_probes,
)
from ofa_toolkit.latency.device import UNKNOWN, Device, Kind, Provenance
from ofa_toolkit.latency.device_names import find_device
from ofa_toolkit.latency.filing import device_folder, file_variant
from ofa_toolkit.latency.importing.measurements import Conditions
from ofa_toolkit.latency.importing.variant import Derivation, Origin, described_variant
from ofa_toolkit.latency.kit.probes_file import Probes, read_probes
from ofa_toolkit.latency.measuring.standard_networks import standard_network
from ofa_toolkit.latency.stated_error import StatedError
from ofa_toolkit.latency.table import (
    UNCALIBRATED,
    LatencyTable,
    list_devices,
    load_table,
    read_table,
)
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.pipelines.latency.request import CalibrationRequest, PredictionRequest
from ofa_toolkit.spaces import Encoding
from ofa_toolkit.spaces.official_files import network_file
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import open_space
from ofa_toolkit.spaces.subnet_file import SubnetFile, read_subnet

DEFAULT_KIND: Kind = "embedded-gpu"
_SIMULATED_PROBES = (5, 10, 20, 50)
_FILE_ENDINGS = (".json", ".config")
STANDARD_RESOLUTION = 224
"""Input side in pixels of a standard network where none is stated."""


@dataclass(frozen=True, kw_only=True)
class PredictedLatency:
    """One network on one variant of a device.

    Attributes:
        network: File of the subnet, or name of a standard network.
        resolution: Side of its input in pixels.
        device: `device:variant`.
        latency_ms: Time of a whole batch; None where the variant tells throughput alone.
        throughput_per_s: Images per second where the variant tells throughput alone, else None.
        upper_ms: What it exceeds with probability 1 - confidence; None where none was asked for or the
            variant is uncalibrated.
        interval_90_ms: Range of nine of ten networks unlike those of the fit; None where that is unknown.
        interval_90_per_s: The same of a throughput.
        interval: `calibrated` where bounds for this network are backed, else `uncalibrated`.
        provenance: Provenance of the table.
        error: The error of such networks on this device, or what is known beside it, short.
        is_checked: Whether that error was found on this device.
        mape_percent: Mean absolute error in percent, the worst that applies; None where it is unchecked.
        mape_of: Networks that the error is of, and what was held out.
        batch_size: Images per run.
        identity: Identity of the table.
        extrapolations: Respects in which the network lies outside what the table was fitted on.
        notes: Assumptions that were made, such as the resolution.
        warnings: Reservations to know before relying on it, a line each.
    """

    network: str
    resolution: int
    device: str
    latency_ms: float | None
    throughput_per_s: float | None
    upper_ms: float | None
    interval_90_ms: tuple[float, float] | None
    interval_90_per_s: tuple[float, float] | None
    interval: str
    provenance: Provenance
    error: str
    is_checked: bool
    mape_percent: float | None
    mape_of: str | None
    batch_size: int
    identity: str
    extrapolations: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CalibratedDevice:
    """A new table, where it lies, and the space and median latency of the networks it is made from."""

    folder: Path
    table: LatencyTable
    calibration: Calibration
    left_out: tuple[str, ...]
    space: SearchSpace
    median_ms: float


def predict_latencies(request: PredictionRequest) -> list[PredictedLatency]:
    """Latency of each network on each device.

    Raises:
        FileFormatError: A file is missing or malformed.
        UnknownNameError: No such device or standard network.
    """
    networks, resolution = request.networks, request.resolution
    space = open_space(request.space_name) if request.space_name else None
    described = {
        network: read_subnet(network, space, resolution=resolution)
        for network in networks
        if network_file(Path(network)).is_file()
    }
    for network in networks:
        if network not in described and (os.sep in network or network.endswith(_FILE_ENDINGS)):
            raise FileFormatError(f"No such file: '{network}'.", hint="Name a subnet.json or net.config.")
    predictions = []
    for device in request.devices:
        table = load_table(device, request.tables)
        for network in networks:
            if network in described:
                predictions.append(_predict_subnet(table, network, described[network], request.confidence))
            else:
                predictions.append(_predict_standard(table, network, resolution or STANDARD_RESOLUTION))
    return predictions


def _predict_subnet(
    table: LatencyTable, path: str, found: SubnetFile, confidence: float | None
) -> PredictedLatency:
    space, subnet = found.space, found.subnet
    if subnet.resolution not in space.resolutions:
        space = space.with_resolutions((subnet.resolution,))
    population = Encoding(space).encode([subnet])
    bound = table.bind(space)
    upper = None
    if confidence is not None and bound.is_calibrated:
        upper = float(bound.upper_bound(population, confidence)[0])
    latency = float(bound.predict(population)[0])
    told = _Told(latency, upper, bound.interval, bound.notes(population), bound.warnings(population))
    prediction = _prediction(table, path, told, bound.error, resolution=subnet.resolution)
    return dataclasses.replace(prediction, notes=found.notes)


def _predict_standard(table: LatencyTable, name: str, resolution: int) -> PredictedLatency:
    answer = table.predict_layers(standard_network(name, resolution))
    told = _Told(answer.latency_ms, None, UNCALIBRATED, answer.extrapolations, answer.warnings)
    return _prediction(table, name, told, answer.error, resolution=resolution)


class _Told(NamedTuple):
    """What a table says of one network."""

    latency_ms: float
    upper_ms: float | None
    interval: str
    extrapolations: tuple[str, ...]
    warnings: tuple[str, ...]


def _prediction(
    table: LatencyTable, network: str, told: _Told, error: StatedError, *, resolution: int
) -> PredictedLatency:
    rate = 1e3 * table.variant.batch_size / told.latency_ms
    is_throughput = table.variant.measures == "throughput"
    interval = error.interval_around(rate if is_throughput else told.latency_ms)
    return PredictedLatency(
        network=network,
        resolution=resolution,
        device=table.name,
        latency_ms=None if is_throughput else told.latency_ms,
        throughput_per_s=rate if is_throughput else None,
        upper_ms=told.upper_ms,
        interval_90_ms=None if is_throughput else interval,
        interval_90_per_s=interval if is_throughput else None,
        interval=told.interval,
        provenance=table.provenance,
        error=error.text,
        is_checked=error.is_checked,
        mape_percent=error.percent if error.is_checked else None,
        mape_of=error.how,
        batch_size=table.variant.batch_size,
        identity=table.identity,
        extrapolations=told.extrapolations,
        notes=(),
        warnings=(*table.remarks, *told.warnings),
    )


def prior_tables(
    like: Sequence[str],
    *,
    batch_size: int | None,
    exclude: Sequence[str] = (),
    tables: Iterable[Path] = (),
    with_few_networks: bool = False,
) -> list[LatencyTable]:
    """The tables to learn from: those named, or every variant of that batch size.

    Calibrated tables are left out: they are combinations themselves. So are, unless they are asked for,
    tables fitted on few networks: their errors are as large as what they would teach.
    """
    folders = tuple(tables)
    if like:
        return [load_table(name, folders) for name in like]
    entries = resources.entries("latency_tables", folders)
    excluded = {find_device(name, folders).name for name in exclude}
    found: list[LatencyTable] = []
    for device in list_devices(folders):
        if device.name in excluded:
            continue
        found += [
            read_table(entries[device.name].path, variant.name, below=entries[device.name].below)
            for variant in device.variants
            if batch_size in (None, variant.batch_size)
            and not variant.name.startswith("calibrated-")
            and (with_few_networks or not variant.has_few_networks)
        ]
    if not found:
        raise LatencyTableError(
            f"No shipped table has batch size {batch_size} to learn from.",
            hint="Name tables of another batch size with --like.",
        )
    return found


def plan_probes(space_name: str, num_probes: int, tables: Sequence[LatencyTable], seed: int) -> Probes:
    """Subnets that tell most when measured."""
    space = open_space(space_name)
    population = spread_probes(Prior(space, tables), num_probes, rng.generator(seed, "latency-probes"))
    return Probes(space=space, population=population, latencies_ms=np.full(len(population), np.nan))


def estimate_errors(space: SearchSpace, tables: Sequence[LatencyTable], seed: int) -> list[ExpectedError]:
    """Simulated error after some numbers of probes."""
    return expected_errors(Prior(space, tables), _SIMULATED_PROBES, rng.generator(seed, "latency-samples"))


def calibrate_device(request: CalibrationRequest, prior: Sequence[LatencyTable]) -> CalibratedDevice:
    """Fit the measured probes and file the table.

    Args:
        request: Names the probes file, device, runtime and precision.
        prior: Tables to learn from.

    Raises:
        OutputError: Another table of that name would be replaced.
        MismatchError: The device of that name has another title or chip, or is of another kind.
    """
    assert request.probes is not None
    assert request.device is not None
    probes = read_probes(request.probes).measured()
    bound_prior = Prior(probes.space, prior)
    calibration = calibrate(bound_prior, probes.population, probes.latencies_ms)
    content = TableContent(predictors=(calibration.predictor,))
    account = Derivation(
        provenance="transferred",
        method=f"non-negative combination fitted to the probes; members: {calibration.members}",
        networks=f"{len(probes.population)} subnets of {probes.space.name}",
        errors=calibration.errors("each probe by a fit on the others"),
        caveats=("Uncalibrated bounds: a few probes cannot back them.",),
    )
    variant = described_variant(
        f"calibrated-{request.runtime}-{request.precision}-{request.batch_size}",
        Conditions(runtime=request.runtime, precision=request.precision, batch_size=request.batch_size),
        Origin(source="this user's measurements", licence="own measurement"),
        account,
        content,
    )
    fresh = Device(
        name=request.device,
        title=request.title or request.device,
        kind=request.kind or DEFAULT_KIND,
        chip=request.chip or UNKNOWN,
        default_variant=variant.name,
        variants=(variant,),
    )
    stated = {"title": request.title, "chip": request.chip, "kind": request.kind}
    table = file_variant(request.out, fresh, content, stated=stated, force=request.force)
    return CalibratedDevice(
        folder=device_folder(request.out, request.device),
        table=table,
        calibration=calibration,
        left_out=tuple(bound_prior.left_out),
        space=probes.space,
        median_ms=float(np.median(probes.latencies_ms)),
    )
