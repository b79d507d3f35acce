"""A subnet with the supernet that holds its weights, as commands name the two."""

from __future__ import annotations

from pathlib import Path

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import SubnetFile, SubnetLike, stated_supernet, subnet_file
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike, load_supernet

DEFAULT_SUBNET = Path("subnet.json")


def open_subnet(
    subnet: SubnetLike | None, supernet: SupernetLike | None, resolution: int | None = None
) -> tuple[SubnetFile, LoadedSupernet]:
    """The subnet, and the supernet it is cut from.

    It is read as a member of the supernet's own space, which may offer other resolutions than the
    registered one.

    Args:
        subnet: A subnet, its file or content; None for a single network, or for `./subnet.json`.
        supernet: Supernet that holds its weights; None for the one that the file names.
        resolution: Input size in pixels, in place of what the file says.

    Raises:
        ConfigError: Nobody says which supernet.
        OfaToolkitError: One of them is missing or damaged, or they do not belong together.
    """
    source = load_supernet(supernet) if supernet else None
    if subnet is None:
        subnet = (source and source.only_subnet) or DEFAULT_SUBNET
    if source is None:
        name = _stated_supernet(subnet)
        if name is None:
            raise ConfigError(
                "The subnet does not say which supernet its weights come from.", hint="--supernet NAME|DIR"
            )
        source = load_supernet(name)
    return subnet_file(subnet, source.space, resolution=resolution), source


def _stated_supernet(subnet: SubnetLike) -> str | None:
    if isinstance(subnet, Subnet):
        return None
    return subnet.supernet if isinstance(subnet, SubnetFile) else stated_supernet(subnet)
