"""Training: one plain PyTorch loop that can be killed at any step and goes on bit for bit."""
