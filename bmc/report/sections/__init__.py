"""Sections of a report's page: each file has a function `section` that returns its HTML, or "".

A section shows only what the records of bundles and benches hold. Where its data is not recorded,
the section is left out, or names the command that records it.
"""
