"""Training: configuration, loop, optimizer, checkpoints and metrics (method, section 6)."""
