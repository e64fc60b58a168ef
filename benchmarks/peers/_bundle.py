"""A bundle of a peer's file, so that bmc's bench and pipeline can run it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino

from bmc import bundle as bundles
from bmc.bundle import Bundle, Manifest, TensorInfo
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.writing import new_folder


def wrapped(path: Path, bundle: Bundle, output: Path, largest_error: float) -> Path:
    """Wrap a peer's file as a bundle, if its outputs for the golden rows match bmc's bundle.

    A file that takes token types is wrapped as a model of text pairs: bmc's encoder gives token
    types to those alone. The bench feeds what the golden inputs hold: all types 0, one text.

    Args:
        path: .onnx, or OpenVINO's .xml.
        bundle: bmc's bundle of the same model, for the same target.
        output: the folder.
        largest_error: largest accepted difference of a logit; the benchmark ends if it is exceeded.
    """
    target = bundle.manifest.target
    graph = openvino.Core().read_model(path)
    inputs, expected = bundle.golden()
    names = [tensor.any_name for tensor in graph.inputs]
    inputs = {name: inputs.get(name, np.zeros_like(inputs["input_ids"])) for name in names}
    with new_folder(output, force=True) as folder:
        shutil.copyfile(bundle.path / "tokenizer.json", folder / "tokenizer.json")
        if target == "onnx":
            shutil.copyfile(path, folder / "model.onnx")
        else:
            openvino.save_model(graph, folder / "model.xml", compress_to_fp16=False)
        manifest = Manifest(
            name=output.name,
            target=target,
            precision="fp32",
            model="model.onnx" if target == "onnx" else "model.xml",
            inputs=tuple(TensorInfo(name, "int64", ("batch", "sequence")) for name in names),
            outputs=bundle.manifest.outputs,
            labels=bundle.manifest.labels,
            task=bundle.manifest.task,
            preprocessing={**bundle.manifest.preprocessing, "columns": len(names) - 1},
        )
        with Pipeline(Bundle(folder, manifest), RuntimeOptions()) as pipeline:
            outputs = pipeline.session.run(inputs)
        error = float(np.abs(outputs["logits"] - expected["logits"]).max())
        if error > largest_error:
            sys.exit(f"{path} answers otherwise than bmc's bundle: a logit is off by {error:.2g}")
        bundles.write_golden(folder / bundles.GOLDEN, inputs, outputs)
        bundles.write(folder, manifest)
    return output


def replaced(path: Path, bundle: Bundle, output: Path) -> Path:
    """Write a bundle whose model is a peer's file, with inputs and outputs of the same names.

    Args:
        path: .onnx, or OpenVINO's .xml.
        bundle: bmc's bundle of the same model; OpenVINO's may have an ONNX file in its place.
        output: the folder.
    """
    is_onnx = bundle.manifest.target == "onnx"
    with new_folder(output, force=True) as folder:
        if (bundle.path / "tokenizer.json").is_file():
            shutil.copyfile(bundle.path / "tokenizer.json", folder / "tokenizer.json")
        if is_onnx:
            shutil.copyfile(path, folder / "model.onnx")
        else:
            graph = openvino.Core().read_model(path)
            openvino.save_model(graph, folder / "model.xml", compress_to_fp16=False)
        manifest = replace(
            bundle.manifest,
            name=output.name,
            precision="int8",
            model="model.onnx" if is_onnx else "model.xml",
            build={},
            parity={},
            scores={},
        )
        with Pipeline(Bundle(folder, manifest), RuntimeOptions()) as pipeline:
            inputs, _ = bundle.golden()
            outputs = pipeline.session.run(inputs)
        bundles.write_golden(folder / bundles.GOLDEN, inputs, outputs)
        bundles.write(folder, manifest)
    return output
