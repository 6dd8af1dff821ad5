"""Drafts from the text itself: what came before after the same bytes."""
