"""Checkpoints in other programs' layouts: published EvaByte folders."""
