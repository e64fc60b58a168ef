"""Parameter sharing and factorisation: fewer numbers stand for the same weights."""
