"""From a training run to a zoo entry: small weights, and a card whose every figure comes from them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core import files, toml
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import ConfigError, MismatchError
from ofa_toolkit.core.output_folder import output_folder
from ofa_toolkit.core.places import portable_document
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.evaluation.predictor.predictor import FILE_NAME as PREDICTOR_FILE
from ofa_toolkit.pipelines.search.front_file import read_front, spread_over_cost
from ofa_toolkit.pipelines.zoo.accuracy import AccuracyQuery, measure
from ofa_toolkit.pipelines.zoo.kept_figures import KeptFigures
from ofa_toolkit.pipelines.zoo.request import PackageRequest
from ofa_toolkit.search.pareto import pareto_rows
from ofa_toolkit.spaces import SearchSpace
from ofa_toolkit.spaces.subnet_file import (
    SubnetFile,
    read_subnet,
    stated_space,
    subnet_from_document,
    write_subnet,
)
from ofa_toolkit.spaces.supernet_description import (
    CARRIED_IMAGES,
    CONFIG_FILE,
    WEIGHTS_FILE,
    SupernetDescription,
    read_description,
)
from ofa_toolkit.zoo.card import CARD_FILE, AccuracyFact, Card, FileFacts, read_card, write_card
from ofa_toolkit.zoo.identity import identify
from ofa_toolkit.zoo.readme import README_FILE, render_readme
from ofa_toolkit.zoo.supernet import load_supernet

SUBNETS_FOLDER = "subnets"
KIND = "zoo entry"

Document = dict[str, Any]


def package_entry(request: PackageRequest, *, reporter: Reporter = SILENT) -> Card:
    """Write an entry's folder: weights in float16, configuration, predictor, subnets, card, README.

    Accuracy is measured from the stored float16 weights after the folder is complete, so that the card
    says what a user gets.

    Args:
        request: Parts of the entry.
        reporter: Hears each figure as it is measured.

    Returns:
        The card.

    Raises:
        FileFormatError, CheckpointError: The source is no supernet, or is damaged.
        MismatchError: The predictor or a subnet is another supernet's.
        ConfigError: The facts do not fit a card.
        OutputError: The folder holds something that may not be replaced, or cannot be written.
    """
    given = load_supernet(request.source).folder
    facts = read_facts(request, given)
    source = request.prepared or given
    with output_folder(request.folder, KIND, force=request.force) as folder:
        write_supernet(source, folder)
        copy_rest(source, folder)
        described = read_description(folder)
        subnet_paths = _write_subnets(request, folder, described, facts)
        _add_predictor(request, given, folder, described.space, facts)
        document = _merge(_known(request, described, folder), facts)
        where = str(request.facts or request.source)
        # Checked before minutes are spent on measuring.
        configuration.from_dict(Card, document, source=where)
        document["accuracy"] = _accuracy(request, folder, subnet_paths, reporter)
        card = configuration.from_dict(Card, document, source=where)
        write_card(folder / CARD_FILE, card)
        files.write_text(folder / README_FILE, render_readme(card))
    return card


def read_facts(request: PackageRequest, source: Path) -> Document:
    """What the maker states: in the facts, or on the card of an entry that is packaged again.

    Raises:
        ConfigError: They state what is measured or counted.
    """
    return _merge(_stated_before(source), {} if request.facts is None else toml.load(request.facts))


def write_supernet(source: Path, folder: Path) -> None:
    """Store the weights as float16; those that are already stay as they are, byte for byte."""
    import torch

    from ofa_toolkit.supernets import read_supernet, save_supernet

    described = read_description(source)
    save_supernet(
        folder,
        read_supernet(source),
        trained_space=described.trained_space,
        trained_subnet=described.trained_subnet,
        class_names=described.class_names,
        preprocessing=described.preprocessing,
        recipe=_without_places(described.recipe),
        further=described.further,
        dtype=torch.float16,
    )
    if _is_stored_in_half(source / WEIGHTS_FILE):
        # Older files have their metadata in another order; a predictor knows these weights by their hash.
        shutil.copyfile(source / WEIGHTS_FILE, folder / WEIGHTS_FILE)


def _is_stored_in_half(weights: Path) -> bool:
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as file:
        types = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return not types & {"F64", "F32", "BF16"}


def _without_places(recipe: Mapping[str, Any]) -> Document:
    """The recipe without paths of the machine it ran on."""
    cleaned: Document = portable_document(recipe)
    if isinstance(cleaned.get("data"), Mapping):
        private = ("source", "class_list", "unlabelled")
        cleaned["data"] = {key: value for key, value in cleaned["data"].items() if key not in private}
    if isinstance(cleaned.get("validation"), Mapping):
        cleaned["validation"] = {k: v for k, v in cleaned["validation"].items() if k != "subnets"}
    if isinstance(cleaned.get("algorithm"), Mapping):
        cleaned["algorithm"] = {k: v for k, v in cleaned["algorithm"].items() if k != "subnet"}
    for name in ("init", "teacher", "teacher_resolution"):
        cleaned.pop(name, None)
    return cleaned


def copy_rest(source: Path, folder: Path) -> None:
    """Take along what else belongs to the supernet: predictor, carried images, subnets; no work folders."""
    written = {CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, README_FILE}
    for path in sorted([*source.iterdir(), *(source / SUBNETS_FOLDER).glob("*.json")]):
        relative = path.relative_to(source)
        if path.is_file() and str(relative) not in written and not path.name.startswith("."):
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / relative)


def _write_subnets(
    request: PackageRequest, folder: Path, described: SupernetDescription, facts: Document
) -> list[str]:
    """Put the subnets into the folder, with the entry as their supernet; those it has already stay."""
    chosen = [read_subnet(path, described.space) for path in request.subnets]
    if not chosen and described.trained_subnet is not None:
        chosen = [SubnetFile(space=described.space, supernet=None, subnet=described.trained_subnet)]
    if request.front is not None:
        chosen += _front_members(request.front, request.num_front, described)
    for number, subnet in enumerate(chosen, start=1):
        (folder / SUBNETS_FOLDER).mkdir(exist_ok=True)
        target = folder / SUBNETS_FOLDER / f"{number:02d}.json"
        predicted = _predicted_without_place(subnet.predicted, facts)
        write_subnet(target, dataclasses.replace(subnet, supernet=request.name, predicted=predicted))
    return sorted(path.relative_to(folder).as_posix() for path in (folder / SUBNETS_FOLDER).glob("*.json"))


def _front_members(path: Path, count: int, described: SupernetDescription) -> list[SubnetFile]:
    """Members of a front, spread over its costs; the smallest and the largest subnet are measured anyway.

    A member that costs more than another and is predicted no better, as in fronts of before, is left out.
    """
    document = read_front(path)
    stated, space, trained = document["space"], described.space, described.trained_space
    members = document["members"]
    objectives = np.array([[-member["top1_percent"], *member["costs"]] for member in members])
    found = []
    for member in (members[row] for row in pareto_rows(objectives)):
        subnet = subnet_from_document({key: member[key] for key in ("resolution", "stages")})
        if subnet not in (trained.smallest(), trained.largest()):
            found.append({**member, "subnet": subnet})
    return [
        SubnetFile(
            space=stated_space(stated, space, [member["subnet"]], f"'{path}'"),
            supernet=None,
            subnet=member["subnet"],
            predicted=member["predicted"],
        )
        for member in spread_over_cost(found, count)
    ]


def _add_predictor(
    request: PackageRequest, source: Path, folder: Path, space: SearchSpace, facts: Document
) -> None:
    """Include a predictor that was made for these weights, or for the same before they were rounded."""
    from ofa_toolkit.evaluation.predictor.file import read_predictor, write_predictor

    target = folder / PREDICTOR_FILE
    if request.predictor is not None:
        shutil.copyfile(request.predictor, target)
    if not target.is_file():
        return
    predictor = read_predictor(target)
    card = predictor.card
    if card.space_identity != space.identity:
        raise MismatchError(f"The accuracy predictor is for another space ('{card.space}').")
    stored = identify(folder / WEIGHTS_FILE).sha256
    assert stored is not None
    caveats = card.caveats
    if card.supernet_identity not in ("unknown", stored):
        if card.supernet_identity != identify(source / WEIGHTS_FILE).sha256:
            build = command_line("predictor", "build", "--supernet", source, "--data", "DATA")
            raise MismatchError(
                "The accuracy predictor was made for other weights than the packaged ones.",
                hint=f"Build it for them: {build}",
            )
        caveats = (*caveats, "Its accuracies were measured before the weights were rounded to float16.")
    own = dataclasses.replace(
        card,
        supernet=request.name,
        supernet_identity=stored,
        dataset=_without_place(card.dataset, facts),
        caveats=caveats,
    )
    write_predictor(target, dataclasses.replace(predictor, card=own))


def _predicted_without_place(predicted: Mapping[str, Any], facts: Document) -> Document:
    """Predictions of a subnet, their accuracy by the same name of the images as the predictor's card has."""
    accuracy = predicted.get("top1_percent")
    if not isinstance(accuracy, Mapping) or not isinstance(accuracy.get("dataset"), str):
        return dict(predicted)
    return {**predicted, "top1_percent": {**accuracy, "dataset": _without_place(accuracy["dataset"], facts)}}


