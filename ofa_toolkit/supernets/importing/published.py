"""Weights of a published network as those of the supernet whose largest subnet it is.

Libraries name the same layers differently, but all hold them in the order in which they run; so layers are
matched by order, and every shape has to agree. A file that lost the order is refused for its shapes.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ofa_toolkit.core.errors import CheckpointError, MismatchError
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.supernets.supernet import Supernet

Parts = dict[str, Tensor]
"""The tensors of one layer or batch norm by the last part of their names."""


def supernet_from_published(
    weights: Mapping[str, Tensor], space: SearchSpace, *, source: str, bn_eps: float | None = None
) -> Supernet:
    """A supernet whose largest subnet is the network that a state dictionary belongs to.

    Args:
        weights: In the order in which the layers run; any names that end as torch's do.
        space: Whose largest subnet the network is; the number of classes is the network's.
        source: Name of the weights in errors.
        bn_eps: Epsilon of the network's batch norms where it is another than the space's: the variances are
            shifted by the difference, which computes the same.

    Raises:
        CheckpointError: A weight is not finite.
        MismatchError: The weights are of another network; the first difference is named.
    """
    weighted, norms = _layers(weights)
    if not weighted or weighted[-1][1]["weight"].ndim not in (2, 4):
        raise MismatchError(f"{source} holds no classifier: it is no network of '{space.name}'.")
    space = space.with_num_classes(len(weighted[-1][1]["weight"]))
    supernet = Supernet(space)
    layers = [layer for layer in lower(space, space.largest()) if layer.has_weights]
    normed = [layer for layer in layers if layer.batch_norm]
    for what, found, wanted in (("layers", weighted, layers), ("batch norms", norms, normed)):
        if len(found) != len(wanted):
            raise MismatchError(
                f"{source} holds {len(found)} {what} with weights; '{space.name}' has {len(wanted)}."
            )
    own = supernet.state_dict()
    for layer, (name, parts) in zip(layers, weighted, strict=True):
        _copy(own, f"{layer.name}.{'linear' if layer.kind == 'linear' else 'conv'}", name, parts, source)
    difference = 0.0 if bn_eps is None else bn_eps - space.bn_eps
    for layer, (name, parts) in zip(normed, norms, strict=True):
        shifted = {"running_var": _shifted(parts, difference, name, source)} if difference else {}
        _copy(own, f"{layer.name}.bn", name, {**parts, **shifted}, source)
    return supernet.eval()


def _layers(weights: Mapping[str, Tensor]) -> tuple[list[tuple[str, Parts]], list[tuple[str, Parts]]]:
    """Convolutions and linear layers, and batch norms, each with its name, in the order given."""
    by_layer: dict[str, Parts] = {}
    for name, tensor in weights.items():
        layer, _, part = name.rpartition(".")
        by_layer.setdefault(layer, {})[part] = tensor
    norms = [(name, parts) for name, parts in by_layer.items() if "running_var" in parts]
    weighted = [(n, p) for n, p in by_layer.items() if "running_var" not in p and "weight" in p]
    return weighted, norms


def _copy(own: Mapping[str, Tensor], target: str, name: str, parts: Parts, source: str) -> None:
    wanted = {key.removeprefix(f"{target}."): t for key, t in own.items() if key.startswith(f"{target}.")}
    optional = {"num_batches_tracked"}
    if (wanted.keys() ^ parts.keys()) - optional:
        missing = sorted((wanted.keys() ^ parts.keys()) - optional)[0]
        verb = "has no" if missing in wanted else "has a"
        raise MismatchError(f"{source}: '{name}' {verb} '{missing}', unlike '{target}'.")
    for part, tensor in wanted.items():
        if part not in parts:
            continue
        given = parts[part]
        # A linear layer after the pool is a 1x1 convolution there.
        if (given.ndim, tensor.ndim) == (2, 4):
            given = given[:, :, None, None]
        if given.shape != tensor.shape:
            raise MismatchError(
                f"{source}: '{name}.{part}' has shape {tuple(given.shape)} where '{target}' needs "
                f"{tuple(tensor.shape)}."
            )
        if not bool(given.isfinite().all()):
            raise CheckpointError(f"{source}: '{name}.{part}' holds values that are not finite.")
        tensor.copy_(given)


def _shifted(parts: Parts, difference: float, name: str, source: str) -> Tensor:
    """Variances to which the space's epsilon may be added instead of the network's."""
    shifted = parts["running_var"].double() + difference
    if not bool((shifted >= 0).all()):
        raise MismatchError(f"{source}: the variances of '{name}' are too small for the space's epsilon.")
    return shifted.to(parts["running_var"].dtype)
