"""bmc from Python: a verb is a function, and what it makes is a handle."""
