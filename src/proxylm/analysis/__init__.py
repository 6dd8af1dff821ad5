"""Looking at runs: histories, curves and reports."""
