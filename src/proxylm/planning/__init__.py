"""What a run needs before anything is spent on it: memory, operations, data, disk and hours."""
