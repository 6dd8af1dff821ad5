"""Models in other programs' layouts: published EvaByte folders, exports for transformers."""
