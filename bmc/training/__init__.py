"""Training: a PyTorch loop that resumes after an interruption with bit-identical results."""
