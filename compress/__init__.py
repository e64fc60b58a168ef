"""Compression: a model in, a smaller or faster model out; one technique is one file."""
