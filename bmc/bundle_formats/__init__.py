"""Declare the targets, one file each: the target's name, and the files of its bundles.

The files import neither torch nor a vendor's package. CONTRIBUTING.md says how to add a target.
"""
