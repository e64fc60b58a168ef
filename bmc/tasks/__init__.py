"""Tasks, one file each: how labels are read, how outputs are scored, and what answers look like.

These files do not import torch, so that bundles answer without it; losses are in `bmc/objectives`.
CONTRIBUTING.md says how to add a task.
"""
