"""Targets: they load without torch, answer alike, and say what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

import bmc
from bmc import bundle as bundles
from bmc import targets
from bmc.contracts.targets import TARGETS
from bmc.errors import ArtifactError, MissingError, SettingError, UnknownError
from bmc.targets import RuntimeOptions

TORCH = ("torch", "transformers")
HERE = ("onnx", "openvino", "pytorch")
TORCH_FREE = sorted({*TARGETS.names()} - {"pytorch"})
Blocked = Callable[..., CompletedProcess[str]]


def test_the_blocker_of_these_tests_blocks(blocked: Blocked) -> None:
    assert "No module named 'torch'" in blocked("import torch", *TORCH).stderr
    assert blocked("import numpy", *TORCH).returncode == 0


@pytest.mark.parametrize("module", ["bmc", "bmc.bundle", "bmc.pipeline", "bmc.cli", "bmc.data"])
def test_what_a_device_needs_imports_without_torch(blocked: Blocked, module: str) -> None:
    done = blocked(f"import {module}", *TORCH)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TORCH_FREE)
def test_every_target_but_pytorch_imports_without_torch(blocked: Blocked, name: str) -> None:
    try:
        targets.load(name)
    except MissingError as error:
        pytest.skip(str(error))
    code = f"from bmc import targets; print(targets.load({name!r}).available().version)"
    done = blocked(code, *TORCH)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_bundle_answers_raw_text_without_torch_as_it_does_with_it(
    blocked: Blocked, bundle_of: Callable[[str], Path], name: str
) -> None:
    text = "a warm and witty film"
    code = (
        "import bmc, json, sys\n"
        f"with bmc.load({str(bundle_of(name))!r}) as classify:\n"
        f"    answer = classify({text!r})\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
        "print(json.dumps([answer.label, answer.score]))\n"
    )
    done = blocked(code, *TORCH)
    assert done.returncode == 0, done.stderr
    label, score = json.loads(done.stdout)
    with bmc.load(bundle_of("pytorch")) as classify:
        reference = classify(text)
    assert label == reference.label
    assert score == pytest.approx(reference.score, abs=1e-4)


def test_the_command_line_classifies_without_torch(
    blocked: Blocked, bundle_of: Callable[[str], Path]
) -> None:
    arguments = ["predict", str(bundle_of("onnx")), "what a film"]
    done = blocked(f"from bmc.cli import main; main({arguments!r})", *TORCH)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("negative 0.", "positive 0."))


@pytest.mark.parametrize("name", HERE)
def test_a_session_returns_the_tensors_that_the_manifest_names_at_any_shape(
    bundle_of: Callable[[str], Path], name: str
) -> None:
    bundle = bundles.read(bundle_of(name))
    generator = np.random.default_rng(0)
    with targets.load(name).load(bundle, RuntimeOptions(threads=1)) as session:
        for rows, length in ((1, 1), (3, 5), (2, 64)):
            ids = generator.integers(1000, 2000, (rows, length))
            outputs = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
            assert list(outputs) == ["logits"]
            assert outputs["logits"].shape == (rows, 2)
            assert outputs["logits"].dtype == np.float32
        assert session.execution["device"] == "CPU"
        assert session.execution["threads"] == 1


@pytest.mark.parametrize("name", HERE)
def test_an_output_stays_as_it_was_when_the_session_runs_again(
    bundle_of: Callable[[str], Path], name: str
) -> None:
    bundle = bundles.read(bundle_of(name))
    inputs, _ = bundle.golden()
    with targets.load(name).load(bundle, RuntimeOptions()) as session:
        first = session.run(inputs)["logits"]
        before = first.copy()
        session.run({key: value[::-1].copy() for key, value in inputs.items()})
        assert np.array_equal(first, before)


@pytest.mark.parametrize("name", HERE)
def test_every_target_gives_its_golden_outputs_again(
    bundle_of: Callable[[str], Path], name: str
) -> None:
    bundle = bundles.read(bundle_of(name))
    inputs, expected = bundle.golden()
    with targets.load(name).load(bundle, RuntimeOptions()) as session:
        assert np.allclose(session.run(inputs)["logits"], expected["logits"], atol=1e-4)


@pytest.mark.parametrize("name", HERE)
def test_ids_outside_the_vocabulary_or_of_another_rank_are_an_error_of_the_bundle(
    bundle_of: Callable[[str], Path], name: str
) -> None:
    bundle = bundles.read(bundle_of(name))
    ids = np.full((1, 4), 10**6)
    with targets.load(name).load(bundle, RuntimeOptions()) as session:
        if name != "openvino":  # OpenVINO reads zeros there
            with pytest.raises(ArtifactError, match="cannot compute"):
                session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
        with pytest.raises(ArtifactError, match="cannot compute"):
            session.run({"input_ids": ids[:, :, None], "attention_mask": np.ones_like(ids)})


def test_onnx_refuses_a_precision_that_it_would_ignore(bundle_of: Callable[[str], Path]) -> None:
    with pytest.raises(SettingError, match="works on the openvino and pytorch targets"):
        targets.load("onnx").load(bundles.read(bundle_of("onnx")), RuntimeOptions(precision="bf16"))


def test_openvino_computes_in_f32_unless_told_otherwise(bundle_of: Callable[[str], Path]) -> None:
    bundle = bundles.read(bundle_of("openvino"))
    with targets.load("openvino").load(bundle, RuntimeOptions()) as session:
        assert session.execution["precision"] == "f32"


@pytest.mark.parametrize("options", [{"threads": -1}, {"precision": "int4"}])
def test_options_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(SettingError):
        RuntimeOptions(**options)  # type: ignore[arg-type]


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UnknownError, match="Did you mean 'openvino'"):
        targets.load("openvin")


@pytest.fixture
def engine(bundle_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """Return a bundle that says it holds a TensorRT engine, where no GPU can run one."""
    try:
        if targets.load("tensorrt").available().devices:
            pytest.skip("there is a GPU here: it would run")
    except MissingError:
        pass  # neither GPU nor TensorRT: the same exit code
    folder = tmp_path / "engine"
    shutil.copytree(bundle_of("onnx"), folder)
    bundles.write(folder, replace(bundles.read(folder).manifest, target="tensorrt"))
    return folder


@pytest.mark.parametrize("verb", ["check", "predict"])
def test_tensorrt_without_a_gpu_is_exit_3_and_one_line(
    engine: Path, verb: str, bmc: Callable[..., tuple[int, str, str]]
) -> None:
    text = ["what a film"] if verb == "predict" else []
    code, out, err = bmc(verb, engine, *text, "--quiet")
    assert code == 3
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("bmc: ")
    assert "GPU" in err or "pip install 'bmc-toolkit[tensorrt]'" in err


def test_a_tensorrt_engine_is_built_without_a_gpu_and_says_whose_scores_it_shows(
    bundle_of: Callable[[str], Path],
) -> None:
    try:
        result = targets.load("tensorrt").available()
    except MissingError as error:
        pytest.skip(str(error))
    if result.devices:
        pytest.skip("there is a GPU here: the engine's own scores are shown")
    bundle = bundles.read(bundle_of("tensorrt"))
    assert bundle.model_path.stat().st_size > 0
    assert bundle.manifest.scores == {}
    assert bundle.manifest.stand_in is not None
    assert bundle.manifest.stand_in.scores["rows"] > 0
    assert "GPU" in result.note
