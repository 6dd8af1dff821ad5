"""Looking at compressors and models: rates, collisions, stability, charts."""
