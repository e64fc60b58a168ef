"""The inference form: what a model computes once it is exported, and how that is quantized."""
