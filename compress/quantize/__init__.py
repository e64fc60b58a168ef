"""Quantization methods: fewer bits for weights, and for the inputs of layers.

Each method is one file that ends with `STEP = YourClass`; the file's name is the method's name.
CONTRIBUTING.md says how to add a method. The methods use calibration, equalization and GPTQ from
`bmc/quantization`.
"""
