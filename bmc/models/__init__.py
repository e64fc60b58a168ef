"""Networks of the model families, one file each: how to build, load and export them.

Names, settings and training defaults are in `bmc/families`. CONTRIBUTING.md says how to add a
family.
"""
