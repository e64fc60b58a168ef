"""Pruning: remove or zero the weights that a model needs least.

Each technique is one file that ends with `STEP = YourClass`; the name of the file is the name of
the technique. CONTRIBUTING.md says how to add a technique.
"""