def _without_place(dataset: str, facts: Document) -> str:
    """`npz:/data/x.npz: 400 images` becomes `CIFAR-10: 400 images`: a file means nothing elsewhere."""
    name = facts.get("data", {}).get("name")
    is_named = name not in (None, "unknown")
    if not is_named and "/" not in dataset:
        return dataset
    return f"{name if is_named else dataset.partition(':')[0]}: {dataset.rpartition(': ')[2]}"


def _accuracy(
    request: PackageRequest, folder: Path, subnet_paths: Sequence[str], reporter: Reporter
) -> list[Document]:
    if request.data is None:
        return []
    names, images = ("largest", *subnet_paths, "smallest"), request.recalibration_images
    described = read_description(folder)
    trained = described.trained_space
    if trained.has_one_architecture:  # a single network has statistics of its own
        names, images = ("largest", "smallest")[: len(trained.resolutions)], 0
    elif described.trained_subnet is not None:
        names, images = tuple(subnet_paths), 0
    questions = [AccuracyQuery(subnet=name, recalibration_images=images) for name in names]
    if (folder / CARRIED_IMAGES).is_file():
        questions += [AccuracyQuery(subnet=name, use_carried=True) for name in names]
    kept = None if request.kept_figures is None else KeptFigures(request.kept_figures, reporter)
    facts = list(measure(folder, questions, request.data, reporter, kept))
    # What is carried belongs to the stored weights alone.
    common = [question for question in questions if not question.use_carried]
    others = [_of_other_seed(run, folder, common, request.data, kept) for run in request.seed_runs]
    documents = []
    for index, fact in enumerate(facts):
        document = configuration.to_dict(fact)
        if others and index < len(common):
            document["top1_by_seed"] = [fact.top1_percent, *(other[index].top1_percent for other in others)]
        documents.append(document)
    return documents


