"""Parameter sharing and factorization: represent the weights with fewer parameters.

Each technique is one file that ends with `STEP = YourClass`; the name of the file is the name of
the technique. CONTRIBUTING.md says how to add a technique.
"""
