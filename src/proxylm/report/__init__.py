"""Reports of runs: one HTML file with everything in it, to be read, zoomed and downloaded from."""
