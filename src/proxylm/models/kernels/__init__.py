"""Fast forms of a block: on a GPU, in training and in decoding on a CPU; and which one runs."""
