"""A bundle behind HTTP: batches, limits, health and metrics; `bmc serve` starts it."""
