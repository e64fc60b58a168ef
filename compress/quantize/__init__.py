"""Quantization: fewer bits stand for weights, and for what layers read.

One method is one file that ends with `STEP = YourClass`, found by its name: CONTRIBUTING.md says
how to add one. Calibration, equalization and GPTQ, on which the methods stand, are in
`bmc/quantization`.
"""
