"""The small byte LM behind the neural compressor (method, section 3)."""
