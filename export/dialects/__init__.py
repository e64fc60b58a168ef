"""How each target wants quantization to be written: int8 or uint8, biases, zero points.

One target is one file of data, which `bmc.contracts.Dialect` describes, `export/lowering.py` acts
on, and docs/decisions/0011-a-quantized-model-is-its-inference-form.md gives the reasons for.
"""
