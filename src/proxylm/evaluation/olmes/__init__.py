"""OLMES: multiple-choice questions in two forms, the better of which counts (paper, D.12)."""
