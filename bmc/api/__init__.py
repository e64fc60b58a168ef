"""The Python API: each command is a function that returns a handle of what it wrote."""
