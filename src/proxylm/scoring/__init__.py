"""Scores of a model: forward passes over windows, and the bits of chosen symbols."""
