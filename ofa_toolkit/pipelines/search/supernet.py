"""What is searched: a supernet, or a space alone."""

from __future__ import annotations

from ofa_toolkit.core import resources
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import ConfigError, FileFormatError, MismatchError, OfaToolkitError
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.spaces import SPACES, SearchSpace
from ofa_toolkit.spaces.containment import is_within
from ofa_toolkit.spaces.space_file import open_space
from ofa_toolkit.zoo.supernet import LoadedSupernet, load_supernet

DEFAULT_SUPERNET = "ofa-mobilenet-v3-w1.0"


def resolve_space(request: SearchRequest) -> tuple[LoadedSupernet | None, SearchSpace]:
    """The supernet that is searched, and the space of its subnets; no supernet where a space alone is meant.

    Raises:
        ConfigError: It is a network that was fine-tuned alone.
        MismatchError: The supernet is of another space than the one named.
    """
    name = request.space or DEFAULT_SUPERNET
    supernet = _zoo_supernet(name) if request.supernet is None else load_supernet(request.supernet)
    if supernet is None:
        return None, open_space(name)
    supernet.check_has_choice()
    space = supernet.trained_space
    if request.space is not None and request.supernet is not None:
        space = _part_of(space, open_space(request.space), supernet.name)
    return supernet, space


def _zoo_supernet(name: str) -> LoadedSupernet | None:
    """The zoo's supernet of that name; None where the name is a space's of which it has a part alone."""
    if name not in resources.entries("zoo"):
        return None
    supernet = load_supernet(name)
    if name not in SPACES:
        return supernet
    is_of_all = supernet.only_subnet is None and is_within(SPACES[name], supernet.trained_space)
    return supernet if is_of_all else None


def _part_of(trained: SearchSpace, wanted: SearchSpace, supernet: str) -> SearchSpace:
    """What of a supernet to search where a space is named too: a part of it, or it as a whole."""
    if is_within(wanted, trained):
        return wanted.with_num_classes(trained.num_classes)
    if is_within(trained.with_resolutions(wanted.resolutions), wanted):
        return trained
    raise MismatchError(
        f"The supernet '{supernet}' is of space '{trained.name}', not of '{wanted.name}'.",
        hint="Leave out --space: the supernet decides it.",
    )


def missing_predictor(space: str, supernet: LoadedSupernet | None) -> OfaToolkitError:
    """The error of a search that needs an accuracy predictor where there is none."""
    otherwise = "or search for the most MACs instead: --maximize macs"
    if supernet is None:
        return ConfigError(
            f"There is no accuracy predictor for the space '{space}' without a supernet.",
            hint=f"Name a supernet with --supernet or a predictor file with --predictor, {otherwise}",
        )
    build = command_line("predictor", "build", "--supernet", supernet.name, "--data", "DATA")
    return FileFormatError(
        f"The supernet '{supernet.name}' has no accuracy predictor.",
        hint=f"Build one: {build}, {otherwise}",
    )
