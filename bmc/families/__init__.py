"""Descriptions of the model families, one file each: names, settings and training defaults.

These files do not import torch; the networks are in `bmc/models`. CONTRIBUTING.md says how to add
a family.
"""
