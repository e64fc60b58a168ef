"""Inference forms: the modules that are exported in place of a model, and their quantization."""
