"""Tables of devices on which nobody measured mobile networks: from their relatives and published anchors.

Work is divided by what the data sheet promises (arithmetic, bandwidth), so that one set of efficiencies,
non-negative, can be fitted over related devices; launches cost the same everywhere. Few anchors cannot tell
depthwise arithmetic from memory traffic, so the efficiencies are held near those of a device whose operators
were measured in the same runtime. Where the target has published anchors, factors of its own follow: on
launches, on dense convolutions, and on everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from latency_fitting.facts import FACTS
from latency_fitting.measurements import read_rows
from latency_fitting.metrics import error_of, mape_percent
from latency_fitting.network_sources import ACCEL_BATCH, read_accel
from latency_fitting.operators import E2E_FILE, composed_subnets
from latency_fitting.tables import FittedTable
from latency_fitting.whole_networks import few_networks
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.measuring.standard_networks import standard_network
from ofa_toolkit.latency.predictors.layer_features import LAYER_FEATURES, layer_features
from ofa_toolkit.latency.predictors.layer_model import LayerModel
from ofa_toolkit.latency.table_file import TableContent

Array = npt.NDArray[np.float64]

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "launches": ("num_convolutions", "num_vector_layers", "num_scales"),
    "dense": ("dense_macs",),
    "pointwise": ("pointwise_macs",),
    "depthwise": ("depthwise_macs",),
    "traffic": (
        "pointwise_in",
        "pointwise_out",
        "depthwise_in",
        "depthwise_out",
        "dense_in",
        "dense_out",
        "add_out",
        "scale_out",
    ),
    "weights": ("pointwise_weights", "depthwise_weights", "dense_weights", "vector_weights"),
}
_TWICE = ("add_out", "scale_out")
_RIDGE = 1e-3
_HOLD = 0.1
_HOLD_OWN = 0.005
_OWN_FACTORS = ([0], [1], [2, 3, 4, 5])
"""Groups that share a factor of the target's own: launches; dense convolutions; the rest."""
_MOBILE_WEIGHT = 3.0


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a data sheet promises for one precision and batch size.

    Attributes:
        tflops: 10^12 floating point operations per second in the precision.
        vector_tflops: The same outside tensor cores, which depthwise convolutions cannot use.
        memory_gb_per_s: 10^9 bytes per second.
        bytes_per_value: Of the precision.
        batch_size: Images per run.
    """

    tflops: float
    vector_tflops: float
    memory_gb_per_s: float
    bytes_per_value: int
    batch_size: int

    def unit_costs(self) -> Array:
        """Milliseconds each column of `LAYER_FEATURES` would take by the data sheet; one per launch."""
        macs = 2e-3 * self.batch_size / self.tflops
        values = self.bytes_per_value * self.batch_size / self.memory_gb_per_s
        costs = dict.fromkeys(LAYER_FEATURES, 0.0)
        for group, names in _GROUPS.items():
            for name in names:
                if group == "launches":
                    costs[name] = 1.0
                elif group == "weights":
                    costs[name] = self.bytes_per_value / self.memory_gb_per_s
                elif group == "traffic":
                    costs[name] = values * (2 if name in _TWICE else 1)
                elif group == "depthwise":
                    costs[name] = macs * self.tflops / self.vector_tflops
                else:
                    costs[name] = macs
        return np.array([costs[name] for name in LAYER_FEATURES])


def _grouped(features: Array, promise: Promise) -> Array:
    """Milliseconds by the data sheet per group, `(N, groups)`."""
    costs = features * promise.unit_costs()
    columns = [[LAYER_FEATURES.index(name) for name in names] for names in _GROUPS.values()]
    return np.stack([costs[:, own].sum(axis=1) for own in columns], axis=1)


def fit_efficiencies(parts: Sequence[tuple[Array, Promise, Array]], prior: Array | None = None) -> Array:
    """Non-negative factor per group from (features, promise, latencies in ms) of related devices.

    With a prior, relative deviations from it count as `_HOLD` relative errors of the fit do.
    """
    rows = np.vstack([_grouped(f, promise) / ms[:, None] / np.sqrt(len(ms)) for f, promise, ms in parts])
    target = np.concatenate([np.full(len(ms), 1 / np.sqrt(len(ms))) for _, _, ms in parts])
    scale = np.sqrt((rows**2).mean(axis=0)) if prior is None else 1 / prior
    scale[scale == 0] = 1.0
    strength = _RIDGE if prior is None else np.sqrt(_HOLD)
    penalised = np.vstack([rows / scale, strength * np.eye(rows.shape[1])])
    wanted = np.full(rows.shape[1], 0.0 if prior is None else strength)
    solution, _ = nnls(penalised, np.r_[target, wanted])
    return np.asarray(solution / scale)


def own_factors(features: Array, promise: Promise, efficiencies: Array, ms: Array, weights: Array) -> Array:
    """Efficiencies with factors of the target's own, from its anchors; unequal factors are held back."""
    costs = _grouped(features, promise) * efficiencies
    level = np.exp(np.average(np.log(ms / costs.sum(axis=1)), weights=weights))
    summed = np.stack([costs[:, own].sum(axis=1) for own in _OWN_FACTORS], axis=1) * level / ms[:, None]
    root = np.sqrt(weights / weights.sum())
    hold = np.sqrt(_HOLD_OWN)
    solution, _ = nnls(
        np.vstack([summed * root[:, None], hold * np.eye(len(_OWN_FACTORS))]),
        np.r_[root, np.full(len(_OWN_FACTORS), hold)],
    )
    factors = np.ones(len(efficiencies))
    for own, factor in zip(_OWN_FACTORS, solution, strict=True):
        factors[own] = factor * level
    return efficiencies * factors


