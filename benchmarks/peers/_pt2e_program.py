"""The program that pt2e.py runs in a separate environment; it does not use bmc.

python _pt2e_program.py answer MODEL ROWS.npz ANSWERS.npy     (calibrates, answers the test rows)
python _pt2e_program.py time MODEL ROWS.npz THREADS LENGTH    (prints nanoseconds, JSON)
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import torch
import torch._inductor.config as inductor
import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
from torch import Tensor
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from transformers import BertForSequenceClassification

_WARM_UP, _CALLS = 20, 200


def _quantized(folder: str, rows: list[Tensor]) -> Any:
    """Capture, calibrate and convert, as torchao's documentation does."""
    model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    example = torch.ones(1, 12, dtype=torch.int64)
    length = torch.export.Dim("length", min=2, max=512)
    captured = torch.export.export(
        model.eval(),
        (example, torch.ones_like(example)),
        dynamic_shapes=({1: length}, {1: length}),
    ).module()
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(captured, quantizer)
    for row in rows:
        prepared(row, torch.ones_like(row))
    return convert_pt2e(prepared)


@torch.no_grad()
def _main(command: str, folder: str, rows: str, *rest: str) -> None:
    inductor.freezing = True  # the documentation's way to weights in 8 bits
    if command == "time":
        torch.set_num_threads(int(rest[0]))
    with np.load(rows) as file:
        held = {name: torch.from_numpy(file[name])[None] for name in sorted(file.files)}
    module = _quantized(folder, [held[name] for name in held if name.startswith("calibration")])
    compiled = torch.compile(module, dynamic=command == "predict")
    if command == "predict":
        test = [held[name] for name in held if name.startswith("test")]
        logits = [compiled(row, torch.ones_like(row)).logits.numpy() for row in test]
        np.save(rest[0], np.concatenate(logits))
        return
    row = torch.randint(1000, 2000, (1, int(rest[1])))
    mask, times = torch.ones_like(row), []
    for number in range(_WARM_UP + _CALLS):
        start = time.perf_counter_ns()
        compiled(row, mask)
        if number >= _WARM_UP:
            times.append(time.perf_counter_ns() - start)
    print(json.dumps(times))


if __name__ == "__main__":
    _main(*sys.argv[1:])
