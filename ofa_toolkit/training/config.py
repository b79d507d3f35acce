"""The configuration of a training run: what a recipe file holds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core import toml
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError, FileFormatError
from ofa_toolkit.core.precision import ALIASES, TrainingPrecision
from ofa_toolkit.datasets.stand_in import StandInName
from ofa_toolkit.datasets.transforms import TransformConfig
from ofa_toolkit.spaces import SearchSpace, get_space, restrict
from ofa_toolkit.spaces.space_file import names_a_file, open_space, space_document
from ofa_toolkit.training import ALGORITHMS
from ofa_toolkit.training.algorithm import AlgorithmConfig
from ofa_toolkit.training.freezing import Freeze
from ofa_toolkit.training.schedules import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class SpaceConfig:
    """Which subnets train. The supernet is always that of the whole space."""

    name: str
    "Name of the search space, or a TOML file with one, which is read once and kept in `table`."
    table: SearchSpace | None = None
    "The space itself, where it is none of the registered ones."
    kernel_sizes: tuple[int, ...] = ()
    "Train these kernel sizes only; all where empty."
    depths: tuple[int, ...] = ()
    "Train these depths only; all where empty."
    expand_ratios: tuple[float, ...] = ()
    "Train these expand ratios only; all where empty."
    resolutions: tuple[int, ...] = ()
    "Input sizes in pixels, replacing those of the space; one is drawn for each batch."

    def __post_init__(self) -> None:
        if self.table is not None and self.table.name != self.name:
            raise ConfigError(f"name: '{self.name}' is not that of the table, '{self.table.name}'.")

    @property
    def base(self) -> SearchSpace:
        """The space as named or given, before anything is chosen."""
        return self.table or get_space(self.name)

    def whole(self, num_classes: int) -> SearchSpace:
        """The space of the supernet."""
        space = self.base.with_num_classes(num_classes)
        return space.with_resolutions(self.resolutions) if self.resolutions else space

    def trained(self, num_classes: int) -> SearchSpace:
        """The part of it whose subnets train."""
        return restrict(
            self.whole(num_classes),
            depths=self.depths or None,
            kernel_sizes=self.kernel_sizes or None,
            expand_ratios=self.expand_ratios or None,
        )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where images come from and what happens to them."""

    source: str | None = None
    "The data set, such as npz:FILE or imagefolder:DIR; usually given by --data."
    made_for: StandInName | None = None
    "The data set a recipe is for; --dry-run without --data counts and times as many images of noise."
    validation_size: Annotated[int, Bounds(at_least=1)] | None = None
    "Images held out of train; none means a tenth, at most 10,000."
    test_size: Annotated[int, Bounds(at_least=1)] | None = None
    "Images set aside as test set, for folders without one; none means a fifth."
    split_seed: Annotated[int, Bounds(at_least=0)] = 0
    "Seed of the held-out splits."
    convert: bool = False
    "For npz: take grey images as three equal channels and floats from 0 to 1 as 8 bits."
    class_weights: Literal["none", "balanced"] = "none"
    """In the loss with labels: balanced lets classes count alike, however many images they have. Losses with
    soft labels follow the network they imitate."""
    num_workers: Annotated[int, Bounds(at_least=0)] = 0
    "Processes that load photos; sets of small images need none."
    class_list: Path | None = None
    "For imagenet100: a text file of class folders; the published list where none."
    unlabelled: Path | None = None
    """A folder of photos without labels: in phases of several networks, as many of them as of labelled images
    join each update, and networks learn what others predict for them."""
    transforms: TransformConfig = field(default_factory=TransformConfig)
    "Augmentation."


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The training loop."""

    epochs: Annotated[int, Bounds(at_least=1)]
    "Passes over the training images, all phases together."
    batch_size: Annotated[int, Bounds(at_least=1)]
    "Images of an update, over all processes and accumulation steps."
    accumulation: Annotated[int, Bounds(at_least=1)] = 1
    "Parts a batch is computed in, to save memory; batch norm sees one part at a time."
    label_smoothing: Annotated[float, Bounds(at_least=0, below=1)] = 0.1
    "Share of the probability that label smoothing spreads over all classes."
    dropout: Annotated[float, Bounds(at_least=0, below=1)] = 0.1
    "Probability before the classifier."
    bn_momentum: Annotated[float, Bounds(above=0, at_most=1)] = 0.1
    "Share of the new batch in batch norm's running statistics."
    clip_norm: Annotated[float, Bounds(above=0)] | None = None
    "Largest norm of the whole gradient."
    clip_value: Annotated[float, Bounds(above=0)] | None = None
    "Largest absolute value of a gradient entry."
    ema_decay: Annotated[float, Bounds(above=0, below=1)] | None = None
    "Keep a moving average of the weights with this decay an update; it is validated and saved."
    precision: TrainingPrecision = "fp32"
    "Arithmetic of the forward and backward passes; fp16 needs a GPU."
    channels_last: bool = True
    "Memory order of images and weights; faster on most devices."
    compile: bool = False
    """Compile the largest and the smallest network at each resolution with torch.compile, which takes minutes
    each; random ones stay as they are."""
    sync_batchnorm: bool = False
    "Whether batch norm uses the statistics of all processes."
    record_gradients_every: Annotated[int, Bounds(at_least=1)] | None = None
    "Updates between records of the gradient's norm in metrics.jsonl, that of the first network and of all."
    read_losses_every: Annotated[int, Bounds(at_least=1)] | None = None
    """Updates whose losses are read at once, since a GPU stands still for each reading; a request to stop is
    answered, and divergence is noticed, only then. None for 10 on a GPU and 1 on a CPU."""
    freeze: Freeze = field(default="none", metadata={"is_later": True})
    """Layers that keep the weights of `init`, batch norm and its statistics too: the body is all but the
    classifier, a number the stem and so many stages. What `start` fits and sorting moves comes first."""
    seed: Annotated[int, Bounds(at_least=0)] = 0
    "Start of all random streams."


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer. Weight decay spares biases and batch norm."""

    kind: Literal["sgd", "muon", "rmsprop", "adamw"] = "sgd"
    """SGD with Nesterov momentum; Muon, which makes the steps of convolutions that mix channels orthogonal
    and leaves the rest to SGD; RMSprop, or AdamW."""
    momentum: Annotated[float, Bounds(at_least=0, below=1)] = 0.9
    "Momentum of SGD, Muon and RMSprop; the first beta of AdamW."
    nesterov: bool = True
    "Whether SGD and Muon use Nesterov's momentum."
    matrix_rate: Annotated[float, Bounds(above=0)] = 0.2
    "Muon: rate of the orthogonal steps, as a share of the schedule's."
    weight_decay: Annotated[float, Bounds(at_least=0)] = 3e-5
    "Weight decay of convolution, linear and kernel-matrix weights."


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What is judged on the held-out images during training."""

    every_epochs: Annotated[int, Bounds(at_least=1)] = 1
    "Epochs between validations; the last epoch is always validated."
    images: Annotated[int, Bounds(at_least=1)] | None = None
    "Judge on this many held-out images, the same each time; all where none."
    recalibration_images: Annotated[int, Bounds(at_least=1)] = 2000
    "Training images for the batch-norm statistics of each subnet."
    batch_size: Annotated[int, Bounds(at_least=1)] = 200
    "Images of a forward pass."
    subnets: Mapping[str, Path] = field(default_factory=dict)
    "Further subnets to judge beside the smallest and the largest: a name and its subnet.json each."


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """What is kept so that nothing is lost."""

    every_minutes: Annotated[float, Bounds(above=0)] = 10.0
    "Write one at least this often."
    every_steps: Annotated[int, Bounds(at_least=1)] | None = None
    "Also write one every so many updates."
    snapshots: tuple[Annotated[float, Bounds(above=0, at_most=1)], ...] = ()
    """Also keep the supernet as it is after these shares of the epochs, in snapshots/; for the command
    `study initialization`."""
    keep: Annotated[int, Bounds(at_least=1)] = 2
    "Number of the latest checkpoints to keep, beside the best."


@dataclass(frozen=True, kw_only=True)
class DivergenceConfig:
    """What happens when the loss is not a number or jumps to chance."""

    rollbacks: Annotated[int, Bounds(at_least=0)] = 1
    "Number of times that a run may go back to the last checkpoint with a lower rate before it stops."
    rate_factor: Annotated[float, Bounds(above=0, below=1)] = 0.5
    "The learning rate is multiplied by this after going back."
    window: Annotated[int, Bounds(at_least=1)] = 50
    "Updates over which the loss is averaged to tell a jump from noise."


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """What is done with the weights of `init` before the first update."""

    fit_batchnorm: bool = False
    """Make batch norm's statistics those of the training images, while the largest network computes the same
    as before; for pretrained networks and images of few classes."""
    probe: bool = False
    "Fit the classifier to the largest network's features by logistic regression."


@dataclass(frozen=True, kw_only=True)
class FinishConfig:
    """What follows training."""

    predictor_subnets: Annotated[int, Bounds(at_least=30)] | None = None
    "Measure this many subnets on held-out images and fit an accuracy predictor to them; none leaves it out."


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a training run."""

    recipe: str = "custom"
    "Name of the recipe."
    space: SpaceConfig
    "Search space, and its part that is trained."
    data: DataConfig = field(default_factory=DataConfig)
    "Images and their augmentation."
    algorithm: AlgorithmConfig
    "Training method and its settings."
    training: LoopConfig
    "The loop."
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    "The optimizer."
    schedule: ScheduleConfig
    "The learning rate over the run."
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    "Validation during training."
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    "Checkpoints and snapshots."
    divergence: DivergenceConfig = field(default_factory=DivergenceConfig)
    "What happens when training diverges."
    init: str | None = None
    """Weights to start from: a zoo name, a folder, `torchvision:NAME`, `timm:NAME`, or the file of a state
    dictionary, whose network must be of the space."""
    start: StartConfig = field(default_factory=StartConfig)
    "Fits to the images before training, for weights that `init` names."
    teacher: str | None = None
    """A zoo name or a folder: what that supernet's largest network predicts takes the place of the labels,
    which are only used to judge. Its classes become the run's; where it lacks one of the images', agreement
    with it is what is judged."""
    teacher_resolution: Annotated[int, Bounds(at_least=1)] | None = None
    "Side in pixels that the teacher sees every image at; none for the size of the step."
    minutes: Annotated[float, Bounds(above=0)] | None = None
    """Fit resolution, batch size and number of epochs to the images and to this time on the machine where the
    run starts; none takes them as they are, and so does whoever names a number of epochs."""
    finish: FinishConfig = field(default_factory=FinishConfig)
    "Steps that follow training."
    tensorboard: bool = True
    "Whether TensorBoard events are written beside metrics.jsonl."

    def __post_init__(self) -> None:
        if self.training.batch_size % self.training.accumulation:
            raise ConfigError(
                f"training.accumulation: {self.training.accumulation} does not divide the batch size "
                f"{self.training.batch_size}."
            )
        uses_init = {f"start.{name}": value for name, value in dataclasses.asdict(self.start).items()}
        for name, value in {**uses_init, "training.freeze": self.training.freeze != "none"}.items():
            if value and self.init is None:
                raise ConfigError(f"{name}: there are no weights to start from.", hint="--init NAME")
        if self.data.unlabelled is not None and self.teacher is None and not self.algorithm.imitates:
            raise ConfigError(
                f"data.unlabelled: with these settings '{self.algorithm.name}' learns from labels alone."
            )
        if self.start.probe and self.teacher is not None:
            raise ConfigError("start.probe: a teacher takes the place of the labels.")
        if self.teacher is None and self.teacher_resolution is not None:
            raise ConfigError("teacher_resolution: there is no teacher to see images at that size.")
        for name, value, unused in (
            ("training.label_smoothing", self.training.label_smoothing, 0),
            ("data.class_weights", self.data.class_weights, "none"),
        ):
            if self.teacher is not None and value != unused:
                raise ConfigError(
                    f"{name}: '{value}' is for labels, and a teacher takes their place.",
                    hint=f"--set {name}={unused}",
                )


