"""Pixels in, probabilities or top classes out: the same network between, and what each target takes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.comparison import ModelRunner
from ofa_toolkit.export.ends import Ends, ends_for, strip, wrap
from ofa_toolkit.export.file_values import file_input, scores_of_file, scores_of_network
from ofa_toolkit.export.lint import check_lint
from ofa_toolkit.export.target_devices import resolve_target
from ofa_toolkit.export.targets import GENERATIONS
from ofa_toolkit.graphs import build_onnx, random_weights
from tests.unit.export.samples import layers

SETTINGS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
PIXELS = generator(0, "ends").integers(0, 256, (6, 3, 8, 8)).astype(np.float32)
IMAGES = (
    (PIXELS / 255 - np.reshape(SETTINGS["mean"], (3, 1, 1))) / np.reshape(SETTINGS["std"], (3, 1, 1))
).astype(np.float32)


def network(opset: int = 17, batch_size: int | None = 4, precision: str = "fp32") -> onnx.ModelProto:
    weights = random_weights(layers(), np.random.default_rng(0))
    return build_onnx(
        layers(), weights, opset=opset, batch_size=batch_size, precision=precision, output_name="logits"
    )


@pytest.mark.parametrize("batch_size", [4, None])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["normalised", "uint8", "float255"])
@pytest.mark.parametrize(
    ("output", "k"), [("logits", None), ("probabilities", None), ("topk", 2), ("topk", 4)]
)
def test_a_file_computes_the_same_from_pixels(
    kind: str, layout: str, output: str, k: int | None, batch_size: int | None
) -> None:
    bare, ends = network(batch_size=batch_size), Ends(input=kind, layout=layout, output=output, k=k)
    wrapped = wrap(bare, ends, SETTINGS)
    onnx.checker.check_model(wrapped, full_check=True)
    assert strip(wrapped, ends, "logits", 4) == bare
    given = file_input(IMAGES, ends, SETTINGS)
    assert list(given.shape[1:]) == ([3, 8, 8] if layout == "NCHW" else [8, 8, 3])
    assert given.dtype == (np.uint8 if kind == "uint8" else np.float32)
    found = scores_of_file(ModelRunner(wrapped).run_all(given), ends, 4)
    expected = scores_of_network(ModelRunner(bare)(IMAGES), ends)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert (np.count_nonzero(found, axis=1) == (k or 4)).all()


@pytest.mark.parametrize("row", GENERATIONS, ids=lambda row: row.name)
@pytest.mark.parametrize("output", ["logits", "probabilities", "topk=3"])
def test_every_target_takes_what_it_is_given(row: object, output: str) -> None:
    target = resolve_target(row.name if row.software.builds_engines else "onnxruntime-cpu")
    ends = ends_for(target, 4, pixels=True, layout="NHWC", output=output)
    assert (ends.input == "uint8") == ("UINT8" in row.data_types)
    check_lint(wrap(network(row.export_opset), ends, SETTINGS), target)


def test_what_cannot_be() -> None:
    target = resolve_target("onnxruntime-cpu")
    for output, told in (("topk=5", "has 4 classes"), ("top5", "is no output"), ("topk=-1", "is no output")):
        with pytest.raises(ExportError, match=told):
            ends_for(target, 4, pixels=False, layout="NCHW", output=output)
    with pytest.raises(ExportError, match="mean and std"):
        wrap(network(), Ends(input="uint8"), {})
