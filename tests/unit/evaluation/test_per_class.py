"""`ofa-tk evaluate --per-class` on photos: its figures, its files, its page."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_tk.app import run
from ofa_toolkit.pipelines.evaluation.evaluate import evaluate_subnets
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.per_class import MOST_PICTURES, judge_classes
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.spaces import get_space
from ofa_toolkit.supernets import Supernet, save_supernet

NAMES = ("<b>sky</b>", "sea, deep", "sand")
SIZE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet with random weights in `net`, and 60 noise photos of three classes in `photos`."""
    root = tmp_path_factory.mktemp("per-class")
    random = np.random.default_rng(0)
    for name in NAMES:
        for number in range(20):
            path = root / "photos" / name.replace("/", "") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
    torch.manual_seed(0)
    space = get_space("mobilenet-v3-compact").with_num_classes(3).with_resolutions((SIZE,))
    settings = {"size": SIZE, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "crop": 1.0}
    names = sorted(name.replace("/", "") for name in NAMES)
    save_supernet(root / "net", Supernet(space), class_names=names, preprocessing=settings)
    return root


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.images += [value or "" for name, value in attrs if name == "src"]


def test_files_and_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = f"imagefolder:{folder / 'photos'}"
    arguments = ["evaluate", "--supernet", str(folder / "net"), "--data", data, "--split", "train"]
    assert run([*arguments, "--per-class", "--out", "mistakes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    request = EvaluationRequest(data=data, split="train")
    evaluator = open_evaluator(str(folder / "net"), request)
    [judged] = [r for r in evaluate_subnets(evaluator, num_random=0).results if r.name == "largest"]
    assert document["top1_percent"] == pytest.approx(judged.top1_percent)
    counts = np.array(document["confusion"]["counts"])
    assert counts.sum() == judged.accuracy.num_images
    wrong = int(counts.sum() - np.trace(counts))
    assert len(document["mistakes"]) == min(wrong, MOST_PICTURES)
    for mistake in document["mistakes"]:
        assert Path(mistake["picture"]).parent.name == mistake["class_name"] != mistake["taken_for"]
    shares = [mistake["true_probability"] for mistake in document["mistakes"]]
    assert shares == sorted(shares)
    with Path("mistakes.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[4:] == [f"taken for {entry['name']}" for entry in document["classes"]]
    assert [[int(cell) for cell in row[4:]] for row in rows] == counts.tolist()
    with Image.open("mistakes.png") as picture:
        assert picture.size[0] > 300
    page = _Page()
    text = Path("mistakes.html").read_text()
    page.feed(text)
    assert "<b>sky" not in text
    assert "&lt;b&gt;sky" in text
    assert len(page.images) == 1 + len(document["mistakes"])
    assert all(image.startswith("data:image/") for image in page.images)
    assert "script" not in page.tags
    assert run([*arguments, "--per-class", "--out", "mistakes"]) == 1
    assert "add --force" in capsys.readouterr().err
    assert run([*arguments, "--out", "mistakes"]) == 2
    monkeypatch.setenv("COLUMNS", "40")
    assert run([*arguments, "--per-class", "--out", "narrow"]) == 0
    table = capsys.readouterr().out.partition("Taken for\n")[2].splitlines()
    assert table[0].split() == ["class", "1", "2", "3"]
    assert [[int(cell) for cell in line.split()[-3:]] for line in table[1:4]] == counts.tolist()


def test_a_part_of_the_images_is_named_rightly(folder: Path) -> None:
    request = EvaluationRequest(
        data=f"imagefolder:{folder / 'photos'}", split="train", images=7, batch_size=3
    )
    evaluator = open_evaluator(str(folder / "net"), request)
    found = judge_classes(evaluator, evaluator.supernet.space.smallest(), "smallest")
    assert found.matrix.counts.sum() == 7
    for mistake in found.mistakes:
        assert Path(mistake.picture).parent.name == mistake.class_name
