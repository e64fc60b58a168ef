"""Targets are declared here, one file each: a name, and the files of its bundles.

The files import neither torch nor a vendor's package. CONTRIBUTING.md says how to add a target.
"""
