"""What is said of a supernet, by its folder or by its card, without a look at its weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ofa_toolkit.core import config, files, toml
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import CheckpointError, ConfigError
from ofa_toolkit.spaces import SearchSpace, get_space
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.spaces.supernet_description import (
    CARRIED_IMAGES,
    WEIGHTS_FILE,
    SupernetDescription,
    read_description,
)
from ofa_toolkit.zoo.card import CARD_FILE, Card, read_card
from ofa_toolkit.zoo.entries import ZooEntry

if TYPE_CHECKING:
    from ofa_toolkit.datasets import Preprocessing
    from ofa_toolkit.zoo.store import Store

_IMAGENET = "ImageNet (ILSVRC 2012)"


class DescribedSupernet:
    """A supernet's name, spaces, classes, preprocessing and origin.

    Attributes:
        name: As the user named it: a zoo name, a folder, or `hf-hub:USER/REPO`.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        entry: ZooEntry | None = None,
        store: Store | None = None,
        own_folder: Path | None = None,
    ) -> None:
        self.name = name
        self._files = folder
        self._own_folder = own_folder or folder
        self._entry = entry
        self._store = store
        self._description = read_description(folder) if entry is None else _described(entry.card)

    @cached_property
    def folder(self) -> Path:
        """The folder with its weights; an entry's checkpoint is fetched and converted at the first time.

        Raises:
            StoreError: It cannot be fetched.
            CheckpointError, MismatchError: The downloaded file is not what its card says.
        """
        if self._entry is None:
            return self._files
        from ofa_toolkit.zoo.resolving import supernet_folder

        return supernet_folder(self._entry, self._store)

    @property
    def space(self) -> SearchSpace:
        """The whole space, with its classes and resolutions."""
        return self._description.space

    @property
    def trained_space(self) -> SearchSpace:
        """The part of the space that was trained, which is all of it where nothing else is said."""
        return self._description.trained_space

    @property
    def only_subnet(self) -> Subnet | None:
        """The one subnet that was trained, by fine-tuning or because nothing is elastic; else None.

        At the largest resolution where an architecture has several.
        """
        trained = self.trained_space
        return trained.largest() if trained.has_one_architecture else self._finetuned_subnet

    @cached_property
    def _finetuned_subnet(self) -> Subnet | None:
        stated = self._description.trained_subnet
        if stated is None and self.recipe.get("algorithm", {}).get("name") == "single":
            # Runs of earlier releases have it in a file beside their weights, and nowhere else.
            for file in (self._files / "subnet.json", self._files.parent / "subnet.json"):
                if file.is_file():
                    return read_subnet(file, self.space).subnet
        return stated

    def check_has_choice(self) -> None:
        """Raise `ConfigError` where the space offers subnets that fine-tuning has left behind."""
        if not self.trained_space.has_one_architecture and self._finetuned_subnet is not None:
            export = command_line("export", "--supernet", self.name, "--target", "onnxruntime-cpu", "--onnx")
            raise ConfigError(
                f"'{self.name}' was fine-tuned for one subnet; its others are of no use.",
                hint=f"Use that one: {export}",
            )

    @cached_property
    def identity(self) -> str:
        """SHA-256 of its weights file, as 64 hexadecimal digits."""
        if not (self.folder / WEIGHTS_FILE).is_file():
            raise CheckpointError(f"'{self.folder}' has no {WEIGHTS_FILE}.", hint="Copy the folder again.")
        return files.sha256(self.folder / WEIGHTS_FILE)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the outputs; empty where they are not stated."""
        return self._description.class_names

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs for people: where an entry for ImageNet states none, its classes' titles."""
        if self.class_names or not self._is_of_imagenet:
            return self.class_names
        from ofa_toolkit.datasets.imagenet_names import imagenet_titles

        return tuple(imagenet_titles().values())

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How an image becomes network input; None where it is not stated."""
        return cast("Preprocessing | None", self._description.preprocessing)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed when it was converted, such as a resolution that no file states."""
        notes = self._description.further.get("notes", ())
        return tuple(str(note) for note in notes) if isinstance(notes, (list, tuple)) else ()

    @property
    def batchnorm_statistics(self) -> str | None:
        """Which subnet the stored batch-norm statistics are of, in words; None where that is not stated."""
        stated = self._description.further.get("batchnorm_statistics")
        return None if stated is None else str(stated)

    @cached_property
    def _card(self) -> Card | None:
        """The card of an entry: of one to download, or the one that lies beside the weights."""
        if self._entry is not None:
            return self._entry.card
        return read_card(self._files) if (self._files / CARD_FILE).is_file() else None

    @property
    def _is_of_imagenet(self) -> bool:
        data = None if self._card is None else self._card.data
        return data is not None and (data.name, data.num_classes) == (_IMAGENET, 1000)

    @property
    def test_top1_of_largest(self) -> float | None:
        """What the entry's card measured of the largest subnet on test images, in percent; None without."""
        facts = () if self._card is None else self._card.accuracy
        found = [fact for fact in facts if fact.subnet == "largest" and fact.split == "test"]
        return max(found, key=lambda fact: fact.resolution).top1_percent if found else None

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe it was trained by, as plain values; empty where it is not stated."""
        return self._description.recipe

    @property
    def use_kernel_transforms(self) -> bool:
        """Whether smaller kernels pass through learned matrices; an entry's card does not tell."""
        settings = (
            self._description.settings if self._entry is None else read_description(self.folder).settings
        )
        return settings.use_kernel_transforms

    @property
    def images_for_statistics(self) -> str | None:
        """Training images that give its subnets batch-norm statistics; in `DIR` where nobody says where.

        None for a single network, which has its own, and where its folder carries some.
        """
        if self.only_subnet is not None or (self._files / CARRIED_IMAGES).is_file():
            return None
        # A run's own file names them with their folder, which what is passed on leaves out.
        run = self._files.parent / "run.toml"
        recipe = toml.load(run) if run.is_file() else self.recipe
        trained_on = recipe.get("data", {}).get("source")
        return str(trained_on or ("imagenet:DIR" if self._is_of_imagenet else "imagefolder:DIR"))

    @property
    def images_to_type(self) -> str | None:
        """As `images_for_statistics`, for a command typed here: in `DIR` or `FILE` where they are elsewhere.

        A run states their place as it was typed, often relative to the folder of its training.
        """
        images = self.images_for_statistics
        kind, _, place = (images or "").partition(":")
        if kind == "fake" or not place or Path(place).expanduser().exists():
            return images
        return f"{kind}:{'FILE' if kind == 'npz' else 'DIR'}"

    def has_statistics_of(self, subnet: Subnet) -> bool:
        """Whether the stored batch-norm statistics are a subnet's own: it is the one network trained."""
        only = self.only_subnet
        if only is None:
            return False
        # One architecture has them for all its input sizes; a fine-tuned subnet for its own.
        return subnet == only or (self.trained_space.has_one_architecture and subnet.stages == only.stages)


def _described(card: Card) -> SupernetDescription:
    """What a card tells of weights that are not converted yet."""
    assert card.space is not None
    space = get_space(card.space).with_num_classes(card.data.num_classes)
    preprocessing = None if card.preprocessing is None else config.to_dict(card.preprocessing)
    return SupernetDescription(space=space, trained_space=space, preprocessing=preprocessing)
