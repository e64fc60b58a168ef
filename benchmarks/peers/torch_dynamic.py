"""Peer: `torch.ao.quantization.quantize_dynamic`, all linear layers in 8 bits, run by PyTorch.

python torch_dynamic.py MODEL GOLDEN.npz THREADS LENGTH    (prints samples in nanoseconds, JSON)
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bmc import artifact
from bmc.model import output_of

_WARM_UP, _CALLS = 20, 200


def quantized(folder: Path) -> torch.nn.Module:
    """Load a model directory and quantize its linear layers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that this function will be removed
        module = artifact.load(folder).module.eval()
        quantized: torch.nn.Module = torch.ao.quantization.quantize_dynamic(
            module, {torch.nn.Linear}, dtype=torch.qint8
        )
    return quantized


def samples(folder: Path, threads: int, length: int) -> list[int]:
    """Time calls in a fresh process; nanoseconds."""
    command = [sys.executable, __file__, str(folder), str(threads), str(length)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


@torch.inference_mode()
def _main(arguments: Sequence[str]) -> None:
    folder, threads, length = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    torch.set_num_threads(threads)
    module = quantized(folder)
    ids = torch.randint(1000, 2000, (1, length))
    inputs: dict[str, Tensor] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    times = []
    for number in range(_WARM_UP + _CALLS):
        start = time.perf_counter_ns()
        output_of(module, inputs)
        if number >= _WARM_UP:
            times.append(time.perf_counter_ns() - start)
    print(json.dumps(times))


if __name__ == "__main__":
    _main(sys.argv[1:])
