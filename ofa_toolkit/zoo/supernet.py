"""One object for a supernet that can be used; it imports no torch until weights are needed."""

from __future__ import annotations

import difflib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_toolkit.core import files, resources, toml
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import ConfigError, MismatchError, StoreError, unknown_name
from ofa_toolkit.core.quantities import first_names
from ofa_toolkit.evaluation.predictor.file import read_predictor
from ofa_toolkit.evaluation.predictor.predictor import FILE_NAME, AccuracyPredictor
from ofa_toolkit.spaces import SPACES
from ofa_toolkit.spaces.official_files import network_folder
from ofa_toolkit.spaces.space_file import space_reference
from ofa_toolkit.spaces.subnet_file import SubnetLike, subnet_file
from ofa_toolkit.spaces.supernet_description import (
    CONFIG_FILE,
    WEIGHTS_FILE,
)
from ofa_toolkit.zoo.described import DescribedSupernet
from ofa_toolkit.zoo.entries import HUB_PREFIX, is_hub_name, load_entry, refuse_link

if TYPE_CHECKING:
    from ofa_toolkit.datasets import ImageDataset
    from ofa_toolkit.supernets import Supernet
    from ofa_toolkit.supernets.batchnorm.carried_statistics import CarriedStatistics
    from ofa_toolkit.supernets.extracted import ExtractedNetwork
    from ofa_toolkit.zoo.store import Store

RUN_SUPERNET_FOLDER = "supernet"