def predict(features: Array, promise: Promise, efficiencies: Array) -> Array:
    """Latency in ms from efficiencies."""
    return np.asarray(_grouped(features, promise) @ efficiencies)


def as_model(
    promise: Promise, efficiencies: Array, features: Array, resolutions: tuple[int, int], fitted_on: str
) -> LayerModel:
    """The predictor that ships."""
    of_feature = {
        name: factor for names, factor in zip(_GROUPS.values(), efficiencies, strict=True) for name in names
    }
    factors = np.array([of_feature.get(name, 0.0) for name in LAYER_FEATURES])
    return LayerModel(
        coefficients=promise.unit_costs() * factors,
        bias_ms=0.0,
        correction=None,
        fitted_on=fitted_on,
        smallest=features.min(axis=0),
        largest=features.max(axis=0),
        smallest_resolution=resolutions[0],
        largest_resolution=resolutions[1],
    )


# --- Jetson boards: TensorRT fp16, batch 1 ---

JETSON_ANCHORS = {
    "jetson-nano": "NVIDIA Jetson Nano",
    "jetson-tx2": "NVIDIA Jetson TX2",
    "jetson-xavier-nx": 'NVIDIA Jetson Xavier NX (doc: "Jetson NX")',
    "jetson-agx-xavier": 'NVIDIA Jetson AGX Xavier (doc: "Jetson Xavier")',
    "jetson-orin-nano": "NVIDIA Jetson Orin Nano",
    "jetson-agx-orin": "NVIDIA Jetson AGX Orin",
}
_ANCHOR_SOURCE = "Nota-NetsPresso/netspresso-trainer"
_ANCHOR_NETWORKS = {
    "MobileNetV3-small": "mobilenet-v3-small",
    "MobileNetV3-large": "mobilenet-v3-large",
    "ResNet18": "resnet-18",
    "ResNet34": "resnet-34",
    "ResNet50": "resnet-50",
}
_RESOLUTION = 224
_LAUNCH_MS = 0.01


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Published latencies of one board."""

    promise: Promise
    names: npt.NDArray[np.str_]
    features: Array
    latencies_ms: Array
    runtime_version: str

    @property
    def weights(self) -> Array:
        """Mobile networks weigh more: they are what will be predicted."""
        return np.where(self.is_mobile, _MOBILE_WEIGHT, 1.0)

    @property
    def is_mobile(self) -> npt.NDArray[np.bool_]:
        """Which of them are mobile networks."""
        return np.char.startswith(self.names, "mobilenet")

    def without(self, name: str) -> Anchors:
        """The others."""
        kept = self.names != name
        return replace(
            self,
            names=self.names[kept],
            features=self.features[kept],
            latencies_ms=self.latencies_ms[kept],
        )


def promise_of(device: str, precision: str, batch_size: int) -> Promise:
    """From the facts of a device."""
    peak = next(fact["peak"] for fact in FACTS if fact["name"] == device)
    return Promise(
        tflops=peak[f"{precision}_tflops"],
        vector_tflops=peak["fp32_tflops"] * (2 if precision == "fp16" else 1),
        memory_gb_per_s=peak["memory_gb_per_s"],
        bytes_per_value=2 if precision == "fp16" else 4,
        batch_size=batch_size,
    )


def read_anchors(folder: Path) -> dict[str, Anchors]:
    """TensorRT fp16 at batch 1, one publication for all boards, so that they are comparable."""
    rows = [
        row
        for row in read_rows(folder / E2E_FILE)
        if row["source_repo"] == _ANCHOR_SOURCE and row["model"] in _ANCHOR_NETWORKS
    ]
    anchors = {}
    for device, title in JETSON_ANCHORS.items():
        own = [row for row in rows if row["device"] == title and row["precision"] == "fp16"]
        names = [_ANCHOR_NETWORKS[row["model"]] for row in own]
        anchors[device] = Anchors(
            promise=promise_of(device, "fp16", 1),
            names=np.array(names),
            features=np.array([layer_features(standard_network(name, _RESOLUTION)) for name in names]),
            latencies_ms=np.array([float(row["latency_ms"]) for row in own]),
            runtime_version=", ".join(sorted({row["runtime_version"] for row in own})),
        )
    return anchors


def operator_prior(folder: Path) -> Array:
    """Efficiencies of the V100 in TensorRT fp16 at a batch that keeps it as busy as batch 1 keeps a board.

    Its operators say little about launches, dense convolutions and weights: those start at 10 us and at the
    data sheet's rates.
    """
    composed = composed_subnets(folder, "fp16", 64)
    found = fit_efficiencies([(composed.features, promise_of("v100", "fp16", 64), composed.latencies_ms)])
    known = dict(zip(_GROUPS, found, strict=True))
    return np.array([_LAUNCH_MS, 1.0, known["pointwise"], known["depthwise"], known["traffic"], 1.0])


def _pooled(anchors: Mapping[str, Anchors], prior: Array, left_out: str | None) -> Array:
    return fit_efficiencies(
        [(a.features, a.promise, a.latencies_ms) for device, a in anchors.items() if device != left_out],
        prior,
    )


def jetson_leave_one_out(anchors: Mapping[str, Anchors], prior: Array) -> tuple[Array, Array, Array]:
    """Measured, transferred and single-factor latencies of mobile anchors that neither fit has seen.

    The efficiencies come from the other boards only, the factors from the board's other anchors. A single
    factor multiplies another board's latencies and is fitted to the same anchors; every board serves once.
    """
    measured, transferred, single = [], [], []
    for device, own in anchors.items():
        efficiencies = _pooled(anchors, prior, device)
        for name in own.names[own.is_mobile]:
            rest = own.without(name)
            asked = own.names == name
            factors = own_factors(rest.features, own.promise, efficiencies, rest.latencies_ms, rest.weights)
            prediction = predict(own.features[asked], own.promise, factors)[0]
            for other in (a for d, a in anchors.items() if d != device):
                known = dict(zip(other.names, other.latencies_ms, strict=True))
                shared = np.array([n in known for n in rest.names])
                if name not in known:
                    continue
                ratio = rest.latencies_ms[shared] / np.array([known[n] for n in rest.names[shared]])
                factor = np.exp(np.average(np.log(ratio), weights=rest.weights[shared]))
                measured.append(own.latencies_ms[asked][0])
                transferred.append(prediction)
                single.append(factor * known[name])
    return np.array(measured), np.array(transferred), np.array(single)


_OTHER_HARNESS = "tensorrt (torch2trt)"
_OTHER_NETWORKS = {
    "mobilenet_v2": "mobilenet-v2-1.0",
    "mnasnet0_5": "mnasnet-0.5",
    "mnasnet0_75": "mnasnet-0.75",
    "mnasnet1_0": "mnasnet-1.0",
    "mnasnet1_3": "mnasnet-1.3",
}


def other_harness_error(folder: Path, device: str, promise: Promise, factors: Array) -> list[Error]:
    """Error on mobile networks that another publication timed on the same board, if there are any."""
    rows = [
        row
        for row in read_rows(folder / E2E_FILE)
        if row["device"] == JETSON_ANCHORS[device].partition(" (")[0]
        and row["runtime"] == _OTHER_HARNESS
        and row["model"] in _OTHER_NETWORKS
    ]
    if not rows:
        return []
    features = [layer_features(standard_network(_OTHER_NETWORKS[row["model"]], _RESOLUTION)) for row in rows]
    measured = np.array([float(row["latency_ms"]) for row in rows])
    return [
        Error(
            kind="families",
            mape_percent=round(mape_percent(measured, predict(np.array(features), promise, factors)), 1),
            num_networks=len(rows),
            split="unseen families, timed by another publication with torch2trt (older TensorRT)",
            space="MobileNetV2 and MnasNet at 224 pixels",
        )
    ]


def left_out_errors(anchors: Mapping[str, Anchors], device: str, prior: Array) -> list[Error]:
    """Error on each anchor of a board by factors from its others, the efficiencies from other boards only."""
    own = anchors[device]
    efficiencies = _pooled(anchors, prior, device)
    predicted = []
    for name in own.names:
        rest = own.without(name)
        factors = own_factors(rest.features, own.promise, efficiencies, rest.latencies_ms, rest.weights)
        predicted.append(predict(own.features[own.names == name], own.promise, factors)[0])
    return [
        few_networks(
            tuple(own.names[kept]),
            own.latencies_ms[kept],
            np.array(predicted)[kept],
            "each published network of this board left out, efficiencies from the other boards",
            family,
        )
        for kept, family in ((own.is_mobile, "MobileNetV3"), (~own.is_mobile, "ResNet"))
    ]


def jetson_transfers(folder: Path) -> Iterator[FittedTable]:
    """TensorRT fp16 at batch 1 on six boards."""
    anchors = read_anchors(folder)
    prior = operator_prior(folder)
    measured, transferred, single = jetson_leave_one_out(anchors, prior)
    error, alternative = mape_percent(measured, transferred), mape_percent(measured, single)
    if error >= alternative:
        print(f"jetson transfer does not ship: {error:.1f} % against {alternative:.1f} % of a single factor")
        return
    efficiencies = _pooled(anchors, prior, None)
    everything = np.vstack([own.features for own in anchors.values()])
    fitted = {
        device: own_factors(own.features, own.promise, efficiencies, own.latencies_ms, own.weights)
        for device, own in anchors.items()
    }
    of_families = {
        device: other_harness_error(folder, device, own.promise, fitted[device])
        for device, own in anchors.items()
    }
    for device, own in anchors.items():
        factors = fitted[device]
        elsewhere = [
            replace(error, device=other)
            for other, errors in of_families.items()
            for error in errors
            if not of_families[device]
        ]
        model = as_model(
            own.promise,
            factors,
            everything,
            (_RESOLUTION, _RESOLUTION),
            "published MobileNetV3 and ResNet latencies at 224 pixels on six Jetson boards",
        )
        on_anchors = predict(own.features, own.promise, factors)
        yield FittedTable(
            device=device,
            name="transfer-tensorrt-fp16-1",
            content=TableContent(predictors=(model,)),
            conditions={
                "source": "netspresso-trainer (Nota), TensorRT benchmarks; tinynas operators; data sheets",
                "source_licence": "Apache-2.0",
                "runtime": "tensorrt",
                "runtime_version": own.runtime_version,
                "precision": "fp16",
                "batch_size": 1,
                "provenance": "transferred",
                "method": (
                    "efficiencies over data-sheet costs, fitted on six boards together and held near those "
                    "of V100 operators, with three factors from this board's anchors"
                ),
                "networks": f"{len(own.names)} standard networks of this board, {len(everything)} of all six",
                "is_inferred": ["batch_size"],
            },
            errors=[
                *left_out_errors(anchors, device, prior),
                *of_families[device],
                *elsewhere,
                error_of(
                    own.latencies_ms,
                    on_anchors,
                    "the very networks its factors were fitted to",
                    "MobileNetV3 and ResNet at 224 pixels",
                    kind="anchors",
                ),
            ],
            caveats=[
                (
                    "Transferred: no elastic network was measured on this board in TensorRT; MobileNetV3 and "
                    f"ResNets at 224 pixels were. Over six boards the procedure is off by {error:.1f} % on "
                    f"MobileNetV3 (a single factor on another board: {alternative:.1f} %)."
                ),
                "Uncalibrated; `ofa-tk latency kit` or `calibrate` replaces it with measurements.",
            ],
        )


# --- A40 from RTX 3090 and A100 ---


def _ampere_parts(folder: Path) -> dict[str, tuple[Array, Promise, Array]]:
    """Networks measured on both neighbours: features, promise, ms. Arithmetic in plain fp32 explains them."""
    measured = read_accel(folder)
    shared = np.array(sorted(set.intersection(*(set(data.names) for data in measured.values()))))
    parts = {}
    for device, data in measured.items():
        order = np.argsort(data.names)
        rows = order[np.searchsorted(data.names, shared, sorter=order)]
        parts[device] = (
            data.features[rows],
            promise_of(device, "fp32", ACCEL_BATCH),
            data.latencies_ms[rows],
        )
    return parts


def a40_leave_one_out(
    parts: Mapping[str, tuple[Array, Promise, Array]],
) -> dict[str, tuple[Error, float]]:
    """Error of predicting each neighbour from the other, and that (%) of a single factor, the bandwidth."""
    found = {}
    for device, (features, promise, ms) in parts.items():
        for other, (other_features, other_promise, other_ms) in parts.items():
            if other == device:
                continue
            efficiencies = fit_efficiencies([(other_features, other_promise, other_ms)])
            factor = other_promise.memory_gb_per_s / promise.memory_gb_per_s
            error = error_of(
                ms,
                predict(features, promise, efficiencies),
                f"one neighbour from the other, here {device} from {other}",
                "Accel-NASBench",
                device=device,
            )
            found[device] = (error, mape_percent(ms, other_ms * factor))
    return found


def a40_transfer(folder: Path) -> Iterator[FittedTable]:
    """A40 at the batch size of its neighbours, PyTorch fp32."""
    parts = _ampere_parts(folder)
    found = a40_leave_one_out(parts)
    error = float(np.mean([each.mape_percent for each, _ in found.values()]))
    alternative = float(np.mean([single for _, single in found.values()]))
    if error >= alternative:
        print(f"a40 transfer does not ship: {error:.1f} % against {alternative:.1f} % of a single factor")
        return
    features = next(iter(parts.values()))[0]
    model = as_model(
        promise_of("a40", "fp32", ACCEL_BATCH),
        fit_efficiencies(list(parts.values())),
        features,
        (_RESOLUTION, _RESOLUTION),
        "networks of Accel-NASBench's MnasNet space at 224 pixels on A100 and RTX 3090",
    )
    yield FittedTable(
        device="a40",
        name=f"transfer-pytorch-fp32-{ACCEL_BATCH}",
        content=TableContent(predictors=(model,)),
        conditions={
            "source": "Accel-NASBench (Ahmad et al. 2024) on A100 and RTX 3090; data sheet of the A40",
            "source_licence": "Apache-2.0",
            "runtime": "pytorch",
            "precision": "fp32",
            "batch_size": ACCEL_BATCH,
            "provenance": "transferred",
            "method": "efficiencies over data-sheet costs, fitted on two neighbours of its generation",
            "networks": "none of this device; about 4,000 networks of A100 and RTX 3090",
            "is_inferred": ["runtime", "precision", "batch_size"],
        },
        errors=[error for error, _ in found.values()],
        caveats=[
            (
                "Transferred: no mobile network has been measured on an A40 in public. A100 predicted from "
                f"RTX 3090 and back is {error:.1f} % off (a single factor, bandwidth: {alternative:.1f} %)."
            ),
            "The neighbours' batch size and precision are inferred.",
            "Uncalibrated; `ofa-tk latency kit` or `calibrate` replaces it with measurements.",
        ],
    )
