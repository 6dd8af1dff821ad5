"""Scores of a trained model (method, section 9)."""
