"""Tables and figures of the paper as configurations that run, one file for each."""
