"""Measuring: scores and latencies, always with the interval that says what they are worth."""
