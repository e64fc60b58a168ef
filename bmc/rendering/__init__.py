"""Render the results of workflows as lines and rich tables, and as one JSON document.

The command line prints them; handles of the Python API show them, too.
"""
