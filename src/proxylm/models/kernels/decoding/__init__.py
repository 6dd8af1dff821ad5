"""The fast decoding path on a CPU: a few symbols through a block, in compiled loops on one thread.

``step`` is ``dispatch.step_modules`` by hand; ``loops`` are its kernels, ``few_rows`` their matrix
products.
"""
