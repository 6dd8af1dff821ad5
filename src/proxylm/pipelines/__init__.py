"""Whole ways that use several rooms: a byte LM trained, a neural compressor built from it."""
