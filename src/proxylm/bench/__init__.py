"""Benchmarks (`proxylm bench`): each measures ours beside a yardstick in the same run."""
