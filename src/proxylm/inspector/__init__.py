"""A local page to look at compressors, models and packed contexts with a text of one's own."""
