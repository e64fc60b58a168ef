"""Pruning: remove what a model can do without; one technique is one file."""