def _of_other_seed(
    run: Path, folder: Path, questions: Sequence[AccuracyQuery], data: str, kept: KeptFigures | None
) -> list[AccuracyFact]:
    """Figures for a run with another seed, stored in the same precision for the time being."""
    source = load_supernet(run).folder
    beside = folder / ".other-seed"
    beside.mkdir()
    try:
        write_supernet(source, beside)
        if (folder / SUBNETS_FOLDER).is_dir():
            shutil.copytree(folder / SUBNETS_FOLDER, beside / SUBNETS_FOLDER)
        return list(measure(beside, questions, data, kept=kept))
    finally:
        shutil.rmtree(beside)


def _known(request: PackageRequest, described: SupernetDescription, folder: Path) -> Document:
    """What the run itself tells for the card."""
    space, recipe = described.space, described.recipe
    algorithm = recipe.get("algorithm")
    recipes = [load_supernet(run).recipe for run in request.seed_runs]
    seeds = [made["training"]["seed"] for made in recipes if "seed" in made.get("training", {})]
    own_seed = recipe.get("training", {}).get("seed")
    document: Document = {
        "name": request.name,
        "summary": f"Supernet of the space {space.name} with {space.num_classes} classes.",
        "availability": "included",
        "layout": "ofa-toolkit",
        "space": space.name,
        "space_identity": space.identity,
        "resolutions": list(space.resolutions),
        "data": {"name": "unknown", "num_classes": space.num_classes},
        "training": {
            "algorithm": algorithm.get("name", "unknown") if isinstance(algorithm, Mapping) else "unknown",
            "recipe": str(recipe.get("recipe", "unknown")),
            "seeds": [] if own_seed is None else [own_seed, *seeds],
            **_run_cost(request.source),
        },
        "licence": {"name": "unstated", "statement": "The maker of this entry states no licence."},
        "files": [configuration.to_dict(file) for file in _list_files(folder)],
    }
    if described.preprocessing is not None:
        document["preprocessing"] = dict(described.preprocessing)
    return document


def _run_cost(source: Path) -> Document:
    """Hours and updates from a run folder's summary; nothing for other sources."""
    path = source / "summary.json"
    if not path.is_file():
        return {}
    summary = read_object(path, "a summary of a run")
    cost: Document = {"cost": counted(summary["updates"], "update")}
    parts = summary.get("parts")
    if parts is None:  # of the release before, which counted all time as on the last devices
        parts = [{**summary, "seconds": summary["cost"][-1]["device_hours"] * 3600 / summary["num_devices"]}]
    seconds = sum(part["seconds"] for part in parts)
    if seconds > 0:
        cost["hours"] = float(f"{seconds / 3600:.3g}")
        cost["hardware"] = ", then ".join(
            f"{part['num_devices']} x {part['device']}, {counted(part['threads'], 'thread')}"
            for part in parts
        )
    return cost


def _list_files(folder: Path) -> Iterator[FileFacts]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if not path.is_file() or relative in (CARD_FILE, README_FILE):
            continue
        found = identify(path)
        yield FileFacts(
            path=relative, size=found.size, sha256=found.sha256, git_blob_sha1=found.git_blob_sha1
        )


def _stated_before(source: Path) -> Document:
    """What the card of an entry that is packaged again says beyond its figures."""
    if not (source / CARD_FILE).is_file():
        return {}
    card = configuration.to_dict(read_card(source))
    kept = ("summary", "data", "training", "licence", "limits", "links")
    return {name: card[name] for name in kept if name in card}


def _merge(known: Document, facts: Document) -> Document:
    """Lay the user's facts over what the run tells; what is measured or counted cannot be overwritten."""
    for name in ("accuracy", "files", "availability", "layout", "space", "space_identity"):
        if name in facts:
            raise ConfigError(f"{name}: is measured or counted and cannot be stated in the facts.")
    merged = dict(known)
    for name, value in facts.items():
        old = merged.get(name)
        merged[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
