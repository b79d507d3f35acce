"""Several subnets along a front in one folder that share their weights, and the runtime that chooses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto
from torch import nn

from ofa_toolkit.complexity import peak_activation_elements
from ofa_toolkit.core.errors import ConfigError, MissingDependencyError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.core.output_folder import check_output_folder, output_folder
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.datasets import picture
from ofa_toolkit.export.comparison import check_comparison, compare, synthetic_images
from ofa_toolkit.export.exporter import FileForm, write_model
from ofa_toolkit.export.kit import __file__ as kit_file
from ofa_toolkit.export.target_devices import ONNXRUNTIME_CPU, resolve_target
from ofa_toolkit.graphs import count_folded_params
from ofa_toolkit.pipelines.export.network import ExportNetwork, export_network
from ofa_toolkit.pipelines.search.front_file import read_front, spread_over_cost
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.subnet_file import subnet_from_document
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike, load_supernet

KIND = "adaptive pack"
FORMAT = FileFormat("ofa-toolkit/pack", 1, "a pack of subnets")
RUNTIME = "adaptive.py"

Array = npt.NDArray[np.float32]


def write_pack(
    front: Path,
    folder: Path,
    *,
    count: int = 4,
    supernet: SupernetLike | None = None,
    data: str | None = None,
    keep_batchnorm: bool = False,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Write a pack, each network compared with the one cut out of the supernet, by the pack's own runtime.

    Weights are stored once, as the largest slices that are used, batch norm not folded: each network has a
    scale and a shift a channel. What is no slice (kernels that pass through learned matrices) is its own.

    Args:
        front: Written by `ofa-tk search --pareto front.json`.
        folder: As `output_folder` allows.
        count: Networks, evenly along the front, from its cheapest to its most accurate.
        supernet: Supernet that holds the weights, where it is not the one that the front names.
        data: Images for batch-norm statistics; those the supernet carries where None.
        keep_batchnorm: Keep the supernet's statistics.
        force: Replace a former output of ours.
        reporter: Hears what is being done.

    Returns:
        The manifest.

    Raises:
        ConfigError: The front has fewer members, or the supernet does not say how images are prepared.
        VerificationError: A network of the pack does not compute what the supernet's does.
    """
    document = read_front(front)
    chosen = _members(document["members"], count, front)
    check_output_folder(folder, KIND, force=force)
    source = load_supernet(supernet or document["supernet"])
    if source.preprocessing is None:
        raise ConfigError(f"'{source.name}' does not say how pictures are prepared.")
    dataset = None if data is None else source.open_images(data)
    networks: list[ExportNetwork] = []
    for number, member in enumerate(chosen):
        reporter.message(f"Recomputing batch-norm statistics: network {number + 1} of {count}")
        subnet = subnet_from_document(member)
        source.space.check(subnet)
        networks.append(export_network(source, subnet, dataset, keep_batchnorm=keep_batchnorm))
    shared = _shared_weights(source.network, networks)
    with output_folder(folder, KIND, force=force) as temporary:
        np.savez(temporary / "weights.npz", **shared)  # type: ignore[arg-type]
        (temporary / "subnets").mkdir()
        entries = [
            _write_subnet(temporary, f"subnet-{number}", member, network, shared, document["costs"])
            for number, (member, network) in enumerate(zip(chosen, networks, strict=True))
        ]
        manifest = {
            **FORMAT.header,
            "supernet": source.name,
            "supernet_identity": source.identity,
            "preprocessing": {"interpolation": "bilinear", "crop": 1.0, **source.preprocessing},
            "subnets": entries,
        }
        _write_rest(temporary, manifest, source)
        reporter.message("Comparing every network of the pack with the supernet's")
        _check(temporary, networks)
    return manifest


