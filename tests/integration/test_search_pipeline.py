"""Searching as users do: limits together, messages, files, identities, and no torch."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ofa_toolkit
from ofa_tk.app import run
from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.core.errors import (
    ConfigError,
    FileFormatError,
    InfeasibleConstraintError,
    MismatchError,
    UnknownNameError,
)
from ofa_toolkit.core.resources import data_path
from ofa_toolkit.evaluation.predictor.file import write_predictor
from ofa_toolkit.pipelines.search.answer import describe_candidate
from ofa_toolkit.pipelines.search.context import SearchContext
from ofa_toolkit.pipelines.search.find import find_subnet
from ofa_toolkit.pipelines.search.front import find_front
from ofa_toolkit.pipelines.search.front_file import read_front
from ofa_toolkit.pipelines.search.report import page
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.pipelines.search.suggestion import search_command
from ofa_toolkit.spaces import Encoding, get_space, lower
from ofa_toolkit.spaces.sampling import sample_population
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.zoo.supernet import load_accuracy_predictor, load_supernet

QUICK = {
    "population_size": 16,
    "num_children": 16,
    "num_generations": 4,
    "local": {"num_starts": 1, "num_pairs": 8, "max_rounds": 2},
}
EFFORT = [f"--set={name}={value}" for name, value in QUICK.items() if name != "local"]
EFFORT += ["--set=local.num_starts=1", "--set=local.num_pairs=8", "--set=local.max_rounds=2"]


def quick(**limits: object) -> ofa_toolkit.pipelines.search.find.FoundSubnet:
    return find_subnet(effort=QUICK, **limits)


def test_limits_hold_together_and_figures_are_exact() -> None:
    found = quick(
        device=["jetson-nano", "note10"],
        latency=["30ms", "40ms"],
        macs="250M",
        params="6M",
        memory="2.5MB",
        fix={"resolution": (160, 192)},
        maximum={"kernel_size": 5},
    )
    space = get_space("ofa-mobilenet-v3-w1.0")
    layers = lower(space, found.subnet)
    predicted = found.predicted
    assert predicted["macs"]["value"] == count_macs(layers) <= 250e6
    assert predicted["params"]["value"] == count_params(layers) <= 6e6
    assert predicted["peak_activation_bytes"]["value"] <= 2.5e6
    assert predicted["peak_activation_bytes"]["bytes_per_value"] == 2  # the first table is of fp16
    nano, note10 = predicted["latency_ms"].values()
    assert nano["value"] <= 30
    assert note10["value"] <= 40
    assert nano["provenance"]
    assert found.subnet.resolution in (160, 192)
    assert max(k for stage in found.subnet.stages for k in stage.kernel_sizes) <= 5
    low, high = predicted["top1_percent"]["interval"]
    assert low < predicted["top1_percent"]["value"] < high
    names = [candidate.name for candidate in found.candidates]
    assert names == ["chosen", "smallest", "largest", "best uniform"]
    assert found.candidates[0].top1_percent >= found.candidates[3].top1_percent


def test_the_cheapest_subnet_that_is_accurate_enough() -> None:
    found = quick(minimize="macs", accuracy="74%")
    assert found.predicted["top1_percent"]["value"] >= 74
    assert found.predicted["macs"]["value"] < 250e6


@pytest.mark.parametrize("supernet", ["ofa-proxyless-w1.3", "ofa-resnet50"])
def test_the_largest_subnet_that_fits_where_no_accuracy_can_be_predicted(supernet: str) -> None:
    found = quick(supernet=supernet, device="jetson-nano", latency="12ms", maximize="macs")
    chosen, smallest, _, uniform = found.candidates
    assert chosen.latency_ms["jetson-nano:transfer-tensorrt-fp16-1"] <= 12
    assert chosen.macs > smallest.macs
    assert chosen.macs >= uniform.macs
    assert chosen.top1_percent is None
    assert "top1_percent" not in found.document()["predicted"]
    assert "No accuracy is predicted" in found.warnings[0]


def test_more_macs_are_not_taken_for_accuracy_where_it_can_be_predicted() -> None:
    most, best = quick(macs="150M", maximize="macs"), quick(macs="150M")
    assert most.predicted["macs"]["value"] > best.predicted["macs"]["value"]
    assert most.predicted["top1_percent"]["value"] < best.predicted["top1_percent"]["value"]


def test_throughput_counts_whole_batches() -> None:
    found = quick(device="v100", throughput="3000/s")
    (latency,) = found.predicted["latency_ms"].values()
    assert latency["batch_size"] == 64
    assert 1e3 * 64 / latency["value"] >= 3000


def test_infeasible_limits_name_the_nearest_and_the_limit_that_admits_it() -> None:
    with pytest.raises(InfeasibleConstraintError) as caught:
        quick(macs="30M")
    smallest = get_space("ofa-mobilenet-v3-w1.0").smallest(160)
    assert count_macs(lower(get_space("ofa-mobilenet-v3-w1.0"), smallest)) == 63_240_528
    assert caught.value.message.startswith(
        "No subnet meets MACs <= 30 MMACs: the smallest has 63.2 MMACs (160 px, stages: k3e3 k3e3;"
    )
    assert caught.value.hint == "--macs 63.3M"
    assert quick(macs="63.3M").subnet == smallest
    with pytest.raises(InfeasibleConstraintError, match=r"together: the nearest has") as caught:
        quick(macs="100M", accuracy="77%")
    assert caught.value.hint is not None
    assert "--accuracy" in caught.value.hint or "--macs" in caught.value.hint


@pytest.mark.parametrize("digits", [3, 5])
def test_a_limit_holds_for_the_figures_as_they_are_told(digits: int) -> None:
    free = SearchContext(SearchRequest(device="jetson-nano"))
    rows = sample_population(free.space, 3, np.random.default_rng(digits))
    assert free.accuracy is not None
    for row in np.split(rows, len(rows)):
        (latency,) = (float(bound.predict(row)[0]) for bound in free.latencies.values())
        top1 = float(free.accuracy.predict_chosen(row)[0])
        most, least = round(latency, digits), round(top1, digits)
        limited = SearchContext(SearchRequest(device="jetson-nano", latency=most, accuracy=least))
        candidate = describe_candidate(limited, "chosen", row)
        (told,) = candidate.latency_ms.values()
        assert told == pytest.approx(latency, abs=1e-5)
        assert candidate.is_feasible == (told <= most and candidate.top1_percent >= least)
        assert candidate.document()["latency_ms"] == candidate.latency_ms


def test_generous_limits_are_named() -> None:
    found = quick(macs="5G", memory="1GB")
    assert len(found.not_binding) == 2
    assert found.not_binding[0].startswith("MACs <= 5 GMACs is not binding")
    assert quick(macs="150M").not_binding == ()


def test_same_seed_same_answer() -> None:
    first, again = (quick(macs="200M", seed=3) for _ in range(2))
    assert first.subnet == again.subnet
    assert first.predicted == again.predicted


def test_evolution_equals_exhaustive_search_in_a_compound_space() -> None:
    limits = {
        "space": "ofa-mobilenet-v3-w1.0-compound",
        "predictor": predictor_path(),
        "macs": "300M",
        "fix": {"resolution": 224},
    }
    best = find_subnet(method="exhaustive", **limits)
    assert best.search["num_evaluations"] == 243
    assert find_subnet(effort=QUICK, **limits).subnet == best.subnet


def predictor_path() -> Path:
    return data_path("zoo") / "ofa-mobilenet-v3-w1.0" / "accuracy_predictor.safetensors"


def test_a_space_is_searched_although_the_zoo_has_one_network_of_its_name() -> None:
    found = quick(space="efficientnet-lite0", maximize="macs", macs="60M")
    assert found.supernet is None
    assert 40e6 < found.predicted["macs"]["value"] <= 60e6
    assert SearchContext(SearchRequest(space="efficientnet-lite0")).full_space == get_space(
        "efficientnet-lite0"
    )
    assert search_command(space="efficientnet-lite0").startswith(
        "ofa-tk search --space efficientnet-lite0 --maximize macs --macs 80M"
    )
    single = SearchContext(SearchRequest("efficientnet-lite0", space="efficientnet-lite0"))
    assert single.full_space.has_one_architecture  # the supernet decides where one is named


def test_a_supernet_of_a_whole_space_lends_its_predictor_to_the_space() -> None:
    found = quick(space="ofa-mobilenet-v3-w1.2", macs="300M")
    assert found.supernet == "ofa-mobilenet-v3-w1.2"
    assert "top1_percent" in found.predicted


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"of 'ofa-mobilenet-v3-w1.0'.*'ofa-mobilenet-v3-w1.2'"):
        quick(space="ofa-mobilenet-v3-w1.2", predictor=predictor_path(), macs="200M")
    with pytest.raises(MismatchError, match=r"is of space 'ofa-mobilenet-v3-w1.0', not of 'ofa-resnet50'"):
        quick(supernet="ofa-mobilenet-v3-w1.0", space="ofa-resnet50", macs="200M")
    # A supernet folder whose predictor was built for other weights.
    space = get_space("ofa-mobilenet-v3-w1.0")
    config = {
        "format": "ofa-toolkit/supernet",
        "version": 1,
        "space": space.name,
        "resolutions": list(space.resolutions),
        "num_classes": 1000,
        "space_identity": space.identity,
        "supernet": {},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    bundled = load_accuracy_predictor("ofa-mobilenet-v3-w1.0")
    stated = dataclasses.replace(bundled.card, supernet_identity="0" * 64)
    path = tmp_path / "accuracy_predictor.safetensors"
    write_predictor(path, dataclasses.replace(bundled, card=stated))
    with pytest.raises(MismatchError, match=r"built for other weights \(000000000000\)"):
        quick(supernet=tmp_path, macs="200M")
    write_predictor(path, bundled)
    assert quick(supernet=tmp_path, macs="200M").supernet == str(tmp_path)


def test_a_predictor_is_built_by_a_line_that_a_shell_takes(tmp_path: Path) -> None:
    folder = tmp_path / "mein Lauf ä"
    shutil.copytree(data_path("zoo") / "deps-compact-cifar10", folder)
    (folder / "accuracy_predictor.safetensors").unlink(missing_ok=True)
    build = f"ofa-tk predictor build --supernet '{folder}' --data DATA"
    with pytest.raises(FileFormatError, match="has no accuracy predictor") as caught:
        quick(supernet=folder, macs="8M")
    assert caught.value.hint == f"Build one: {build}, or search for the most MACs instead: --maximize macs"
    bundled = load_accuracy_predictor("ofa-mobilenet-v3-w1.0")
    stated = dataclasses.replace(bundled.card, supernet_identity="0" * 64)
    write_predictor(folder / "accuracy_predictor.safetensors", dataclasses.replace(bundled, card=stated))
    with pytest.raises(MismatchError, match="built for other weights") as caught:
        quick(supernet=folder, macs="8M")
    assert caught.value.hint == f"Build it again: {build}"


@pytest.mark.parametrize(
    ("limits", "error", "message"),
    [
        ({"latency": "20ms"}, ConfigError, "A limit on latency needs a device"),
        ({"device": "jetson-nan"}, UnknownNameError, "Unknown device 'jetson-nan'"),
        ({"fix": {"resolutoin": 160}}, UnknownNameError, "Unknown choice 'resolutoin'"),
        ({"fix": {"resolution": 161}}, ConfigError, "resolution 161 is not offered"),
        ({"maximum": {"kernel_size": 2}}, ConfigError, "No kernel_size is left"),
        ({"minimize": "weight"}, UnknownNameError, "Unknown figure 'weight'"),
        ({"minimize": "latency"}, ConfigError, "Latency needs a device"),
        (
            {"supernet": "ofa-proxyless-w1.3"},
            ofa_toolkit.core.errors.FileFormatError,
            "has no accuracy predictor",
        ),
        (
            {"supernet": "ofa-resnet50", "maximize": "macs", "accuracy": "75%"},
            ofa_toolkit.core.errors.FileFormatError,
            "has no accuracy predictor",
        ),
        ({"space": "ofa-resnet50"}, ofa_toolkit.core.errors.FileFormatError, "has no accuracy predictor"),
        ({"maximize": "mac"}, UnknownNameError, "Unknown figure to maximize 'mac'"),
        ({"maximize": "macs", "minimize": "macs"}, ConfigError, "one figure small or one large"),
    ],
)
def test_bad_requests(limits: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        quick(**limits)


def test_limits_per_device() -> None:
    devices = SearchRequest(device=["a", "b"], latency=["20ms", 7.0]).devices
    assert [(d.name, d.latency_ms) for d in devices] == [("a", 20.0), ("b", 7.0)]
    devices = SearchRequest(device=["a", "b"], throughput="500/s").devices
    assert [d.throughput for d in devices] == [500.0, 500.0]
    with pytest.raises(ConfigError, match="2 limits on latency for 3 devices"):
        _ = SearchRequest(device=["a", "b", "c"], latency=["1ms", "2ms"]).devices


def test_uncovered_resolutions_need_asking_and_warn() -> None:
    assert quick(macs="150M").subnet.resolution >= 160
    found = quick(fix={"resolution": 128})
    assert found.subnet.resolution == 128
    assert "no measurement supports" in found.warnings[0]


def test_fronts_are_undominated_and_written_three_ways(tmp_path: Path) -> None:
    effort = {**QUICK, "local": {"num_starts": 1, "num_pairs": 0, "max_rounds": 1}}
    front = find_front(effort=effort)
    accuracies = list(front.top1_percent)
    costs = [values[0] for values in front.values]
    assert len(front.subnets) > 20
    assert accuracies == sorted(accuracies)
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)
    for name in ("front.csv", "front.json", "front.png"):
        front.write(tmp_path / name)
    lines = (tmp_path / "front.csv").read_text().splitlines()
    assert lines[0] == "top1_percent,macs,resolution,depths,kernel_sizes,expand_ratios,widths"
    assert len(lines) == 1 + len(front.subnets)
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    document = read_front(tmp_path / "front.json")
    assert len(document["members"]) == len(front.subnets)
    text = page([document])
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    embedded = text.split('id="data">')[1].split("</script>")[0]
    assert json.loads(embedded)["fronts"][0]["labels"] == ["MACs of one image (millions)"]
    with pytest.raises(ConfigError, match=r"a front is written as \.csv"):
        front.write(tmp_path / "front.pdf")


def test_of_a_front_s_members_at_the_ceiling_only_the_cheapest_is_kept() -> None:
    """Fits of the costliest subnets differ, and no more than the ceiling is expected of any of them."""
    front = find_front("deps-compact-imagenette", effort=QUICK)
    supernet = load_supernet("deps-compact-imagenette")
    rows = Encoding(supernet.space).encode(front.subnets)
    accuracy = supernet.predictor.bind(supernet.space)
    expected = accuracy.predict_chosen(rows).round(4)
    assert expected[-1] == round(accuracy.predictor.card.interval.chosen.ceiling_percent, 4)
    assert (np.diff(expected) > 0).all()
    assert (np.diff(np.array(front.values)[:, 0]) > 0).all()


def test_the_report_command_writes_one_page_and_refuses_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    effort = {**QUICK, "local": None}
    find_front(against=["macs", "params"], effort=effort).write("front.json")
    for _ in range(2):  # the default output is replaced when it is ours
        assert run(["report", "front.json"]) == 0
    assert "<title>ofa-toolkit search report</title>" in Path("report.html").read_text()
    Path("report.html").write_text("mine")
    assert run(["report", "front.json"]) == 1
    assert "was not written by ofa-toolkit" in capsys.readouterr().err
    Path("other.json").write_text('{"format": "ofa-toolkit/subnet"}')
    assert run(["report", "other.json", "--force"]) == 1
    assert "is not a front" in capsys.readouterr().err
    assert run(["report", "--force"]) == 1
    assert "A report needs a front" in capsys.readouterr().err


def test_the_command_writes_a_subnet_and_one_json_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["search", "--device", "jetson-nano", "--latency", "20ms", "--json", *EFFORT]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err.rstrip().endswith("ofa-tk export --onnx --data imagenet:DIR")
    file = read_subnet("subnet.json")
    assert file.subnet.resolution == document["resolution"]
    assert file.predicted["macs"]["provenance"] == "counted"
    assert run(["search", "--macs", "200M", *EFFORT]) == 0
    table = capsys.readouterr().out
    for word in ("chosen", "smallest", "largest", "best uniform", "kernel sizes"):
        assert word in table
    assert run(["search", "--macs", "30M"]) == 1
    assert "Hint: --macs 63.3M" in capsys.readouterr().err
    Path("subnet.json").write_text("{}")
    assert run(["search", "--macs", "200M", *EFFORT]) == 1
    assert "was not written by ofa-toolkit" in capsys.readouterr().err


def test_a_search_imports_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from ofa_tk.app import run; "
        f"code = run(['search', '--device', 'jetson-nano', '--latency', '20ms', *{EFFORT!r}]); "
        "bad = [m for m in ('torch', 'matplotlib', 'onnx') if m in sys.modules]; "
        "sys.exit(code or (f'imported {bad}' if bad else 0))"
    )
    environment = {**os.environ, "OFA_TK_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "subnet.json").is_file()


@pytest.mark.parametrize("name", ["deps-compact-cifar10", "deps-compact-imagenette"])
def test_bundled_supernets_know_how_wrong_they_are_of_searched_subnets(name: str) -> None:
    context = SearchContext(SearchRequest(name))
    assert context.accuracy is not None
    assert context.accuracy.is_calibrated_for_search
    assert any(
        "held-out training images; on test images the largest subnet has" in w for w in context.warnings
    )
    chosen = context.accuracy.predictor.card.interval.chosen
    assert chosen is not None
    assert chosen.offset_points > 0
    assert not any("points above the largest" in line for line in quick(supernet=name).warnings)
    largest = Encoding(context.space).encode([context.space.largest()])
    assert chosen.ceiling_percent is not None
    assert chosen.ceiling_percent >= float(context.accuracy.predict(largest)[0]) - 0.01


def test_an_answer_predicted_above_the_largest_subnet_says_that_this_is_unchecked() -> None:
    found = quick(supernet="ofa-mobilenet-v3-w1.0")
    chosen, largest = found.candidates[0].top1_percent, found.candidates[2].top1_percent
    assert chosen is not None
    assert largest is not None
    said = [line for line in found.warnings if "points above the largest subnet" in line]
    assert bool(said) == (chosen > largest)
    assert chosen > largest
    assert said[0].startswith(f"Predicted {chosen - largest:.2f} points")