class LoadedSupernet(DescribedSupernet):
    """A supernet that can be used, from `load_supernet`: what it is at once, weights when first needed."""

    @property
    def own_predictor_file(self) -> Path:
        """Where a predictor that the user builds goes: for a zoo name beside the user's own entries."""
        return self._own_folder / FILE_NAME

    @property
    def predictor_file(self) -> Path:
        """Where its accuracy predictor lies, the user's own before the zoo's, or would lie."""
        own = self.own_predictor_file
        return own if own.is_file() else self._files / FILE_NAME

    @cached_property
    def predictor(self) -> AccuracyPredictor | None:
        """The supernet's accuracy predictor; None where there is none.

        Raises:
            MismatchError: The predictor was built for other weights.
        """
        if not self.predictor_file.is_file():
            return None
        predictor = read_predictor(self.predictor_file)
        self.check_predictor(predictor)
        return predictor

    def check_predictor(self, predictor: AccuracyPredictor) -> None:
        """Refuse a predictor that was built for other weights than those beside the description."""
        made_for = predictor.card.supernet_identity
        if made_for == "unknown" or not (self._files / WEIGHTS_FILE).is_file() or made_for == self.identity:
            return
        build = command_line("predictor", "build", "--supernet", self.name, "--data", "DATA")
        raise MismatchError(
            f"The accuracy predictor was built for other weights ({made_for[:12]}) than those in "
            f"'{self._files}' ({self.identity[:12]}).",
            hint=f"Build it again: {build}",
        )

    @cached_property
    def network(self) -> Supernet:
        """The elastic network with its weights, in evaluation mode on the CPU; leave it unchanged.

        Raises:
            StoreError: The entry's weights cannot be fetched.
            CheckpointError, MismatchError: The weights are missing, damaged or another supernet's.
        """
        from ofa_toolkit.supernets import read_supernet

        return read_supernet(self.folder)

    @cached_property
    def carried_statistics(self) -> CarriedStatistics | None:
        """What its folder carries for batch-norm statistics; None where it carries nothing."""
        from ofa_toolkit.supernets.batchnorm.carried_statistics import read_carried_statistics

        return read_carried_statistics(self.folder, self.preprocessing)

    def open_images(
        self,
        data: str,
        *,
        validation_size: int | None = None,
        test_size: int | None = None,
        download: bool = False,
        num_workers: int = 0,
        has_any_classes: bool = False,
    ) -> ImageDataset:
        """Open a data set, prepared as the supernet's training images were.

        The held-out splits are made as in its training (sizes and seed from its recipe), so that no training
        image is among the held-out ones.

        Args:
            data: Such as `imagefolder:DIR` or `npz:FILE`.
            validation_size: Images held out of train, instead of as many as in training.
            test_size: Images set aside as test set, likewise.
            download: Fetch the files where torchvision can.
            num_workers: Processes that load photos.
            has_any_classes: Take it with other classes too, for a network that was trained on since.

        Raises:
            DataError: The data set is missing or malformed.
            MismatchError: It has other classes.
        """
        from ofa_toolkit.datasets import TransformConfig, open_dataset
        from ofa_toolkit.datasets.report import check_sizes_are_used

        stored = self.recipe.get("data", {})
        dataset = open_dataset(
            data,
            validation_size=validation_size or stored.get("validation_size"),
            test_size=test_size or stored.get("test_size"),
            convert=stored.get("convert", False) and data.startswith("npz:"),
            seed=stored.get("split_seed", 0),
            preprocessing=self.preprocessing,
            transforms=TransformConfig(**stored.get("transforms", {})),
            resolution=max(self.space.resolutions),
            download=download,
            num_workers=num_workers,
        )
        check_sizes_are_used(dataset, validation_size, test_size)
        if not has_any_classes:
            self._check_classes(dataset)
        return dataset

    def _check_classes(self, dataset: ImageDataset) -> None:
        if dataset.num_classes < self.space.num_classes and dataset.name_outputs(self.class_names):
            return
        hint = self._how_to_train_on(dataset.source)
        if dataset.num_classes != self.space.num_classes:
            raise MismatchError(
                f"'{self.name}' has {self.space.num_classes} classes, {dataset.name} {dataset.num_classes}.",
                hint=hint,
            )
        are_numbers = all(name.isdecimal() for name in dataset.class_names)
        if self.class_names not in ((), dataset.class_names) and not are_numbers:
            raise MismatchError(
                f"'{self.name}' was trained on the classes {first_names(self.class_names)}; "
                f"{dataset.name} has {first_names(dataset.class_names)}.",
                hint=hint,
            )

    def _how_to_train_on(self, data: str) -> str:
        # A bundled entry is named after its recipe, whatever its own run was called.
        known = resources.entries("configs")
        recipe = next((r for r in (str(self.recipe.get("recipe")), self.name) if r in known), None)
        if recipe is None:
            return "Use the images it was trained for."
        words = ["--recipe", recipe, "--init", self.name, "--data", data]
        named = space_reference(self.space)
        if named != toml.load(known[recipe].path)["space"]["name"]:
            words += ["--space", named if isinstance(named, str) else self.name]
        command = command_line("train", *words, "--out", files.free_path(Path("runs/mine")))
        return f"Train it on yours: {command}"

    def extract(
        self, subnet: SubnetLike, *, data: str | ImageDataset | None = None, keep_batchnorm: bool = False
    ) -> ExtractedNetwork:
        """Cut a subnet out as a plain network with batch-norm statistics of its own.

        Args:
            subnet: A member of the space: as a search found it, or its file.
            data: Images for the statistics; without them those that the supernet carries.
            keep_batchnorm: Keep the supernet's statistics, which fit none of its subnets well.

        Returns:
            Network from `(N, 3, R, R)` images to `(N, num_classes)` logits, R = `subnet.resolution`, in
            evaluation mode on the CPU.

        Raises:
            SubnetNotInSpaceError: The subnet is not in the space.
            ExportError: There are no images for the statistics.
        """
        from ofa_toolkit.zoo.extraction import extract_subnet

        found = subnet_file(subnet, self.space)
        return extract_subnet(self, found, data=data, keep_batchnorm=keep_batchnorm)

    def trained_since(self, identity: str) -> LoadedSupernet:
        """What a network has of it that was cut out and trained on: its classes and images, other weights.

        Args:
            identity: SHA-256 of the network's folded weights.
        """
        other = load_supernet(self.name, store=self._store)
        other.name = f"a network trained since it was cut out of {self.name}"
        other.__dict__["identity"] = identity
        return other

    def __deepcopy__(self, memo: object) -> LoadedSupernet:
        # Networks hold it as their origin, and are copied without copying all of the supernet.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return load_supernet, (self.name,)