def _write_rest(folder: Path, manifest: dict[str, Any], source: LoadedSupernet) -> None:
    """The manifest, the names of the classes, and the program that runs the pack."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / "pack.json").write_text(text + "\n", encoding="utf-8")
    names = source.output_names or tuple(f"class {i}" for i in range(source.space.num_classes))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for file in (Path(kit_file).with_name(RUNTIME), Path(picture.__file__)):
        shutil.copyfile(file, folder / file.name)


def _members(members: list[dict[str, Any]], count: int, front: Path) -> list[dict[str, Any]]:
    if not 2 <= count <= len(members):
        raise ConfigError(
            f"'--count {count}' is not possible: '{front}' has {counted(len(members), 'member')}, and a pack "
            "takes 2 or more.",
            hint=f"--count {len(members)}",
        )
    return spread_over_cost(members, count)


def _parts(network: nn.Module, layer: LayerSpec) -> tuple[Array | None, Array | None]:
    """Scale and shift a channel that stand for batch norm or bias of a layer; None where there is none."""
    norm = dict(network.named_modules()).get(f"{layer.name}.bn")
    kind = "linear" if layer.kind == "linear" else "conv"
    bias = dict(network.named_parameters()).get(f"{layer.name}.{kind}.bias")
    offset = None if bias is None else bias.detach().double().numpy()
    if norm is None:
        return None, None if offset is None else offset.astype(np.float32)
    mean, variance, gamma, beta = (
        getattr(norm, name).detach().double().numpy()
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    scale = gamma / np.sqrt(variance + float(norm.eps))
    shift = beta + ((0.0 if offset is None else offset) - mean) * scale
    return scale.astype(np.float32), shift.astype(np.float32)


def _weight(network: nn.Module, layer: LayerSpec) -> Array:
    kind = "linear" if layer.kind == "linear" else "conv"
    weight: Array = network.get_parameter(f"{layer.name}.{kind}.weight").detach().numpy()
    return weight


def _shared_weights(supernet: Supernet, networks: list[ExportNetwork]) -> dict[str, Array]:
    """The supernet's weights as far as some network reads them: leading channels, whole kernels."""
    extents: dict[str, tuple[int, int]] = {}
    for network in networks:
        for layer in network.layers:
            if layer.has_weights:
                shape = _weight(network.network, layer).shape
                before = extents.get(layer.name, (0, 0))
                extents[layer.name] = (max(before[0], shape[0]), max(before[1], shape[1]))
    return {
        name: np.ascontiguousarray(supernet.layer(name).weighted.weight.detach().numpy()[:out, :into])
        for name, (out, into) in extents.items()
    }


def _write_subnet(
    folder: Path,
    name: str,
    member: dict[str, Any],
    network: ExportNetwork,
    shared: dict[str, Array],
    costs: list[str],
) -> dict[str, Any]:
    arrays: dict[str, Array] = {}
    tensors: list[dict[str, Any]] = []
    for layer in (layer for layer in network.layers if layer.has_weights):
        weight, (scale, shift) = _weight(network.network, layer), _parts(network.network, layer)
        entry: dict[str, Any] = {"name": f"{layer.name}.weight", "shape": list(weight.shape), "scale": None}
        entry["shared"] = layer.name if np.array_equal(_slice(shared[layer.name], weight), weight) else None
        if entry["shared"] is None:
            arrays[entry["name"]] = weight
        if scale is not None:
            entry["scale"] = f"{layer.name}.scale"
            arrays[entry["scale"]] = scale
        tensors.append(entry)
        if shift is not None:
            arrays[f"{layer.name}.bias"] = shift
            tensors.append(
                {"name": f"{layer.name}.bias", "shape": [len(shift)], "shared": None, "scale": None}
            )
    np.savez(folder / "subnets" / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    form = FileForm(target=resolve_target(ONNXRUNTIME_CPU))
    model = write_model(network.layers, network.weights, form)
    _without_weights(model, {tensor["name"] for tensor in tensors})
    (folder / "subnets" / f"{name}.onnx").write_bytes(model.SerializeToString())
    params = count_folded_params(network.layers)
    return {
        "name": name,
        "resolution": network.subnet.resolution,
        "top1_percent": member["top1_percent"],
        "costs": dict(zip(costs, member["costs"], strict=True)),
        "predicted": member["predicted"],
        "params": params,
        "memory_bytes": 4 * (params + peak_activation_elements(network.layers)),
        "graph": f"subnets/{name}.onnx",
        "arrays": f"subnets/{name}.npz",
        "tensors": tensors,
    }


def _slice(whole: Array, like: Array) -> Array:
    """Leading channels and centre of the kernel, as the runtime takes them."""
    part = whole[: like.shape[0], : like.shape[1]]
    if like.ndim == 4:
        start = (whole.shape[-1] - like.shape[-1]) // 2
        stop = start + like.shape[-1]
        part = part[:, :, start:stop, start:stop]
    return part


def _without_weights(model: onnx.ModelProto, names: set[str]) -> None:
    """Leave the named weights to whoever opens the file."""
    for tensor in model.graph.initializer:
        if tensor.name in names:
            length = 4 * int(np.prod(tensor.dims))
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "weights"), ("offset", "0"), ("length", str(length))):
                tensor.external_data.add(key=key, value=value)


def _check(folder: Path, networks: list[ExportNetwork]) -> None:
    try:
        from ofa_toolkit.export.kit.adaptive import Pack
    except ImportError as error:
        raise MissingDependencyError(
            f"A pack needs onnxruntime: {error}.", hint="pip install onnxruntime"
        ) from error
    pack = Pack(folder)
    for index, network in enumerate(networks):
        session = pack.load(index)
        [source] = session.get_inputs()

        def run(images: Array, session: Any = session, name: str = source.name) -> Array:
            return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])

        check = synthetic_images(network.subnet.resolution, 8)
        check_comparison(compare(run, network.network, check), "fp32")
