"""ONNX dialects of the targets: how each target wants quantization to be written.

Each target has one file with a `bmc.contracts.Dialect`, which `export/lowering.py` applies.
docs/decisions/0011-a-quantized-model-is-its-inference-form.md gives the reasons.
"""
