"""Looking into a model: what its layers cost, what flows through them, what its answers rest on."""
