"""Drafts from the text itself: what came before after the same bytes."""

MOST_DEPTH = 64
"""Most bytes that are drafted one after another."""
