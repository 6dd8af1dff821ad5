"""Models in other programs' layouts: pretrained ones brought in, exports for transformers."""
