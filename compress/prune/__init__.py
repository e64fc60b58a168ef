"""Pruning: remove what a model can do without.

One technique is one file that ends with `STEP = YourClass`, found by its name: CONTRIBUTING.md
says how to add one.
"""
