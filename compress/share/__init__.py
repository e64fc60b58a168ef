"""Parameter sharing and factorization: fewer numbers stand for the same weights.

One technique is one file that ends with `STEP = YourClass`, found by its name: CONTRIBUTING.md
says how to add one.
"""
