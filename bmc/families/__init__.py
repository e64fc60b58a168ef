"""Model families, one file each: what can be built and how it is trained; they import no torch.

The networks are in `bmc/models`: CONTRIBUTING.md says how to add a family.
"""
