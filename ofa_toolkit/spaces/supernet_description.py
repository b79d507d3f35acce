"""`config.json` of a supernet's folder: its whole space, the part that was trained, its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ofa_toolkit.core.config import to_dict
from ofa_toolkit.core.config_types import Bounds, convert, field_types
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import ConfigError, FileFormatError, MismatchError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.spaces.containment import is_within
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import space_document, space_from_document
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import subnet_document, subnet_from_document
from ofa_toolkit.spaces.supernet_description_v1 import upgraded

FORMAT = FileFormat("ofa-toolkit/supernet", 2, "a description of a supernet", former=(1,))
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARRIED_IMAGES = "batchnorm_images.safetensors"

_TABLES = ("space", "trained_space", "trained_subnet", "recipe")


@dataclass(frozen=True, kw_only=True)
class SupernetSettings:
    """What `Supernet` takes beside its space."""

    use_kernel_transforms: bool = False
    dropout: Annotated[float, Bounds(at_least=0, below=1)] = 0.0
    bn_momentum: Annotated[float, Bounds(above=0, at_most=1)] = 0.1


@dataclass(frozen=True, kw_only=True)
class SupernetDescription:
    """What a supernet's folder says of it.

    Attributes:
        space: Whose largest subnet the weights are; also says how many classes there are.
        trained_space: The part of it whose subnets are of use.
        trained_subnet: The only one of them that is, after fine-tuning; None for supernets.
        settings: Arguments of `Supernet` beside its space.
        class_names: Names of the outputs; empty where they are not stated.
        preprocessing: Size, crop and normalisation, as `Preprocessing`; None where they are not stated.
        recipe: Configuration of the training, as plain values; empty where it is not stated.
        further: Other entries, which are kept and not read.
    """

    space: SearchSpace
    trained_space: SearchSpace
    trained_subnet: Subnet | None = None
    settings: SupernetSettings = field(default_factory=SupernetSettings)
    class_names: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    further: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The content of `config.json`; `read_description` gives back an equal description."""
        document: dict[str, Any] = {
            **FORMAT.header,
            "space": space_document(self.space),
            "space_identity": self.space.identity,
        }
        if self.trained_space != self.space:
            document["trained_space"] = space_document(self.trained_space)
        if self.trained_subnet is not None:
            document["trained_subnet"] = subnet_document(self.trained_subnet)
        stated = {
            "class_names": list(self.class_names),
            "preprocessing": self.preprocessing,
            "recipe": self.recipe,
        }
        return {
            **document,
            "supernet": to_dict(self.settings),
            **{name: value for name, value in stated.items() if value},
            **self.further,
        }


@dataclass(frozen=True, kw_only=True)
class _Entries:
    """The entries whose types are relied on beside the tables of spaces; others are free."""

    space_identity: str
    supernet: SupernetSettings
    class_names: tuple[str, ...] | None = None
    preprocessing: Mapping[str, float | str | tuple[float, ...]] | None = None


_READ = {"format", "version", "recipe", "space", "trained_space", "trained_subnet", *field_types(_Entries)}


def read_description(folder: str | Path) -> SupernetDescription:
    """What the `config.json` of a supernet's folder says; no weights are read.

    Files of version 1, which only name their space, are read too.

    Raises:
        FileFormatError: The folder holds none, or it is no description of a supernet.
        ConfigError: The table of a space is damaged; names the dotted path.
        UnknownNameError: Version 1, and this release has no such space.
        MismatchError: The space is not the one the weights were made for, or the trained part not its part.
        SubnetNotInSpaceError: The trained subnet is not the space's.
    """
    config = _read(Path(folder) / CONFIG_FILE, folder)
    try:
        entries = convert(
            _Entries, {name: config[name] for name in field_types(_Entries) if name in config}, ""
        )
    except ConfigError as error:
        raise FileFormatError(f"'{Path(folder) / CONFIG_FILE}': {error.message}", hint=error.hint) from error
    space = space_from_document(config["space"], f"'{folder}': space")
    if space.identity != entries.space_identity:
        raise MismatchError(
            f"'{folder}': the space in {CONFIG_FILE} was changed: its identity is {space.identity}, "
            f"and {entries.space_identity} was written.",
            hint="Copy the folder again; another space needs another supernet.",
        )
    trained = space
    if "trained_space" in config:
        trained = space_from_document(config["trained_space"], f"'{folder}': trained_space")
        if not is_within(trained, space):
            raise MismatchError(f"'{folder}': trained_space in {CONFIG_FILE} is no part of its space.")
    only = None if "trained_subnet" not in config else subnet_from_document(config["trained_subnet"])
    if only is not None:
        space.check_architecture(only)
    return SupernetDescription(
        space=space,
        trained_space=trained.with_num_classes(space.num_classes),
        trained_subnet=only,
        settings=entries.supernet,
        class_names=entries.class_names or (),
        preprocessing=config.get("preprocessing"),
        recipe=config.get("recipe", {}),
        further={name: value for name, value in config.items() if name not in _READ},
    )


def _read(path: Path, folder: str | Path) -> dict[str, Any]:
    """The document, its format checked and brought into today's form."""
    if not path.is_file():
        raise FileFormatError(
            f"'{folder}' is no supernet folder: it has no {CONFIG_FILE}.",
            hint="Name a folder written by `ofa-tk train`, or a zoo name from `ofa-tk zoo list`.",
        )
    config = read_object(path, FORMAT.what)
    if FORMAT.check(config, f"'{path}'") == 1:
        config = upgraded(config, path)
    if "space" not in config:
        raise FileFormatError(f"'{path}' lacks the entry 'space'.")
    for name in _TABLES:
        if not isinstance(config.get(name, {}), dict):
            raise FileFormatError(f"'{path}': {name}: expected a table, got {config[name]!r}.")
    return config
