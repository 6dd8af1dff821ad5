"""The fast training path on a CPU: the two halves of a block as hand-written forward and backward.

Every piece is a pair of functions, forward and backward, that work through rows in blocks small
enough to stay in cache and write into buffers that exist already; the plain modules beside it
(``blocks``, ``attention.DenseForm``) are the reference the tests compare with.

Row layout everywhere: ``R = B * N`` positions, ``[R, width]``, heads side by side in a row.
"""
