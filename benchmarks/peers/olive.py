"""Peer: Olive's search over its quantization of ONNX files, in an environment of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers._environment import run_on_file
from peers.labeled import LabeledRows

_PROGRAM = """
import os
os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"
import json, shutil, sys, tempfile, numpy, torch
from olive.data.registry import Registry
from olive.workflows import run

source, file, made, seconds, points, classes = sys.argv[1:]
with numpy.load(file) as stored:
    arrays = {key: stored[key] for key in stored.files}


class Rows(torch.utils.data.Dataset):
    def __init__(self, part):
        start = part + "."
        self.inputs = {k[len(start):]: a for k, a in arrays.items() if k.startswith(start)}
        self.labels = self.inputs.pop("labels")

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {name: a[index] for name, a in self.inputs.items()}, int(self.labels[index])


@Registry.register_dataset()
def stored_rows(part, **kwargs):
    return Rows(part)


@Registry.register_post_process()
def class_of(output, **kwargs):
    if isinstance(output, dict):
        output = next(iter(output.values()))
    return torch.argmax(torch.as_tensor(output), dim=-1)


def data(part):
    return {
        "name": part,
        "load_dataset_config": {"type": "stored_rows", "params": {"part": part}},
        "pre_process_data_config": {"type": "skip_pre_process"},
        "post_process_data_config": {"type": "class_of"},
        "dataloader_config": {"type": "default_dataloader", "params": {"batch_size": 1}},
    }


accuracy = {
    "name": "accuracy_score",
    "priority": 2,
    "metric_config": {"task": "multiclass", "num_classes": int(classes)},
    "goal": {"type": "max-degradation", "value": float(points) / 100},
}
latency = {
    "name": "p50",
    "priority": 1,
    "metric_config": {"warmup_num": 20, "repeat_test_num": 100, "sleep_num": 0},
}
with tempfile.TemporaryDirectory() as folder:
    output = run({
        "input_model": {"type": "ONNXModel", "model_path": source},
        "systems": {"here": {"type": "LocalSystem", "accelerators": [
            {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
        ]}},
        "data_configs": [data("calibration"), data("validation")],
        "evaluators": {"both": {"metrics": [
            {"name": "accuracy", "type": "accuracy", "data_config": "validation",
             "sub_types": [accuracy]},
            {"name": "latency", "type": "latency", "data_config": "validation",
             "sub_types": [latency]},
        ]}},
        "passes": {"quantization": {"type": "OnnxQuantization", "data_config": "calibration"}},
        "search_strategy": {
            "execution_order": "joint", "sampler": "tpe", "sampler_config": {"seed": 0},
            "max_time": int(seconds),
        },
        "host": "here", "target": "here", "evaluator": "both",
        "output_dir": os.path.join(folder, "models"), "cache_dir": os.path.join(folder, "cache"),
    })
    models = output.get_output_models() if output.has_output_model() else []
    figures = [model.metrics_value for model in models]
    if models:
        shutil.copyfile(output.get_best_candidate().model_path, made)
with open(made + ".json", "w") as log:
    json.dump({"models": figures}, log, default=str)
"""


def search(
    model: Path, rows: LabeledRows, path: Path, minutes: float, points: float
) -> list[dict[str, Any]]:
    """Search for a quantization of an ONNX file with Olive's defaults, and write the best file.

    Args:
        model: .onnx, in float.
        rows: rows to calibrate with and to score.
        path: .onnx to write: the fastest whose accuracy falls by at most `points`; none if Olive
            finds none.
        minutes: time of the search.
        points: percentage points of accuracy that may be lost.

    Returns:
        Olive's figures of each model that it returns.
    """
    arguments = (str(round(60 * minutes)), str(points), str(rows.classes))
    run_on_file("olive", _PROGRAM, model, rows.named(), path, *arguments)
    log = path.with_name(f"{path.name}.json")
    models: Sequence[dict[str, Any]] = json.loads(log.read_text(encoding="utf-8"))["models"]
    log.unlink()
    return list(models)
