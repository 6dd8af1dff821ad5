"""Code benchmarks as problems: prompt, canonical solution and test, read from their own files.

One file per benchmark; ``catalog`` names them all. Reading runs no code of theirs.
"""
