"""Every target: its format is known without its runtime, which follows the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bmc.bundle import Bundle
from bmc.contracts import Exporter, Format, Runtime, targets
from bmc.errors import ArtifactError, MissingError
from bmc.targets import Availability, RuntimeOptions

EVERY = targets.TARGETS.names()
VENDORS = ("torch", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "onnx")
Blocked = Callable[..., CompletedProcess[str]]


def test_formats_are_known_where_no_run_time_is_installed(blocked: Blocked) -> None:
    code = (
        "from bmc.contracts import targets\n"
        "print(*(targets.format_of(name).about for name in targets.TARGETS.names()), sep='; ')"
    )
    done = blocked(code, *VENDORS)
    assert done.returncode == 0, done.stderr
    assert "ONNX Runtime on the CPU" in done.stdout


@pytest.mark.parametrize("name", EVERY)
def test_a_format_says_what_it_is_and_which_precisions_can_be_asked_for(name: str) -> None:
    described = targets.format_of(name)
    assert isinstance(described, Format)
    assert described.about
    assert described.precisions[0] == "f32"
    for precision in described.precisions:
        RuntimeOptions(precision=precision)


def test_one_target_is_the_reference() -> None:
    assert [name for name in EVERY if targets.format_of(name).is_reference] == ["pytorch"]


@pytest.mark.parametrize("name", EVERY)
def test_a_model_that_is_no_file_of_its_format_is_refused_or_listed(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "model.odd").write_bytes(b"no model")
    try:
        files = targets.format_of(name).files(tmp_path, "model.odd")
    except ArtifactError:
        return
    assert all(file.startswith("model.odd") for file in files)


@pytest.mark.parametrize("name", EVERY)
def test_a_run_time_says_what_is_here(name: str) -> None:
    try:
        runtime = targets.runtime_of(name)
    except MissingError as error:
        pytest.skip(str(error))
    assert isinstance(runtime, Runtime)
    here = runtime.available()
    assert isinstance(here, Availability)
    assert here.version
    assert here.devices or here.note


@pytest.mark.parametrize("name", EVERY)
def test_an_exporter_follows_the_contract(name: str) -> None:
    try:
        exporter = targets.exporter_of(name)
    except MissingError as error:
        pytest.skip(str(error))
    assert isinstance(exporter, Exporter)


@pytest.mark.parametrize("name", ["onnx", "openvino", "pytorch"])
def test_the_files_of_a_bundle_are_there_and_listed(
    name: str, bundle_of: Callable[[str], Path]
) -> None:
    from bmc import bundle as bundles

    bundle: Bundle = bundles.read(bundle_of(name))
    described = targets.format_of(name)
    files = described.files(bundle.path, bundle.manifest.model)
    assert set(files) <= set(bundle.files)
    assert bundle.model_size() > 0
    parts = described.parts(bundle.manifest.model) if described.parts else files
    assert set(parts) <= set(files)