def from_values(values: Mapping[str, Any], *, source: str | None = None) -> RunConfig:
    """Build a run's configuration from nested plain values.

    Raises:
        ConfigError: A setting is unknown, missing or bad; names its dotted path.
        UnknownNameError: No such training method.
    """
    values = _with_short_precision(_with_space_table(values))
    table = dict(values.get("algorithm", {}))
    if "name" not in table:
        raise ConfigError(
            f"{source or 'The configuration'}: algorithm.name is missing; one of {', '.join(ALGORITHMS)}."
        )
    algorithm_class = ALGORITHMS[str(table["name"])]
    # Read apart, so that a new method is one file and one line in the registry.
    holder = dataclasses.make_dataclass("Holder", [("algorithm", algorithm_class)], frozen=True, kw_only=True)
    read: Any = configuration.from_dict(holder, {"algorithm": table}, source=source)
    values["algorithm"] = read.algorithm
    return configuration.from_dict(RunConfig, values, source=source)


def _with_short_precision(values: dict[str, Any]) -> dict[str, Any]:
    """The values with the precision's name here, where files of earlier releases have torch's."""
    loop = values.get("training")
    if not isinstance(loop, Mapping) or not isinstance(loop.get("precision"), str):
        return values
    precision = loop["precision"]
    return {**values, "training": {**loop, "precision": ALIASES.get(precision, precision)}}


