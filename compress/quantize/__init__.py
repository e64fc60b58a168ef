"""Quantization: fewer bits stand for weights, and for what layers read."""
