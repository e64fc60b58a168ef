"""Measure bundles on another machine: what is sent there, what runs there, and how it comes back.

`bootstrap` and `start` stand alone: they run on the device before anything of bmc is there.
"""
