"""Networks of the model families, one file each: how one is built, and how it runs fastest.

What can be built, and how it is trained, is in `bmc/families`: CONTRIBUTING.md says how to add a
family.
"""