def _with_space_table(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the space that a file named in `space.name` holds, so that a run needs no file."""
    space = values.get("space")
    if not isinstance(space, Mapping) or not isinstance(space.get("name"), str) or "table" in space:
        return dict(values)
    if not names_a_file(space["name"]):
        return dict(values)
    found = open_space(space["name"])
    return {**values, "space": {**space, "name": found.name, "table": space_document(found)}}


def load(
    path: str | os.PathLike[str], overrides: Iterable[str] = (), *, space: str | None = None
) -> RunConfig:
    """Read a recipe or a run's resolved configuration, with `--set` overrides on top.

    Args:
        path: The TOML file.
        overrides: `a.b=c`, the last of a name wins.
        space: A space by name, file or supernet folder in place of all that the file says of one.

    Raises:
        ConfigError: The file cannot be read, or a setting is bad.
    """
    try:
        values = toml.load(path)
    except FileFormatError as error:
        raise ConfigError(error.message, hint=error.hint) from error
    if space is not None:
        chosen = open_space(space)
        values["space"] = {"name": chosen.name, "table": space_document(chosen)}
    changes = list(overrides)
    names = {text.partition("=")[0] for text in changes}
    if "training.epochs" in names and "minutes" not in names:
        values.pop("minutes", None)
    return from_values(configuration.apply_overrides(values, changes), source=str(path))