SupernetLike = str | os.PathLike[str] | LoadedSupernet
"""What names a supernet: a zoo name, a folder, `hf-hub:USER/REPO`, or the loaded object itself."""


def load_supernet(supernet: SupernetLike, *, store: Store | None = None) -> LoadedSupernet:
    """The supernet of that name or folder; an entry's weights are fetched when they are first needed.

    A zoo name comes first; to name a folder that is called like an entry, write `./NAME`. A folder may be
    a supernet's, or a training run's, which holds its final supernet in `supernet/`.

    Args:
        supernet: A zoo name, a folder, `hf-hub:USER/REPO[@REVISION]`, or a loaded supernet.
        store: The cache of downloads; default the user's own.

    The folder of one published network (`net.config` and `init`) is a supernet with a single subnet.

    Raises:
        StoreError: The entry can only be linked to, or the folder holds no supernet.
        UnknownNameError: Neither an entry nor a folder.
        FileFormatError: The supernet's description is damaged.
    """
    if isinstance(supernet, LoadedSupernet):
        return supernet
    text = os.fspath(supernet)
    if is_hub_name(text):
        from ofa_toolkit.zoo.hub import hub_folder

        # What the user makes for it does not go into the library's cache.
        own = resources.user_data_path("zoo") / text.removeprefix(HUB_PREFIX).replace("/", "--")
        return LoadedSupernet(text, hub_folder(text), own_folder=own)
    is_path = os.sep in text or text.startswith(".")
    found = None if is_path else resources.entries("zoo").get(text)
    if found is None:
        return LoadedSupernet(text, _folder(text))
    entry = load_entry(found.path, found.origin)
    refuse_link(entry)
    own = resources.user_data_path("zoo") / text
    if entry.card.availability == "included":
        return LoadedSupernet(text, entry.folder, own_folder=own)
    return LoadedSupernet(text, entry.folder, entry=entry, store=store, own_folder=own)


def load_accuracy_predictor(source: str | os.PathLike[str]) -> AccuracyPredictor:
    """The predictor in a file, or that of a supernet as `load_supernet` names it, where searches find it.

    Raises:
        StoreError, UnknownNameError: Neither a file nor a supernet.
        FileFormatError: There is none, or it is damaged, of another format or version.
    """
    path = Path(source)
    is_file = path.is_file() or path.suffix == Path(FILE_NAME).suffix
    return read_predictor(path if is_file else load_supernet(source).predictor_file)


_NAME_ONE = "Name a folder written by `ofa-tk train`, or a zoo name from `ofa-tk zoo list`."


def _folder(text: str) -> Path:
    path = Path(text).expanduser()
    network = network_folder(path)
    if network is not None:
        from ofa_toolkit.zoo.network_folder import converted_network

        return converted_network(network)
    if path.is_dir():
        for folder in (path, path / RUN_SUPERNET_FOLDER):
            if (folder / CONFIG_FILE).is_file():
                return folder
        raise StoreError(
            f"'{text}' is no supernet folder: it has no {CONFIG_FILE}.",
            hint=_NAME_ONE,
        )
    if os.sep in text:
        beside = [each.name for each in path.parent.glob("*") if each.is_dir()]
        close = difflib.get_close_matches(path.name, beside, n=1)
        hint = f"Did you mean '{path.parent / close[0]}'?" if close else _NAME_ONE
        raise StoreError(f"No such folder: '{text}'.", hint=hint)
    if text in SPACES:
        raise ConfigError(
            f"'{text}' is a search space, not a supernet.",
            hint=f"`ofa-tk zoo list --space {text}` lists its supernets.",
        )
    raise unknown_name("supernet", text, resources.entries("zoo"))
