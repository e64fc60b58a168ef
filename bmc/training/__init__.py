"""Training: a plain PyTorch loop that resumes bit for bit after an interruption."""
