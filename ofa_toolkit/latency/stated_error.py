"""Which of a variant's errors is that of the thing asked for, and how it reads.

A variant states several errors, each with its kind. What stands beside a prediction is the error of a whole
network of the asked kind on this very device, the worst that applies. Where no such network was timed there,
the figure is `unchecked`, and what stands beside it is the range over the other devices on which the same
procedure could be checked, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ofa_toolkit.latency.device import Error, Variant
from ofa_toolkit.spaces import SearchSpace, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.space_file import is_misnamed

UNCHECKED = "unchecked"
RESNET = "ResNet"
_WHOLE = ("networks", "families")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a latency is wanted of.

    Attributes:
        family: `MobileNetV3`, `MobileNetV2` or `ResNet`, by its layers.
        space: Name of its search space; None for networks of none, and where another space has that name.
    """

    family: str
    space: str | None = None

    @classmethod
    def of_space(cls, space: SearchSpace) -> Asked:
        """Subnets of a space."""
        name = None if is_misnamed(space) else space.name
        return cls(family=family_of(lower(space, space.largest())), space=name)


@dataclass(frozen=True, kw_only=True)
class StatedError:
    """An error as it stands beside a latency.

    Attributes:
        percent: Mean absolute error in percent, the worst one that applies; None where nothing is known.
        is_checked: Whether it was found on this device.
        how: Networks it was found on, and what was held out; None where nothing is known.
        by_device: Mean errors in percent on other devices by the same procedure, where it is unchecked.
        text: All of it, short.
        within_percent: Range of nine of ten measured times relative to the prediction; None where unknown.
    """

    percent: float | None
    is_checked: bool
    how: str | None
    by_device: dict[str, float]
    text: str
    within_percent: tuple[float, float] | None = None

    def interval_around(self, prediction: float) -> tuple[float, float] | None:
        """Where nine of ten such predictions' measurements lie; None where that is unknown."""
        if self.within_percent is None:
            return None
        low, high = (prediction * (1 + percent / 100) for percent in self.within_percent)
        return low, high

    def expectation(self, *, is_far: bool) -> str:
        """What to expect of a network that lies outside what was fitted, perhaps far outside."""
        if self.percent is None or is_far:
            return "how far it is off is unchecked"
        where = "" if self.is_checked else f" as on {_listed(self.by_device)}, unchecked here"
        return f"expect about {self.percent:.0f} %{where}"


def family_of(layers: Sequence[LayerSpec]) -> str:
    """The kind of network whose latency behaves alike, by what it is made of."""
    if any(layer.kind == "scale" or layer.activation == "h_swish" for layer in layers):
        return "MobileNetV3"
    return "MobileNetV2" if any(layer.is_depthwise for layer in layers) else RESNET


def stated_error(variant: Variant, asked: Asked) -> StatedError:
    """The error of what is asked for."""
    whole = [error for error in variant.errors if error.kind in _WHOLE]
    own = [error for error in whole if error.device is None]
    applying = [e for e in own if e.kind == "families" or e.space in (asked.space, asked.family)]
    return _stated(applying, whole)


def error_of_mobile_networks(variant: Variant) -> StatedError:
    """The error of whole mobile networks of the kind that was measured, for a list of variants."""
    whole = [error for error in variant.errors if error.kind in _WHOLE]
    return _stated([error for error in whole if error.device is None and error.space != RESNET], whole)


def _stated(applying: Sequence[Error], whole: Sequence[Error]) -> StatedError:
    """The worst that applies, else what is known of other devices, else of other networks of this one."""
    if applying:
        worst = max(applying, key=lambda error: error.worst_percent)
        return StatedError(
            percent=worst.worst_percent,
            is_checked=True,
            how=worst.how_found,
            by_device={},
            text=_figure(worst),
            within_percent=worst.within_percent,
        )
    by_device: dict[str, float] = {}
    for error in whole:
        if error.device is not None:
            by_device[error.device] = max(error.worst_percent, by_device.get(error.device, 0.0))
    if by_device:
        low, high = (f"{end(by_device.values()):.2g}" for end in (min, max))
        span = f"{low} %" if low == high else f"{low} to {high} %"
        return StatedError(
            percent=max(by_device.values()),
            is_checked=False,
            how=next(error.how_found for error in whole if error.device is not None),
            by_device=by_device,
            text=f"{UNCHECKED} here, {span} on {_listed(by_device)}",
        )
    others = [f"{error.worst_percent:g} % on {error.space}" for error in whole]
    text = f"{UNCHECKED} for such networks, {others[0]}" if others else UNCHECKED
    return StatedError(percent=None, is_checked=False, how=None, by_device={}, text=text)


def _figure(error: Error) -> str:
    """A mean, or single networks where there are few."""
    if not error.listed:
        reach = ""
        if error.within_percent is not None:
            low, high = error.within_percent
            reach = f"; nine of ten within {low:+.0f} to {high:+.0f} %"
        return f"mean error {error.mape_percent:g} %{reach}"
    return f"error {_listed(f'{value:+.0f}' for value in error.listed)} %"


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
