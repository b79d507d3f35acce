"""What an entry needs before its card is measured: float16 weights, batch-norm images, predictor, front.

Everything is made in a work folder and kept there with the settings it was made with. A run that was killed
and is started again makes what is missing; within a predictor it goes on with the next subnet, within the
images and the card with the next step and figure.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_toolkit.core import files
from ofa_toolkit.core.config import to_dict
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.output_folder import check_output_folder, output_folder
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.evaluation.predictor.predictor import FILE_NAME as PREDICTOR_FILE
from ofa_toolkit.pipelines.zoo.package import (
    KIND,
    SUBNETS_FOLDER,
    copy_rest,
    package_entry,
    write_supernet,
)
from ofa_toolkit.pipelines.zoo.request import PackageRequest, Part, Preparation
from ofa_toolkit.spaces.supernet_description import CARRIED_IMAGES
from ofa_toolkit.zoo.identity import identify
from ofa_toolkit.zoo.supernet import load_supernet

WORK_FOLDER = "packaging"


def prepare_entry(
    request: PackageRequest,
    preparation: Preparation,
    *,
    reporter: Reporter = SILENT,
) -> PackageRequest:
    """Make the parts, and say to `package_entry` where they are.

    Args:
        request: The entry; needs `data`.
        preparation: Parts to make, and their effort.
        reporter: Hears what is made, what was there, and how far it is.

    Returns:
        The request for `package_entry`, which measures and assembles.

    Raises:
        ConfigError: There is no data, or the facts do not fit a card.
        OutputError: `out` holds something that may not be replaced, or the work folder cannot be written.
        OfaToolkitError: The source is damaged, or something in it does not belong to it.
    """
    if request.data is None:
        raise ConfigError("The parts of an entry are made from images.", hint="Add --data SOURCE")
    check_output_folder(request.folder, KIND, force=request.force)
    loaded = load_supernet(request.source)
    source = loaded.folder
    work = (preparation.work or request.source / WORK_FOLDER) / _identity(source, request.data)
    supernet = work / "supernet"
    if not supernet.is_dir():
        with output_folder(supernet, "supernet in work") as folder:
            write_supernet(source, folder)
            copy_rest(source, folder)
    prepared = dataclasses.replace(request, prepared=supernet, kept_figures=work / "figures.jsonl")
    _try_out(prepared, source, work)
    maker = _Maker(
        request=request,
        preparation=preparation,
        data=request.data,
        source=source,
        work=work,
        reporter=reporter,
    )
    reporter.message(f"Work is kept in {work}")
    if loaded.only_subnet is not None:
        return prepared  # there is nothing to predict or to choose from, and no statistics to recompute
    maker.make_images()
    maker.make_predictor()
    return dataclasses.replace(prepared, front=maker.make_front())


def _try_out(prepared: PackageRequest, source: Path, work: Path) -> None:
    """Make the whole entry but for its figures: what is wrong with it shows before hours are spent."""
    trial = work / "trial"
    package_entry(dataclasses.replace(prepared, data=None, out=trial, force=True))
    if prepared.predictor is not None or (source / PREDICTOR_FILE).is_file():
        # Bound to the float16 weights now, as the search wants it.
        files.write_bytes(work / "supernet" / PREDICTOR_FILE, (trial / PREDICTOR_FILE).read_bytes())
    shutil.rmtree(trial)


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """Makes each part unless it is there, made with the same settings."""

    request: PackageRequest
    preparation: Preparation
    data: str
    source: Path
    work: Path
    reporter: Reporter

    @property
    def supernet(self) -> Path:
        return self.work / "supernet"

    def make_images(self) -> None:
        path = self.supernet / CARRIED_IMAGES
        how = self.preparation
        settings = {
            "subnets": how.image_subnets,
            "steps": how.image_steps,
            "correction_subnets": how.correction_subnets,
            "seed": how.seed,
        }
        if not self._is_wanted("images", path, settings):
            return
        from ofa_toolkit.pipelines.zoo.batchnorm_images import (
            DEFAULT_CORRECTION_SUBNETS,
            DEFAULT_STEPS,
            DEFAULT_SUBNETS,
            make_batchnorm_images,
        )

        steps = how.image_steps or DEFAULT_STEPS
        subnets = how.image_subnets or DEFAULT_SUBNETS
        corrected = how.correction_subnets or DEFAULT_CORRECTION_SUBNETS
        make_batchnorm_images(
            self.supernet,
            self.data,
            num_subnets=subnets,
            num_steps=steps,
            num_correction_subnets=corrected,
            seed=how.seed,
            checkpoint=self.work / "images.pt",
            reporter=self.reporter,
        )
        self._record("images", settings)

    def make_predictor(self) -> None:
        how = self.preparation
        path = self.supernet / PREDICTOR_FILE
        settings: dict[str, Any] = {
            "num_subnets": how.num_subnets,
            "images": how.predictor_images,
            "ensemble": None if how.ensemble is None else to_dict(how.ensemble),
            "seed": how.seed,
        }
        if self.request.predictor is not None or not self._is_wanted("predictor", path, settings):
            return
        from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
        from ofa_toolkit.pipelines.evaluation.predictor import build_predictor
        from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest

        evaluator = open_evaluator(
            self.supernet.absolute(), EvaluationRequest(data=self.data, images=how.predictor_images)
        )
        folder = self.work / f"predictor-{how.predictor_images}-images-seed-{how.seed}"
        built = build_predictor(
            evaluator,
            name=self.request.name,
            num_subnets=how.num_subnets,
            folder=folder,
            seed=how.seed,
            config=how.ensemble,
            reporter=self.reporter,
        )
        assert built is not None
        for error in built.predictor.card.errors:
            self.reporter.message(
                f"Predictor, {error.split}: wrong by {error.mae_points:.2f} points on average, "
                f"Spearman {error.spearman:.3f}"
            )
        self.reporter.message(built.verdict)
        self._record("predictor", settings)

    def make_front(self) -> Path | None:
        """The front of accuracy against MACs; none where subnets were named or nothing predicts."""
        if self.request.front is not None or self.request.subnets or "front" not in self.preparation.parts:
            return self.request.front
        predictor = self.supernet / PREDICTOR_FILE
        if not predictor.is_file() or any((self.source / SUBNETS_FOLDER).glob("*.json")):
            return None
        from ofa_toolkit.pipelines.search.front import find_front

        path = self.work / "front.json"
        settings = {"predictor": identify(predictor).sha256, "seed": self.preparation.seed}
        if self._is_wanted("front", path, settings):
            found = find_front(self.supernet.absolute(), seed=self.preparation.seed)
            found.write(path)
            self._record("front", settings)
        return path

    def _is_wanted(self, part: Part, path: Path, settings: dict[str, Any]) -> bool:
        if part not in self.preparation.parts:
            return False
        if (self.source / path.name).is_file():
            self.reporter.message(f"{path.name}: from {self.source}")
            return False
        if path.is_file() and self._records().get(part) == settings:
            self.reporter.message(f"{path.name}: made before")
            return False
        return True

    def _record(self, part: Part, settings: dict[str, Any]) -> None:
        files.write_json(self.work / "parts.json", {**self._records(), part: settings})

    def _records(self) -> dict[str, Any]:
        path = self.work / "parts.json"
        return read_object(path, "a record of parts") if path.is_file() else {}


def _identity(source: Path, data: str) -> str:
    """Another name for other weights, files or images, so that nothing of one ends up with another."""
    content = hashlib.sha256(data.encode())
    for path in sorted([*source.glob("*"), *source.glob(f"{SUBNETS_FOLDER}/*.json")]):
        if path.is_file() and not path.name.startswith("."):
            content.update(f"{path.relative_to(source)} {identify(path).sha256}".encode())
    return content.hexdigest()[:12]
