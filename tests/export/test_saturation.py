"""What a failed check says of int8 on processors whose accumulators saturate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bmc import bundle, processor
from bmc.export.flow import keep_failed


@pytest.mark.parametrize(
    ("precision", "weight_bits", "check", "saturates", "said"),
    [
        ("int8", None, "parity", True, True),
        ("int8", 8, "parity", True, True),
        ("int8-dynamic", 8, "parity", True, True),
        ("int8-dynamic", 7, "parity", True, False),
        ("int8", 7, "parity", True, False),
        ("int8", 8, "speed", True, False),
        ("int8", 8, "parity", False, False),
        ("fp32", None, "parity", True, False),
    ],
)
def test_a_failed_check_of_int8_names_the_processors_saturation(
    precision: str,
    weight_bits: int | None,
    check: str,
    saturates: bool,
    said: bool,
    bundle_of: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor, "saturates_int8", lambda: saturates)
    folder = Path(shutil.copytree(bundle_of("onnx"), tmp_path / "made"))
    manifest = bundle.read(folder).manifest
    build = {**manifest.build, **({"weight_bits": weight_bits} if weight_bits else {})}
    bundle.write(folder, replace(manifest, precision=precision, build=build))
    error = keep_failed(folder, tmp_path / "small-onnx", "onnx: outputs change", check)
    assert ("--set weight_bits=7" in str(error)) is said
    assert (tmp_path / "small-onnx.failed").is_dir()
