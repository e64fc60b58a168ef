"""Workflows' results for people and programs: lines and rich tables, and one JSON document.

The command line prints them; handles of the Python API show them, too.
"""
