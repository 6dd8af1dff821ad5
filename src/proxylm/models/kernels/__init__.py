"""Fast forms of a block: FlexAttention on a GPU, hand-written passes on a CPU; and the choice."""
