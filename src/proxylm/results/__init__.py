"""Experiments of our own: run, kept as small JSON, and told by one page (``docs/results.md``)."""
