"""Files with more weights than one ONNX file may hold: their weights stay in a file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bmc import checking
from bmc.bundle import read as read_bundle
from bmc.export import ExportOptions, graph_files, onnx_flow, onnx_prepare, speed
from bmc.export.onnx_compare import Limits
from bmc.export.onnx_source import onnx_source, quantized_source
from bmc.measure.scores import Interval
from bmc.onnx_models.reading import read
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import samples_of
from bmc.targets import RuntimeOptions
from tests._onnx import cnn, images


@pytest.mark.parametrize("in_float", [(), ("block/conv:0", "head")])
def test_a_large_file_is_quantized_with_its_weights_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_float: tuple[str, ...]
) -> None:
    fast = speed.Speed(Interval(2.0, 1.9, 2.1), 1.0)
    monkeypatch.setattr(speed, "over", lambda quantized, folder: fast)
    monkeypatch.setattr(graph_files, "MOST_INSIDE", 1000)
    monkeypatch.setattr(onnx_prepare, "MIN_EXTERNAL", 500)
    file = read(cnn(tmp_path / "cnn.onnx", external="weights"))
    samples = samples_of(file, {"image": images(16)}, "samples")
    with onnx_source("cnn", file, samples, ExportOptions(allow_slower=True)) as fp32:
        source = quantized_source(fp32, "minmax", in_float)
        graph = onnx.load(str(source.quantized.path), load_external_data=False).graph
        assert any(each.external_data for each in graph.initializer), "weights are in memory"
        for _ in range(2):  # an earlier file of weights is replaced, not continued
            path, _ = source.onnx("onnx")
        assert path.with_name(graph_files.WEIGHTS).stat().st_size < 20_000
        onnx_flow.quantize(source, fp32, "onnx", tmp_path / "b", False, Limits(0.5))
    bundle = read_bundle(tmp_path / "b")
    assert graph_files.WEIGHTS in bundle.files
    assert bundle.model_size() > (bundle.path / graph_files.WEIGHTS).stat().st_size
    assert set(bundle.manifest.build["in_float"]) == set(in_float)
    checking.check(bundle.path, RuntimeOptions())


def test_the_original_file_leaves_the_memory_between_its_runs(tmp_path: Path) -> None:
    reference = Reference(cnn(tmp_path / "cnn.onnx"))
    expected = reference.run({"image": images(1)})
    reference.release()
    again = reference.run({"image": images(1)})
    assert all(np.array_equal(again[name], values) for name, values in expected.items())
